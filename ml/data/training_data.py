# SPDX-License-Identifier: GPL-3.0-or-later
"""From ``--data`` to a source: fetch the object if it is one, check every row, keep the rows in the spool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ml.data import spool
from ml.data.file_reader import DataError, data_format, read
from ml.data.partitions import SMALLEST_ROWS
from ml.data.spool import Spool
from ml.progress import Log


def open_data(data: str, identity: Mapping[str, str], folder: Path, log: Log) -> Spool:
    """Return the rows of ``data`` (a path or ``gs://bucket/object``) as a source, kept in ``folder``.

    An undamaged spool that an interrupted attempt left there is used again. Raises DataError for a file that cannot be
    trained on and BucketError for an object that cannot be fetched.
    """
    data_format(data)
    if (found := spool.find(folder, dict(identity))) is not None:
        log(f"data: {found.title} were read and checked by an earlier attempt")
        return found
    path = _fetch(data, identity, folder, log) if data.startswith("gs://") else Path(data)
    try:
        result = spool.write(folder, dict(identity), read(path, data), data.rsplit("/", 1)[-1])
    finally:
        if data.startswith("gs://"):
            path.unlink(missing_ok=True)
    rows, held = (sum(numbers) for numbers in zip(*result.chunks, strict=True))
    if result.rows < SMALLEST_ROWS or not held:
        raise DataError(
            f"{data} has {rows:,} rows; {SMALLEST_ROWS} to train on are the least and one to measure on, and here are "
            f"{result.rows:,} and {held:,}: a tenth of the different contexts is held out"
        )
    log(f"data: {result.title} read and checked")
    return result


def _fetch(url: str, identity: Mapping[str, str], folder: Path, log: Log) -> Path:
    from ml.bucket import Bucket

    bucket, _, name = url[len("gs://") :].partition("/")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fetched{data_format(url)}"
    Bucket(bucket).download(name, int(identity["generation"]), path)
    log(f"data: fetched {url} ({path.stat().st_size / 1e6:.1f} MB)")
    return path
