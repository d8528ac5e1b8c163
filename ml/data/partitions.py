# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a training: how its rows are divided into partitions, and how many trees each partition grows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SMALLEST_ROWS = 100  # that a training accepts
TREES = 100
SMALLEST_PARTITION, LARGEST_PARTITION = 20_000, 175_000  # rows
TREES_A_PARTITION = 2  # between these sizes: a row is seen by two trees, so the work grows as the rows do


@dataclass(frozen=True)
class Share:
    """What one partition contributes: ``rows`` of data that grow ``trees`` trees. The data have ``of`` partitions.

    The rows of the partitions in ``counted`` find no splits; they are counted in the leaves of these trees.
    """

    index: int
    rows: int
    trees: int
    of: int = 1
    counted: tuple[Share, ...] = ()

    @property
    def seen(self) -> int:
        """Rows that these trees have learned from."""
        return self.rows + sum(share.rows for share in self.counted)


def partition_rows(samples: int) -> int:
    """Return the most rows that a partition of ``samples`` rows has; it is bounded, and with it the memory."""
    share = math.ceil(samples * TREES_A_PARTITION / TREES)
    return min(LARGEST_PARTITION, max(SMALLEST_PARTITION, share))


def plan(samples: int) -> list[Share]:
    """Divide ``samples`` rows and the trees of the forest over partitions of equal size (give or take one row).

    A forest has ``TREES`` trees. Where there are more partitions (beyond 17.5 million rows), the first ``TREES`` grow a
    tree each, and the others are counted in the leaves of those in turn.
    """
    count = math.ceil(samples / partition_rows(samples))
    growing = min(count, TREES)
    partitions = [
        Share(
            index,
            samples // count + (index < samples % count),
            TREES // growing + (index < TREES % growing) if index < growing else 0,
            count,
        )
        for index in range(count)
    ]
    return [
        replace(share, counted=tuple(partitions[share.index + growing :: growing])) for share in partitions[:growing]
    ]
