# SPDX-License-Identifier: GPL-3.0-or-later
"""From ``--data`` to a source: fetch the objects, check every row, keep the rows in the spool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml.core.schema import Schema
from ml.data import spool
from ml.data.file_kind import DataError
from ml.data.file_reader import Batch, DataReader
from ml.data.partitions import SMALLEST_ROWS
from ml.data.parts import Part, fetch
from ml.data.spool import Records, Spool, record_type
from ml.progress import Log


def open_data(
    schema: Schema,
    data: str,
    parts: Sequence[Part],
    identity: Mapping[str, str],
    folder: Path,
    kept: Path,
    log: Log,
) -> tuple[Spool, dict[str, Any]]:
    """Return the rows of ``data``, which is made of ``parts``, as a source kept in ``folder``, and their numbers.

    Objects of a bucket are fetched into ``kept``. An undamaged spool that an interrupted attempt left is used again.
    Raises DataError for data that cannot be trained on and BucketError for an object that cannot be fetched.
    """
    known = {**identity, "schema": json.dumps(schema.document, sort_keys=True)}
    if (found := spool.find(folder, schema, known)) is not None:
        log(f"data: {found.title} were read and checked by an earlier attempt")
        return found, json.loads((folder / "counts.json").read_text(encoding="utf-8"))
    reader = DataReader(schema.table)
    name = data.rstrip("/").rsplit("/", 1)[-1] if len(parts) == 1 else f"{len(parts)} files of {data}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spool.json").unlink(missing_ok=True)
    try:
        result = spool.write(folder, schema, known, _records(schema, reader, fetch(data, parts, kept, log)), name)
    except DataError as error:
        for fault in error.faults:
            log(f"data: {fault}")
        raise
    counts = {"files": len(parts), **reader.counts()}
    (folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    log(f"data: {reader.summary()}")
    rows, held = (sum(numbers) for numbers in zip(*result.chunks, strict=True))
    if result.rows < SMALLEST_ROWS or not held:
        raise DataError(
            f"{data} has {rows:,} rows; {SMALLEST_ROWS} to train on are the least and one to measure on, and here are "
            f"{result.rows:,} and {held:,}: a tenth of the different contexts is held out"
        )
    log(f"data: {result.title} read and checked")
    return result, counts


def _records(schema: Schema, reader: DataReader, parts: Iterator[tuple[Part, Path]]) -> Iterator[Records]:
    record = record_type(schema)
    for batch in reader.read(parts):
        yield records(record, batch)


def records(record: np.dtype[np.void], batch: Batch) -> Records:
    """Return the rows of a batch as the spool keeps them."""
    result = np.empty(len(next(iter(batch.values()))), dtype=record)
    for name, values in batch.items():
        result[name] = values
    return result
