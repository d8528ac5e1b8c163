# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that make up a data set: one file, a folder, a pattern, or the objects of a bucket below a prefix.

They are found in the order of their names, told from any other content by ``identity``, and an object is fetched once.
Standard library only, unless the data are in a bucket.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ml.data.file_kind import DataError

_DATE = re.compile(r"(?<!\d)(20\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
_HIVE_DATE = re.compile(r"year=(\d{4})/month=(\d{1,2})/day=(\d{1,2})")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Part:
    """One file. ``columns`` are those that its path names (``zone=VIP/part-0.parquet``)."""

    name: str  # what messages call it
    source: str  # the path, or the name of the object
    relative: str  # its name below the folder or the prefix
    size: int  # bytes
    day: datetime.date
    columns: tuple[tuple[str, str], ...] = ()
    generation: int = 0  # of an object
    crc32c: str = ""  # of an object, base64


def find_parts(data: str, days: int = 0) -> list[Part]:
    """Return the files of ``data``: a path, a folder, a pattern, or any of these as ``gs://bucket/…``.

    Hidden files and those whose name begins with ``_`` are left out, except where ``data`` is the file itself. ``days``
    keeps the newest days only, counted back from the newest that there is: a file's day is the one in its name, otherwise
    that of its last change (UTC). Raises DataError if there is none, BucketError if the bucket cannot be listed.
    """
    parts = sorted(_objects(data) if data.startswith("gs://") else _files(data), key=lambda part: part.relative)
    if not parts:
        hint = (
            ": it does not exist (end a folder with /)" if data.startswith("gs://") and not data.endswith("/") else ""
        )
        raise DataError(f"{_printable(data)} has no data files{hint}")
    if days:
        newest = max(part.day for part in parts)
        parts = [part for part in parts if (newest - part.day).days < days]
    return parts


def identity(data: str, parts: Iterable[Part]) -> dict[str, str]:
    """Return what tells the content of ``parts`` from any other; raise DataError if a file cannot be read.

    A local file is known by its SHA-256, wherever it lies; an object by its name and its generation, which Google changes
    whenever its content is written.
    """
    parts = list(parts)
    if data.startswith("gs://"):
        return {"objects": "\n".join(f"{data.split('/')[2]}/{part.source}#{part.generation}" for part in parts)}
    digests = []
    for part in parts:
        try:
            with Path(part.source).open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(2**20):
                    digest.update(block)
        except OSError as error:
            raise DataError(f"cannot read {part.name}: {error.strerror}") from error
        digests.append((part.columns, digest.hexdigest()))
    if len(digests) == 1 and not digests[0][0]:
        return {"sha256": digests[0][1]}
    return {"files": "\n".join(f"{digest} {columns}" for columns, digest in digests)}


def fetch(data: str, parts: Iterable[Part], folder: Path, report: Callable[[str], None]) -> Iterator[tuple[Part, Path]]:
    """Yield the parts, each with the file that holds it; what is in a bucket is fetched into ``folder`` and kept there.

    A copy that an earlier run left is used again if its checksum is right, so each object is fetched once. Copies of objects
    that are not among ``parts`` are deleted. Raises BucketError.
    """
    if not data.startswith("gs://"):
        yield from ((part, Path(part.source)) for part in parts)
        return
    from ml.bucket import Bucket, file_crc32c

    parts, name = list(parts), data.split("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        part: folder / f"{hashlib.sha256(f'{name}/{part.source}'.encode()).hexdigest()[:24]}-{part.generation}"
        for part in parts
    }
    for path in set(folder.iterdir()) - set(paths.values()):
        path.unlink()
    missing = [part for part, path in paths.items() if not path.exists() or file_crc32c(path) != part.crc32c]
    if missing:
        report(
            f"data: fetching {len(missing)} of {len(parts)} objects, {sum(part.size for part in missing) / 1e6:.1f} MB"
        )
    bucket = Bucket(name) if missing else None
    for part, path in paths.items():
        if bucket is not None and part in missing:
            temporary = path.with_name("unfinished")
            bucket.download(part.source, part.generation, temporary)
            temporary.replace(path)
        yield part, path


def _files(data: str) -> Iterator[Part]:
    """Yield the files of a path, a folder or a pattern on this machine."""
    try:
        path = Path(data)
        root = path if path.is_dir() else path.parent
        paths = _walk(path) if path.is_dir() else [path]
        if _MAGIC.search(data) and not os.path.lexists(data):
            root = Path(_root(data))
            found = [Path(one) for one in glob.glob(data, recursive=True)]  # noqa: PTH207 - of absolute patterns, too
            paths = [one for path in found for one in (_walk(path) if path.is_dir() else [path])]
            paths = [path for path in paths if not _hidden(path.relative_to(root).as_posix())]
        for path in dict.fromkeys(paths):
            status = path.stat()
            relative = path.relative_to(root).as_posix()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{_printable(str(path))} is not a file: give the path of a file or of a folder")
            name = data if str(path) == str(Path(data)) else relative
            yield _part(name, str(path), relative, status.st_size, status.st_mtime)
    except OSError as error:
        raise DataError(f"cannot read the data file {_printable(data)}: {error.strerror}") from error


def _walk(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder).as_posix())]


