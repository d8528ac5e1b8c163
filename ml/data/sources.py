# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rows come from: drawn from the known distribution, or read from a data file.

A source hands out its rows in partitions, in any order and to several threads at once, and keeps rows back that no tree
ever sees, to measure the model on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ml.core.features import Features
from ml.core.schema import DEFAULT, Schema
from ml.data import synthetic
from ml.data.partitions import Share, plan
from ml.data.synthetic import Labels


class Chunk(NamedTuple):
    """Rows to measure a model on. ``ceiling`` is the Bayes accuracy on them, None where it is not known."""

    features: Features  # float32 (n, columns)
    labels: Labels  # class indices (n,)
    ceiling: float | None


class Source(Protocol):
    """What a training needs of its data."""

    @property
    def rows(self) -> int:
        """Rows to train on."""

    @property
    def schema(self) -> Schema:
        """What the columns of the rows are."""

    @property
    def title(self) -> str:
        """The source in words, for a log line and the manifest."""

    @property
    def portable(self) -> bool:
        """Whether another machine can make the partitions itself, from a pickled copy of this object."""

    @property
    def split(self) -> str:
        """The rule by which rows are held out, for the manifest."""

    def plan(self) -> list[Share]:
        """Return the partitions and the trees that each grows."""

    def partition(self, share: Share) -> tuple[Features, Labels]:
        """Return the rows of one partition."""

    def held_out(self) -> Iterator[Chunk]:
        """Yield the rows to measure on: the same rows for every training seed, so that releases can be compared."""


@dataclass(frozen=True)
class Synthetic:
    """``rows`` rows drawn from the distribution of ``ml.data.rules`` below ``seed``."""

    rows: int
    seed: int
    schema: Schema = DEFAULT
    portable: bool = True
    split: str = "drawn apart from the training rows"

    @property
    def title(self) -> str:
        """The source in words."""
        return f"{self.rows:,} synthetic rows"

    def plan(self) -> list[Share]:
        """Return the partitions and the trees that each grows."""
        return plan(self.rows)

    def partition(self, share: Share) -> tuple[Features, Labels]:
        """Draw one partition."""
        return synthetic.partition(self.schema, self.seed, share.index, share.rows)

    def held_out(self) -> Iterator[Chunk]:
        """Draw the held-out rows."""
        for features, labels, ceiling in synthetic.held_out(self.schema):
            yield Chunk(features, labels, ceiling)
