# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a data file, checked once and kept on disk in a few bytes each, from which partitions are read.

A row takes 13 bytes by the default schema.

Rows arrive in the order of the file, which may be sorted or periodic, so a stretch of it is no sample of the whole.
They are shuffled chunk by chunk as they arrive; then any slice through all chunks is a fair sample, and that is what a
partition is. Neither writing nor reading ever has more than a chunk and a partition in memory.

Which rows are held out follows from their own content (see ``held_out``), so it is the same in every file that they
are part of. The held-out rows of a chunk come first.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.core.features import Features, encode_arrays
from ml.core.schema import Field, Schema
from ml.data.partitions import Share, plan
from ml.data.sources import Chunk
from ml.data.synthetic import HELD_OUT_ROWS, HELD_OUT_SEED, Labels, stream

Records = NDArray[np.void]

CHUNK_ROWS = 65_536
HELD_OUT_SHARE = 10  # one context in ten is kept back
_SHUFFLE_STREAM = 2


def record_type(schema: Schema) -> np.dtype[np.void]:
    """Return how a row is kept: each field in the fewest bytes that hold it, names and the sponsor as places."""
    return np.dtype([(field.name, _kept(field)) for field in schema.table])


def _kept(field: Field) -> str:
    if field.kind is float:
        return "<f4"
    low, high = (0, len(field.values) - 1) if field.kind is str else (field.minimum, field.maximum)
    kinds = ("u1", "i1", "<u2", "<i2", "<u4", "<i4")
    return next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)


def split_rule(schema: Schema) -> str:
    """Return the rule by which rows are held out. Two releases with the same rule never trained on each other's held-out rows."""
    zero = [f"{f.name} ({f.default} counts as nothing)" for f in schema.choices if f.default not in (None, f.values[0])]
    names = [field.name for field in (*schema.numbers, *schema.choices)]
    return f"SHA-256 of {', '.join(names)}, 1 in {HELD_OUT_SHARE}" + (f"; {', '.join(zero)}" if zero else "")


@functools.cache
def _column_keys(columns: tuple[str, ...]) -> NDArray[np.uint64]:
    """Return a random number for each column, which depends on the column's name only."""
    digests = (hashlib.sha256(name.encode()).digest() for name in columns)
    return np.array([int.from_bytes(digest[:8], "little") for digest in digests], dtype=np.uint64)