def _objects(data: str) -> Iterator[Part]:
    """Yield the objects of gs://bucket/object, gs://bucket/prefix/ or gs://bucket/pattern."""
    from ml.bucket import Bucket, BucketError

    bucket, _, name = data[len("gs://") :].partition("/")
    if not bucket or "/" not in data[len("gs://") :]:
        raise DataError(f"{data} names no object: write gs://bucket/file.csv, or gs://bucket/folder/ for all below it")
    root = _root(name) if _MAGIC.search(name) else name[: name.rfind("/") + 1]
    pattern = re.compile(_expression(name) if _MAGIC.search(name) else re.escape(name) + (".*" if name == root else ""))
    try:
        listed = list(Bucket(bucket).objects(_MAGIC.split(name, maxsplit=1)[0]))
    except BucketError as error:
        raise DataError(f"{data}: {error}") from error
    for found in listed:
        relative = found.name[len(root) :]
        if (
            pattern.fullmatch(found.name)
            and not found.name.endswith("/")
            and (found.name == name or not _hidden(relative))
        ):
            shown = data if found.name == name else relative
            yield _part(shown, found.name, relative, found.size, found.updated, found.generation, found.crc32c)


def _part(
    name: str, source: str, relative: str, size: int, changed: float, generation: int = 0, crc32c: str = ""
) -> Part:
    columns = tuple(
        (key, "" if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value))
        for key, equals, value in (folder.partition("=") for folder in PurePosixPath(relative).parts[:-1])
        if equals
    )
    day = datetime.datetime.fromtimestamp(changed, datetime.timezone.utc).date()
    try:
        if match := _HIVE_DATE.search(relative) or next(iter([*_DATE.finditer(relative)][::-1]), None):
            day = datetime.date(*map(int, match.groups()))
    except ValueError:
        pass  # 2026-02-30 is no day
    return Part(_printable(name), source, relative, size, day, columns, generation, crc32c)


def _root(pattern: str) -> str:
    """Return the folder of a pattern, up to its first character that stands for others."""
    plain = _MAGIC.split(pattern, maxsplit=1)[0]
    return plain[: plain.rfind("/") + 1]


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern of object names, as Cloud Storage reads matchGlob."""
    steps = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        steps.get(part, part if part[0] == "[" else re.escape(part))
        for part in re.findall(r"\*\*|[*?]|\[[^]]*\]|.", pattern)
    )


def _hidden(relative: str) -> bool:
    return any(part[0] in "._" for part in PurePosixPath(relative).parts)


def _printable(text: str) -> str:
    """Return a name that can be printed: one that is not UTF-8 cannot."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
