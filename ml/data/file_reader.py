# SPDX-License-Identifier: GPL-3.0-or-later
"""Data files: CSV and Parquet, streamed, with every value checked before a single tree grows.

A file has the six members of a context and ``sponsor``, in any order. What is wrong is said once, with row and column.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ml.core.context import FIELDS, Field
from ml.core.sponsors import CLASSES
from ml.data.spool import RECORD, Records

SPONSOR = Field("sponsor", "the sponsor that was shown", str, None, values=CLASSES)
COLUMNS = (*FIELDS, SPONSOR)
FORMATS = (".csv", ".csv.gz", ".parquet")
_BATCH_ROWS = 65_536
_BLOCK_BYTES = 4 * 2**20


class DataError(Exception):
    """A data file that cannot be trained on; the message says where and why."""


def data_format(name: str) -> str:
    """Return the suffix of FORMATS that ``name`` has; raise DataError if it has none."""
    for suffix in FORMATS:
        if name.lower().endswith(suffix):
            return suffix
    raise DataError(f"{name} is no data file that can be read: its name must end in {', '.join(FORMATS)}")


def read(path: Path, name: str = "") -> Iterator[Records]:
    """Yield the rows of a data file in batches. ``name`` is what messages call it.

    Raises DataError at the first row that is wrong, and if there are no rows.
    """
    name = name or str(path)
    suffix = data_format(path.name)
    rows = 0
    try:
        for batch in _parquet(path, name) if suffix == ".parquet" else _csv(path, name):
            yield _check(batch, rows, name)
            rows += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{name} cannot be read as {suffix[1:]} after row {rows:,}: {text}") from error
    if not rows:
        raise DataError(f"{name} has no rows")


def _csv(path: Path, name: str) -> Iterator[pa.RecordBatch]:
    """Yield batches whose columns are all text; numbers are parsed where the row is known."""
    wrong: list[str] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(f"{name}, line {row.number}: {row.actual_columns} columns instead of {row.expected_columns}")
        return "error"

    with pa.input_stream(str(path), compression="detect") as stream:
        try:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={field.name: pa.string() for field in COLUMNS},
                    include_columns=None,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            names = _names(reader.schema, name)
            for batch in reader:
                yield batch.select(names)
        except pa.ArrowInvalid:
            if wrong:
                raise DataError(wrong[0]) from None
            raise


def _parquet(path: Path, name: str) -> Iterator[pa.RecordBatch]:
    with pyarrow.parquet.ParquetFile(path) as file:
        names = _names(file.schema_arrow, name)
        for field in COLUMNS:
            kind = file.schema_arrow.field(field.name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
            number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            if not (text if field.kind is str else number):
                raise DataError(f"{name}, column {field.name}: its type is {kind}, it must hold {field.allowed}")
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=names, use_threads=False)


def _names(schema: pa.Schema, name: str) -> list[str]:
    """Return the names of the columns, if the file has each of them once."""
    wanted = [field.name for field in COLUMNS]
    for column in wanted:
        found = schema.names.count(column)
        if found != 1:
            trouble = "is missing" if not found else f"occurs {found} times"
            raise DataError(f"{name}: column {column} {trouble}; it has {', '.join(schema.names) or 'no columns'}")
    return wanted


def _check(batch: pa.RecordBatch, before: int, name: str) -> Records:
    """Return the rows of ``batch``; the first of several mistakes is the one in the earliest row."""
    records = np.empty(batch.num_rows, dtype=RECORD)
    mistakes: list[tuple[int, str, str]] = []
    for field in COLUMNS:
        column = batch.column(field.name)
        values, right = _texts(column, field) if field.kind is str else _numbers(column, field)
        if right.all():
            records[field.name] = values
        else:
            row = int(right.argmin())
            mistakes.append((row, field.name, f"{_show(column[row])}, it must be {field.allowed}"))
    if mistakes:
        row, column_name, trouble = min(mistakes)
        raise DataError(f"{name}, row {before + row + 1:,}, column {column_name}: the value is {trouble}")
    return records


def _texts(column: pa.Array, field: Field) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the position of each value in ``field.values``, and where there is one."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(field.values))
    right = np.asarray(found.is_valid().to_numpy(zero_copy_only=False))
    return found.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint8), right


def _numbers(column: pa.Array, field: Field) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values, and where they are numbers in the field's range (and whole, for an integer)."""
    if pa.types.is_string(column.type):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:  # some value is no number: find out which, one at a time
            column = pa.array([_number(value) for value in column.to_pylist()], pa.float64())
    values = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    right = (values >= field.minimum) & (values <= field.maximum)  # not true of NaN
    if field.kind is int:
        right &= values == np.rint(values)
    return values, right


def _number(text: str | None) -> float | None:
    try:
        return float(pa.scalar(text).cast(pa.float64()).as_py()) if text is not None else None
    except pa.ArrowInvalid:
        return None


def _show(value: Any) -> str:
    """Return a short form of a refused value for a message."""
    plain = value.as_py()
    if plain is None:
        return "missing"
    text = repr(plain)
    return text if len(text) <= 60 else text[:60] + "…"
