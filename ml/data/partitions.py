# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a training: how its rows are divided into partitions, and how many trees each partition grows."""

from __future__ import annotations

import math
from dataclasses import dataclass

SMALLEST_ROWS = 100  # that a training accepts
TREES = 100
SMALLEST_PARTITION, LARGEST_PARTITION = 20_000, 175_000  # rows
TREES_A_PARTITION = 2  # between these sizes: a row is seen by two trees, so the work grows as the rows do


@dataclass(frozen=True)
class Share:
    """What one partition contributes: ``rows`` of data that grow ``trees`` trees. ``of`` partitions make the forest."""

    index: int
    rows: int
    trees: int
    of: int = 1


def partition_rows(samples: int) -> int:
    """Return the most rows that a partition of ``samples`` rows has; it is bounded, and with it the memory."""
    share = math.ceil(samples * TREES_A_PARTITION / TREES)
    return min(LARGEST_PARTITION, max(SMALLEST_PARTITION, share))


def plan(samples: int) -> list[Share]:
    """Divide ``samples`` rows and the trees of the forest over partitions of equal size (give or take one row).

    Every partition grows at least one tree, so beyond 17.5 million rows the forest gets more than ``TREES``.
    """
    count = math.ceil(samples / partition_rows(samples))
    trees = max(TREES, count)
    return [
        Share(
            index,
            samples // count + (index < samples % count),
            trees // count + (index < trees % count),
            count,
        )
        for index in range(count)
    ]
