# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished partitions, kept on disk until the run has ended: a killed run goes on where it was.

A file holds the trees of one partition behind their own SHA-256. Nothing is unpickled before that was compared: a run
that is killed while it writes, or a disk that fills up, must cost one partition and not the run.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

_DIGEST_BYTES = 32


def pack(trees: Sequence[DecisionTreeClassifier]) -> bytes:
    """Return trees as bytes that begin with the SHA-256 of the rest."""
    data = pickle.dumps(list(trees), protocol=5)
    return hashlib.sha256(data).digest() + data


def unpack(packed: bytes) -> list[DecisionTreeClassifier] | None:
    """Return the trees in ``packed``, or None if it is not what ``pack`` made."""
    digest, data = packed[:_DIGEST_BYTES], packed[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        return None
    trees: list[DecisionTreeClassifier] = pickle.loads(data)  # noqa: S301  # our own bytes, the digest says
    return trees


class Checkpoints:
    """The finished partitions of the run with this ``fingerprint``, below ``folder``.

    Those of other runs are removed: they would never be read again, and the disk is small.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._root = folder
        self._folder = folder / fingerprint[:32]
        if folder.exists():
            for other in folder.iterdir():
                if other != self._folder:
                    shutil.rmtree(other)

    def load(self, index: int) -> list[DecisionTreeClassifier] | None:
        """Return the trees of partition ``index``, or None if it is not finished (or its file is damaged)."""
        try:
            return unpack(self._path(index).read_bytes())
        except OSError:
            return None

    def save(self, index: int, packed: bytes) -> None:
        """Keep the packed trees of partition ``index``; the file appears whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path(index).with_suffix(".new")
        temporary.write_bytes(packed)
        temporary.replace(self._path(index))

    def clear(self) -> None:
        """Forget them: the run has ended."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self._folder / f"partition-{index:05}.trees"
