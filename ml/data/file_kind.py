# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file is, by its content and not by its name, and its text. Standard library only (zstd has a package)."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TextIO

PARQUET = b"PAR1"
_PEEK = 64 * 1024
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
#: What a file begins with -> what it is, and what to do.
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls): save it as CSV UTF-8"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
    (b"ARROW1", "an Arrow (Feather) file: write it as Parquet"),
    (b"%PDF", "a PDF: export the table as CSV"),
    (b"{", "JSON: convert it to CSV, for instance pandas.read_json(…).to_csv(…, index=False)"),
    (b"[", "JSON: convert it to CSV, for instance pandas.read_json(…).to_csv(…, index=False)"),
    (b"<", "HTML or XML: open it and save the table as CSV UTF-8 (a download may need a login)"),
)
DECOMPRESS_FAILURES = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class DataError(Exception):
    """Data that cannot be trained on. The message is one line; ``faults`` are its details, one line each."""

    def __init__(self, message: str, faults: list[str] | None = None) -> None:
        super().__init__(message)
        self.faults = faults or []


def open_plain(path: Path, name: str) -> tuple[BinaryIO, bytes, str]:
    """Open a file without its compression; return it, its first bytes and what it is compressed with ("" for nothing).

    Raises DataError for what is no table, OSError if it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{name} is not a file: give the path of a file or of a folder")
    with path.open("rb") as file:
        magic = file.read(8)
    kind = next((kind for begin, kind in _PACKED.items() if magic.startswith(begin)), "")
    opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}.get(kind, open)
    plain = opener(path, "rb")
    if kind == "zstd":
        plain.close()
        plain = _open_zstd(path, name)
    buffered = plain if isinstance(plain, io.BufferedReader) else io.BufferedReader(plain, _PEEK)
    try:
        head = _read(buffered, _PEEK, name, kind)
        buffered.seek(0)
    except BaseException:
        buffered.close()
        raise
    what = next((text for begin, text in _OTHERS if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(begin)), "")
    if head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head):
        what = "an Excel workbook: save it as CSV UTF-8"
    if head.startswith(PARQUET) and kind:
        what = f"a Parquet file inside {kind}: decompress it first"
    if what:
        buffered.close()
        raise DataError(f"{name} is {what}")
    return buffered, head, kind


def _read(file: BinaryIO, size: int, name: str, kind: str) -> bytes:
    try:
        return file.read(size)
    except (*DECOMPRESS_FAILURES, OSError) as error:
        raise DataError(
            f"{name} is damaged: its {kind or 'content'} cannot be read ({error}); make it again"
        ) from error


def _open_zstd(path: Path, name: str) -> Any:
    try:
        from backports import zstd
    except ImportError:
        raise DataError(f"{name} is compressed with zstd: decompress it, or pip install backports.zstd") from None
    return zstd.open(path, "rb")


def encoding(head: bytes, name: str) -> str:
    """Return the encoding of a text that begins with ``head``; raise DataError if it is no text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if b"\0" in head:
        pairs = head[: len(head) // 2 * 2]
        zeros = [pairs[start::2].count(0) * 4 > len(pairs) for start in (0, 1)]
        if any(zeros) and not all(zeros):
            return "utf-16-be" if zeros[0] else "utf-16-le"
        raise DataError(f"{name} is neither text nor Parquet: save the table as CSV UTF-8")
    return "utf-8"


def as_text(file: BinaryIO, head: bytes, name: str) -> TextIO:
    """Return the file as text, line ends as they are. Bytes that are no UTF-8 are kept as surrogates."""
    coding = encoding(head, name)
    errors = "surrogateescape" if coding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(file, encoding=coding, errors=errors, newline="")
