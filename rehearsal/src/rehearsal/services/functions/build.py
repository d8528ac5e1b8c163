# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a source archive into something that can run: unpack, check, install its requirements in the runtime's image.

Two results, each made once and kept below `functions/` of the rehearsal's home: `builds/DIGEST` (the unpacked source,
by the archive's digest) and `environments/DIGEST` (a virtual environment, by its requirements and the image).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rehearsal.services.functions import addresses, uploads
from rehearsal.services.functions.names import FunctionName

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

# Where source and environment are inside the container; scripts of a virtual environment hold its absolute path.
WORKSPACE, ENVIRONMENT = "/workspace", "/layers/google.python.pip/pip"
RUNNABLE = ("python313",)
BUILD_MEMORY = 4 * 2**30
BUILD_SECONDS = 900
MAX_UNPACKED_BYTES = 500 * 10**6
MAX_MEMBERS = 20_000
TAIL_LINES = 15
FRAMEWORK = re.compile(r"^\s*functions[-_.]framework\b", re.IGNORECASE | re.MULTILINE)
PIP = f"{ENVIRONMENT}/bin/python -m pip --no-input --no-color install --progress-bar off"

Say = Callable[[str], None]


class BuildError(Exception):
    """The build failed because of what was deployed; the message is what the deployer gets to see."""


@dataclass(frozen=True)
class Built:
    """What a build left: digests that name the source folder and the environment folder, and the image."""

    source: str
    environment: str
    image: str


def source_folder(cloud: Cloud, digest: str) -> Path:
    """Return where an unpacked source is."""
    return cloud.settings.home / "functions" / "builds" / digest


def environment_folder(cloud: Cloud, digest: str) -> Path:
    """Return where a virtual environment is."""
    return cloud.settings.home / "functions" / "environments" / digest


def build(cloud: Cloud, name: FunctionName, runtime: str, archive_digest: str, say: Say) -> Built:
    """Build one archive for one runtime; `say` gets every line of the build's log. Raises BuildError."""
    if runtime not in RUNNABLE:
        offered = ", ".join(RUNNABLE)
        raise BuildError(f"The rehearsal has no image of the runtime {runtime}; it can run {offered}.")
    image = cloud.images.ensure(runtime, say)
    # Of builds with equal sources, or requirements, one does the work and the others wait for it.
    with cloud.locks[archive_digest]:
        source = _unpack(cloud, archive_digest, say)
    if not (source / "main.py").is_file():
        raise BuildError(
            "missing main.py and GOOGLE_FUNCTION_SOURCE not specified. Either create the function in main.py or "
            "specify GOOGLE_FUNCTION_SOURCE to point to the file that contains the function"
        )
    return Built(archive_digest, _environment(cloud, name, image, source, say), image)


def _unpack(cloud: Cloud, digest: str, say: Say) -> Path:
    target = source_folder(cloud, digest)
    if target.is_dir():
        return target
    partial = target.with_name(f".{digest}.{secrets.token_hex(4)}")
    partial.mkdir(parents=True)
    try:
        count = unzip(uploads.archive(cloud, digest), partial)
        say(f"unpacked {count} files")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def unzip(archive: Path, target: Path) -> int:
    """Unpack an archive without ever writing outside `target`; return the number of files. Raises BuildError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise BuildError(
                    f"the source is larger than {MAX_UNPACKED_BYTES} bytes or {MAX_MEMBERS} files unpacked"
                )
            return sum(_extract(opened, member, target) for member in members)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BuildError(f"the source is not a readable zip archive: {error}") from error


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> int:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise BuildError(f"the source has a file outside its folder: {member.filename}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BuildError(f"the source has a symbolic link, which is not supported: {member.filename}")
    destination = target.joinpath(*path.parts)
    if member.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
        return 0
    destination.parent.mkdir(parents=True, exist_ok=True)
    # A member never gives more than the size that the archive's directory claims, so the check above was enough.
    with opened.open(member) as reader, destination.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
    destination.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)
    return 1


def environment_digest(image: str, requirements: bytes) -> str:
    """Return the name of the environment that these requirements give in this image."""
    return hashlib.sha256(f"{image}\0{PIP}\0".encode() + requirements).hexdigest()


def _environment(cloud: Cloud, name: FunctionName, image: str, source: Path, say: Say) -> str:
    file = source / "requirements.txt"
    requirements = file.read_bytes() if file.is_file() else b""
    digest = environment_digest(image, requirements)
    target = environment_folder(cloud, digest)
    with cloud.locks[digest]:
        cached = target.is_dir()
        say("requirements are unchanged: using the environment built before" if cached else "installing requirements")
        partial = target.with_name(f".{digest}.{secrets.token_hex(4)}")
        if not cached:
            partial.mkdir(parents=True)
        try:
            script = _script(requirements, install=not cached, has_file=file.is_file())
            _run(cloud, name, image, script, source, target if cached else partial, say)
            if not cached:
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return digest


def _script(requirements: bytes, *, install: bool, has_file: bool) -> str:
    steps = ["set -e"]
    if install:
        steps.append(f"python3 -m venv {ENVIRONMENT}")
        if has_file:
            steps.append(f"{PIP} -r {WORKSPACE}/requirements.txt")
        if not FRAMEWORK.search(requirements.decode("utf-8", "replace")):
            # The buildpack adds the framework where the requirements do not have it.
            steps.append(f"{PIP} functions-framework")
        steps.append(f"{ENVIRONMENT}/bin/python -m pip check || true")
    steps.append(f"{ENVIRONMENT}/bin/python -m compileall -f -q {WORKSPACE}")
    return "\n".join(steps)


def _run(cloud: Cloud, name: FunctionName, image: str, script: str, source: Path, environment: Path, say: Say) -> None:
    container = f"{addresses.BUILD_PREFIX}{name.id[:30]}-{secrets.token_hex(4)}"
    address = addresses.take(cloud.store, container)
    cache = cloud.settings.cache / "pip"
    cache.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []

    def hear(line: str) -> None:
        say(line)
        tail.append(line)
        del tail[:-TAIL_LINES]

    try:
        code = cloud.containers.run_once(
            container,
            image,
            ["/bin/sh", "-c", script],
            memory_bytes=BUILD_MEMORY,
            netns=cloud.network.attach(container, address),
            env={"HOME": "/root", "LANG": "C.UTF-8"},
            mounts=[(source, WORKSPACE), (environment, ENVIRONMENT), (cache, "/root/.cache/pip")],
            on_line=hear,
            timeout=BUILD_SECONDS,
        )
    finally:
        cloud.network.detach(container)
        addresses.release(cloud.store, address)
    if code == 124:
        raise BuildError(f"the build took longer than {BUILD_SECONDS} seconds; its last lines:\n" + "\n".join(tail))
    if code:
        raise BuildError(f"the build step failed with exit code {code}; its last lines:\n" + "\n".join(tail))