def context_hash(schema: Schema, features: Features) -> NDArray[np.uint64]:
    """Return a hash of each row of ``features``, float32 (n, columns): the same for the same context, wherever it stands.

    Zeros do not count and the order of the columns neither, so a value that a choice gets later changes no hash.
    """
    total = np.zeros(len(features), dtype=np.uint64)
    for column, key in enumerate(_column_keys(schema.columns)):
        values = features[:, column] + np.float32(0)  # -0 becomes 0
        total += np.where(values != 0, _mix(values.view(np.uint32).astype(np.uint64) + key), np.uint64(0))
    return _mix(total)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread each number over 64 bits (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def held_out(schema: Schema, features: Features) -> NDArray[np.bool_]:
    """Say for each row whether it is held out: a tenth of all contexts is, by their hash.

    The sponsor does not count: a model that learned a context from one row must not be judged on another row of it.
    """
    return context_hash(schema, features) < np.uint64(2**64 // HELD_OUT_SHARE)


def write(folder: Path, schema: Schema, identity: dict[str, str], batches: Iterable[Records], name: str) -> Spool:
    """Write the rows of ``batches`` to ``folder`` and return the spool; it appears whole or not at all.

    ``identity`` says what the rows are, so that ``find`` knows them again; ``name`` is what messages call the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    chunks: list[tuple[int, int]] = []
    with (folder / "rows.bin").open("wb") as file:
        for chunk in _chunks(batches):
            rng = np.random.default_rng(stream(HELD_OUT_SEED, _SHUFFLE_STREAM, len(chunks)))
            chunk = chunk[rng.permutation(len(chunk))]
            held = held_out(schema, _decode(schema, chunk)[0])
            data = np.concatenate([chunk[held], chunk[~held]]).tobytes()
            digest.update(data)
            file.write(data)
            chunks.append((len(chunk), int(held.sum())))
    state = {"identity": identity, "chunks": chunks, "sha256": digest.hexdigest(), "name": name}
    temporary = folder / "spool.json.new"
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(folder / "spool.json")
    return Spool(folder / "rows.bin", schema, tuple(chunks), name)


def find(folder: Path, schema: Schema, identity: dict[str, str]) -> Spool | None:
    """Return the spool that an earlier attempt left in ``folder``, if it is of the same data and undamaged."""
    try:
        state = json.loads((folder / "spool.json").read_text(encoding="utf-8"))
        if state["identity"] != identity:
            return None
        digest = hashlib.sha256()
        with (folder / "rows.bin").open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        if digest.hexdigest() != state["sha256"]:
            return None
        chunks = tuple((length, held) for length, held in state["chunks"])
        return Spool(folder / "rows.bin", schema, chunks, state["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _chunks(batches: Iterable[Records]) -> Iterator[Records]:
    """Yield the same rows in chunks of CHUNK_ROWS: the shuffle must not depend on how a reader cuts a file."""
    waiting: list[Records] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows < CHUNK_ROWS:
            continue
        whole = np.concatenate(waiting)
        for start in range(0, rows - rows % CHUNK_ROWS, CHUNK_ROWS):
            yield whole[start : start + CHUNK_ROWS]
        waiting = [whole[rows - rows % CHUNK_ROWS :]]
        rows %= CHUNK_ROWS
    if rows:
        yield np.concatenate(waiting)


@dataclass(frozen=True)
class Spool:
    """The source of the rows in ``path``; ``chunks`` are their lengths, and how many rows of each are held out."""

    path: Path
    schema: Schema
    chunks: tuple[tuple[int, int], ...]
    name: str = "the data file"
    portable: bool = False

    @property
    def split(self) -> str:
        """The rule by which rows are held out."""
        return split_rule(self.schema)

    @property
    def title(self) -> str:
        """The source in words."""
        return f"{self.rows:,} rows of {self.name}"

    @property
    def rows(self) -> int:
        """Rows to train on."""
        return sum(length - held for length, held in self.chunks)

    def plan(self) -> list[Share]:
        """Return the partitions and the trees that each grows."""
        return [self._sized(share) for share in plan(self.rows)]

    def _sized(self, share: Share) -> Share:
        """Return a share with the rows that its slices really have."""
        rows = sum(last - first for _, first, last in self._slices(share))
        return replace(share, rows=rows, counted=tuple(map(self._sized, share.counted)))

    def partition(self, share: Share) -> tuple[Features, Labels]:
        """Read one partition: a slice of every chunk."""
        return _decode(self.schema, self._read(self._slices(share)))

    def held_out(self) -> Iterator[Chunk]:
        """Read the rows that were kept back; if they are more than 200,000, about as many, from all of the file."""
        total = sum(held for _, held in self.chunks)
        for start, (_, held) in zip(self._starts(), self.chunks, strict=True):
            if take := math.ceil(held * min(1, HELD_OUT_ROWS / max(1, total))):
                yield Chunk(*_decode(self.schema, self._read([(start, 0, take)])), ceiling=None)

    def _starts(self) -> list[int]:
        return list(itertools.accumulate((length for length, _ in self.chunks[:-1]), initial=0))

    def _slices(self, share: Share) -> Iterator[tuple[int, int, int]]:
        """Yield (first row of the chunk, from, to) of the share in every chunk."""
        for start, (length, held) in zip(self._starts(), self.chunks, strict=True):
            usable = length - held
            yield start, held + usable * share.index // share.of, held + usable * (share.index + 1) // share.of

    def _read(self, slices: Iterable[tuple[int, int, int]]) -> Records:
        parts, record = [], record_type(self.schema)
        with self.path.open("rb") as file:
            for start, first, last in slices:
                file.seek((start + first) * record.itemsize)
                parts.append(np.frombuffer(file.read((last - first) * record.itemsize), dtype=record))
        return np.concatenate(parts)


def _decode(schema: Schema, records: Records) -> tuple[Features, Labels]:
    kinds = {int: np.int64, float: np.float64, str: np.int64}
    arrays = {field.name: records[field.name].astype(kinds[field.kind]) for field in schema.fields}
    return encode_arrays(schema, arrays), records[schema.target.name].astype(np.int64)
