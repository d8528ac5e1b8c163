# SPDX-License-Identifier: GPL-3.0-or-later
"""A year of a data file that grows every day, in thirty seeds: what the gate says to honest and to worse candidates."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from ml.core.gate import wilson
from tests.growing_data import LOSS, Case, Judged, days_of
from tests.prove.figures import record, table

pytestmark = pytest.mark.timeout(4 * 3600)
SEEDS = 30
HEAD = (
    "rows, and a day",
    "label noise",
    "days",
    "honest days refused (95 % interval)",
    "days with 5 points less refused (95 % interval)",
)
ROWS: list[list[str]] = []
ALL: list[Judged] = []


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    ROWS.append(["all of them", "", f"{len(ALL)}", *shares(ALL)])
    losses = [day.loss for day in ALL]
    text = (
        f"{SEEDS} seeds. Each day all rows so far are trained on and the gate compares with the release of the day before; the "
        "worse candidate was trained on rows whose hottest named one sponsor, and lost "
        f"{100 * sum(losses) / len(losses):.1f} points on 10,000 other rows on average ({100 * min(losses):.1f} to "
        f"{100 * max(losses):.1f})."
    )
    record("Data that grow every day", "make prove-growing-data", f"{text}\n\n{table(HEAD, ROWS)}")


def shares(days: list[Judged]) -> list[str]:
    """Return both shares of refused days with their intervals."""
    counts = [sum(bool(day.refused) for day in days), sum(day.worse_refused for day in days)]
    bounds = [wilson(count, len(days)) for count in counts]
    return [f"{n} of {len(days)} ({low:.1%} to {high:.1%})" for n, (low, high) in zip(counts, bounds, strict=True)]


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize(
    ("first", "daily", "day"),
    [(3000, 150, 1), (3000, 150, 60), (3000, 150, 364), (50_000, 1000, 1), (50_000, 1000, 180)],
)
def test_a_day(first: int, daily: int, day: int, noise: float) -> None:
    processes = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=processes) as pool:
        tried = [pool.submit(days_of, Case(first, daily, noise), seed, day) for seed in range(SEEDS)]
        found = [judged for future in tried for judged in future.result()]
    ALL.extend(found)
    ROWS.append([f"{first:,} + {daily:,}", f"{noise:.0%}", f"{day}", *shares(found)])
    assert 0.8 * LOSS < sum(judged.loss for judged in found) / len(found) < 1.2 * LOSS


def test_nearly_all_honest_days_pass_and_nearly_all_worse_ones_do_not() -> None:
    assert len(ALL) == 10 * SEEDS
    refused = [day.refused for day in ALL if day.refused]
    assert len(refused) <= 0.02 * len(ALL), refused
    assert sum(day.worse_refused for day in ALL) >= 0.95 * len(ALL)
