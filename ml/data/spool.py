# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a data file, checked once and kept on disk in 13 bytes each, from which partitions are read.

Rows arrive in the order of the file, which may be sorted or periodic, so a stretch of it is no sample of the whole.
They are shuffled chunk by chunk as they arrive; then any slice through all chunks is a fair sample, and that is what a
partition is. Neither writing nor reading ever has more than a chunk and a partition in memory.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.core.features import ContextArrays, Features, encode_arrays
from ml.data.partitions import Share, plan
from ml.data.sources import Chunk
from ml.data.synthetic import HELD_OUT_ROWS, HELD_OUT_SEED, Labels, stream

RECORD = np.dtype(
    [
        ("match_minute", "u1"),
        ("score_diff", "i1"),
        ("temperature", "<f4"),
        ("crowd_density", "<f4"),
        ("zone", "u1"),  # position in ml.core.context.ZONES
        ("event", "u1"),  # position in ml.core.context.EVENTS
        ("sponsor", "u1"),  # position in ml.core.sponsors.CLASSES
    ]
)
Records = NDArray[np.void]

CHUNK_ROWS = 65_536
HELD_OUT_SHARE = 10  # one row in ten is kept back
_SHUFFLE_STREAM = 2


def write(folder: Path, identity: dict[str, str], batches: Iterable[Records], name: str) -> Spool:
    """Write the rows of ``batches`` to ``folder`` and return the spool; it appears whole or not at all.

    ``identity`` says what the rows are, so that ``find`` knows them again; ``name`` is what messages call the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    chunks: list[int] = []
    with (folder / "rows.bin").open("wb") as file:
        for chunk in _chunks(batches):
            rng = np.random.default_rng(stream(HELD_OUT_SEED, _SHUFFLE_STREAM, len(chunks)))
            data = chunk[rng.permutation(len(chunk))].tobytes()
            digest.update(data)
            file.write(data)
            chunks.append(len(chunk))
    state = {"identity": identity, "chunks": chunks, "sha256": digest.hexdigest(), "name": name}
    temporary = folder / "spool.json.new"
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(folder / "spool.json")
    return Spool(folder / "rows.bin", tuple(chunks), name)


def find(folder: Path, identity: dict[str, str]) -> Spool | None:
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
        return Spool(folder / "rows.bin", tuple(state["chunks"]), state["name"])
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
    """The source of the rows in ``path``; ``chunks`` are their lengths. The first tenth of each chunk is held out."""

    path: Path
    chunks: tuple[int, ...]
    name: str = "the data file"
    portable: bool = False

    @property
    def title(self) -> str:
        """The source in words."""
        return f"{self.rows:,} rows of {self.name}"

    @property
    def rows(self) -> int:
        """Rows to train on."""
        return sum(length - length // HELD_OUT_SHARE for length in self.chunks)

    def plan(self) -> list[Share]:
        """Return the partitions and the trees that each grows."""
        return [self._sized(share) for share in plan(self.rows)]

    def _sized(self, share: Share) -> Share:
        """Return a share with the rows that its slices really have."""
        rows = sum(last - first for _, first, last in self._slices(share))
        return replace(share, rows=rows, counted=tuple(map(self._sized, share.counted)))

    def partition(self, share: Share) -> tuple[Features, Labels]:
        """Read one partition: a slice of every chunk."""
        return _decode(self._read(self._slices(share)))

    def held_out(self) -> Iterator[Chunk]:
        """Read the rows that were kept back, 200,000 at most."""
        left = HELD_OUT_ROWS
        for start, length in zip(self._starts(), self.chunks, strict=True):
            take = min(left, length // HELD_OUT_SHARE)
            left -= take
            if take:
                yield Chunk(*_decode(self._read([(start, 0, take)])), ceiling=None)

    def _starts(self) -> list[int]:
        return list(itertools.accumulate(self.chunks[:-1], initial=0))

    def _slices(self, share: Share) -> Iterator[tuple[int, int, int]]:
        """Yield (first row of the chunk, from, to) of the share in every chunk."""
        for start, length in zip(self._starts(), self.chunks, strict=True):
            kept = length // HELD_OUT_SHARE
            usable = length - kept
            yield start, kept + usable * share.index // share.of, kept + usable * (share.index + 1) // share.of

    def _read(self, slices: Iterable[tuple[int, int, int]]) -> Records:
        parts = []
        with self.path.open("rb") as file:
            for start, first, last in slices:
                file.seek((start + first) * RECORD.itemsize)
                parts.append(np.frombuffer(file.read((last - first) * RECORD.itemsize), dtype=RECORD))
        return np.concatenate(parts)


def _decode(records: Records) -> tuple[Features, Labels]:
    contexts = ContextArrays(
        match_minute=records["match_minute"].astype(np.int64),
        score_diff=records["score_diff"].astype(np.int64),
        temperature=records["temperature"].astype(np.float64),
        crowd_density=records["crowd_density"].astype(np.float64),
        zone=records["zone"].astype(np.int64),
        event=records["event"].astype(np.int64),
    )
    return encode_arrays(contexts), records["sponsor"].astype(np.int64)
