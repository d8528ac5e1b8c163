# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of source files that depend on names and contents only, never on time, owner or the order of a directory."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

#: The oldest time a zip can hold; any fixed one would do.
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
ALWAYS_EXCLUDED = ("__pycache__", "*.pyc", ".*")


class SourceError(Exception):
    """The sources cannot be packed; the text says why."""


def collect(source: list[dict[str, Any]]) -> dict[str, bytes]:
    """Name in the archive -> content, for ``[{src, dest, exclude, replace}]`` of files and folders.

    A folder's files go below ``dest``; a file is stored as ``dest``, or under its own name without one. With ``replace`` they
    take the place of files that an earlier source gave.
    """
    files: dict[str, bytes] = {}
    for item in source:
        path = Path(item["src"]).expanduser()
        dest = (item.get("dest") or "").strip("/")
        if path.is_dir():
            base = PurePosixPath(dest)
            found = {str(base / name): file for name, file in _walk(path, item.get("exclude") or [])}
        elif path.is_file():
            found = {dest or path.name: path}
        else:
            raise SourceError(f"source {path} does not exist")
        for name, file in found.items():
            if name in files and not item.get("replace"):
                raise SourceError(f"two sources would become {name} in the archive ({file} is the second)")
            files[name] = file.read_bytes()
    if not files:
        raise SourceError("there is no file in any of the sources")
    return files


def pack(files: dict[str, bytes]) -> bytes:
    """The archive: sorted names, fixed times and modes, so equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whatever the controller is
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def pack_tar(files: dict[str, bytes]) -> bytes:
    """The files as a tar. It is not compressed, because versions of zlib differ: its own digest is the same everywhere."""
    folders = {str(folder) for name in files for folder in PurePosixPath(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted({*files, *folders}):
            entry = tarfile.TarInfo(name)  # owner root, time 0
            entry.mode = 0o755 if name in folders else 0o644
            if name in folders:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files.get(name, b"")))
    return buffer.getvalue()


def content_hash(files: dict[str, bytes], configuration: dict[str, Any]) -> str:
    """SHA-256 (64 hex digits) over the files and the configuration.

    Files are hashed, not the archive: zlib versions compress differently, and another controller must get the same.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    digest.update(json.dumps(configuration, sort_keys=True).encode())
    return digest.hexdigest()


def _walk(folder: Path, exclude: list[str]) -> list[tuple[str, Path]]:
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _excluded(name, exclude):
            found.append((name, path))
    return found


def _excluded(name: str, patterns: list[str]) -> bool:
    """Whether a path, or a folder above it, matches a pattern, by its whole name or its last part."""
    parts = name.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(
        fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern)
        for path in above
        for pattern in (*ALWAYS_EXCLUDED, *patterns)
    )
