# SPDX-License-Identifier: GPL-3.0-or-later
"""Check data files without training: what is understood of them, or everything that is wrong.

    python -m ml.check_data matches.csv
    python -m ml.check_data 'exports/*.parquet' --days 30
    python -m ml.check_data gs://my-bucket/matches/
    python -m ml.check_data --schema stadium.json --sponsors sponsors.json [FILES]

Files of this machine are read whole. Of a bucket the objects are listed, and the first and the newest are looked into:
whole up to 16 MiB, otherwise their first MiB. Needs the standard library only, and DuckDB for Parquet.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml.core.schema import Schema, SchemaError, read
from ml.data import rules
from ml.data.file_kind import PARQUET, DataError
from ml.data.file_reader import DataReader
from ml.data.parts import Part, find_parts

_WHOLE, _BEGINNING = 16 * 2**20, 2**20  # bytes


def check_data(schema: Schema, data: str, days: int = 0) -> dict[str, Any]:
    """Return what is understood of ``data``; raise DataError with what is wrong with it.

    Without data, that synthetic rows can be drawn is what is checked.
    """
    if not data:
        rules.check(schema)
        return {"files": [], "rows": 0, "used": 0, "skipped": {}, "understood": [], "ranges": {}, "shares": {}}
    parts = find_parts(data, days)
    reader = DataReader(schema.table)
    ranges: dict[str, tuple[float, float]] = {}
    shares: dict[str, Counter[int]] = {field.name: Counter() for field in schema.table if field.kind is str}
    with tempfile.TemporaryDirectory() as folder:
        looked = _beginnings(data, parts, Path(folder)) if data.startswith("gs://") else _local(parts)
        for batch in reader.read(looked):
            for name, values in batch.items():
                if name in shares:
                    shares[name].update(map(int, values))
                elif values:
                    low, high = ranges.get(name, (values[0], values[0]))
                    ranges[name] = min(low, *values), max(high, *values)
    return {
        "files": [{"path": part.source, "name": part.relative, "bytes": part.size} for part in parts],
        **reader.counts(),
        "understood": reader.understood,
        "ranges": ranges,
        "shares": {
            field.name: {
                value: round(shares[field.name][at] / max(1, reader.used), 4) for at, value in enumerate(field.values)
            }
            for field in schema.table
            if field.name in shares
        },
    }


def _local(parts: Sequence[Part]) -> Iterator[tuple[Part, Path]]:
    return ((part, Path(part.source)) for part in parts)


def _beginnings(data: str, parts: Sequence[Part], folder: Path) -> Iterator[tuple[Part, Path]]:
    """Yield the first and the newest object; of a large one its beginning, unless its schema stands at its end."""
    from ml.bucket import Bucket

    bucket = Bucket(data.split("/")[2])
    for part in dict.fromkeys([parts[0], max(parts, key=lambda part: part.day)]):
        path = folder / "beginning"
        path.write_bytes(bucket.head(part.source, part.generation, part.size if part.size <= _WHOLE else _BEGINNING))
        with path.open("rb") as file:
            if part.size > _WHOLE and file.read(4) == PARQUET:
                continue
        yield part, path


def understood(schema: Schema, result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person what was understood."""
    if not result["files"]:
        for field in schema.table:
            yield f"{field.name}: {field.allowed}{'' if field.default is None else f', {field.default} if it is missing'}"
        yield f"encoded in {len(schema.columns)} columns: {', '.join(schema.columns)}"
        return
    yield f"{len(result['files']):,} files, {sum(file['bytes'] for file in result['files']) / 1e6:,.1f} MB"
    yield from result["understood"][:10]
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in result["skipped"].items())
    yield f"{result['rows']:,} rows looked at: {result['used']:,} can be used" + (
        f", skipped {skipped}" if skipped else ""
    )
    for name, (low, high) in result["ranges"].items():
        yield f"{name}: {low:g} to {high:g}"
    for name, shares in result["shares"].items():
        yield f"{name}: " + ", ".join(f"{value} {share:.1%}" for value, share in shares.items())
        if absent := [value for value, share in shares.items() if not share]:
            yield f"{name}: no row has {', '.join(absent)}"


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def main(argv: Sequence[str] | None = None) -> int:
    """Check what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ml.check_data", description="Check data files without training.")
    parser.add_argument(
        "data",
        nargs="?",
        default="",
        help="a file, a folder, a pattern in quotes, or any of them as gs://bucket/…; without it, the description is checked, "
        "and that synthetic rows can be drawn by it",
    )
    parser.add_argument("--schema", type=_file, help="the description of the fields (default: ml/core/schema.json)")
    parser.add_argument("--sponsors", type=_file, help="the catalogue of the sponsors (default: ml/core/sponsors.json)")
    parser.add_argument("--days", type=int, default=0, help="use the files of the newest days only (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    try:
        schema = read(arguments.schema, arguments.sponsors)
        result = check_data(schema, arguments.data, arguments.days)
    except (DataError, SchemaError) as error:
        for fault in getattr(error, "faults", ()):
            print(fault, file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result) if arguments.json else "\n".join(understood(schema, result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
