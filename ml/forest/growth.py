# SPDX-License-Identifier: GPL-3.0-or-later
"""Growing the forest: every partition is a task of its own, which any thread or machine may do, in any order.

The result depends on the source, the seed and the plan only. Trees are put together in the order of the partitions,
whoever grew them and whenever they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from ml.core.features import Features
from ml.data.partitions import Share
from ml.data.sources import Source
from ml.data.synthetic import Labels
from ml.forest import random_forest
from ml.forest.checkpoints import Checkpoints, pack, unpack
from ml.progress import Log, Progress

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

Trees = list["DecisionTreeClassifier"]
#: Asked before a partition is begun: shall it not be?
Ends = Callable[[], bool]


def never() -> bool:
    """Every partition is grown."""
    return False


class EngineError(Exception):
    """The engine cannot go on; the message says why and what to do."""


class EndedError(Exception):
    """The growing was ended in order: ``finished`` of ``partitions`` partitions are kept."""

    def __init__(self, finished: int, partitions: int) -> None:
        super().__init__(f"{finished} of {partitions} partitions are finished and kept")


class Engine(Protocol):
    """Who does the tasks."""

    @property
    def title(self) -> str:
        """The engine in words, for a log line."""

    def run(
        self, source: Source, shares: Iterable[Share], seed: int, progress: Progress, ends: Ends = never
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (index, packed trees) of every share, in any order, and count trees and rows in ``progress``.

        No share is begun any more once ``ends`` says so; those that were begun are finished.
        """


def grow_task(source: Source, share: Share, seed: int) -> bytes:
    """Make the partitions of ``share``, one at a time, and return its trees, packed. Runs wherever an engine wants it to."""
    trees = grow_rows(*source.partition(share), share, len(source.schema.classes), seed)
    for counted in share.counted:
        trees = random_forest.count(trees, *source.partition(counted))
    return pack(trees)


def grow_rows(features: Features, labels: Labels, share: Share, classes: int, seed: int) -> Trees:
    """Return the trees that ``share`` grows on these rows."""
    return [tree for batch in random_forest.grow(share, features, labels, classes, seed) for tree in batch]


class Threads:
    """The engine of one machine: ``jobs`` threads, one partition each (scikit-learn releases the lock)."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self.title = f"{jobs} thread{'s' * (jobs > 1)}"

    def run(
        self, source: Source, shares: Iterable[Share], seed: int, progress: Progress, ends: Ends = never
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the packed trees of each share as they are finished."""
        shares = list(shares)
        if len(shares) == 1 and not ends():  # all threads on the one partition
            features, labels = source.partition(shares[0])
            trees: Trees = []
            for batch in random_forest.grow(shares[0], features, labels, len(source.schema.classes), seed, self._jobs):
                trees += batch
                progress.advance(trees=len(batch))
            progress.advance(rows=shares[0].rows)
            yield shares[0].index, pack(trees)
            return
        # No more partitions are begun than threads are free: what waits would be in memory.
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="grow")
        running: dict[Future[bytes], Share] = {}
        try:
            for share in shares:
                if len(running) == self._jobs:
                    yield from _finished(running, progress)
                if ends():
                    break
                running[pool.submit(grow_task, source, share, seed)] = share
            while running:
                yield from _finished(running, progress)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(running: dict[Future[bytes], Share], progress: Progress) -> Iterator[tuple[int, bytes]]:
    """Wait for at least one of ``running``, and take out and yield those that are done."""
    for done in wait(running, return_when=FIRST_COMPLETED).done:
        share = running.pop(done)
        packed = done.result()
        progress.advance(trees=share.trees, rows=share.seen)
        yield share.index, packed


def grow_forest(
    source: Source,
    seed: int,
    engine: Engine,
    log: Log,
    checkpoints: Checkpoints | None = None,
    ends: Ends = never,
) -> tuple[Trees, list[Share]]:
    """Grow all trees of ``source``, in the order of the plan; finished partitions are kept in ``checkpoints``.

    ``ends`` is asked before each partition whether it shall not be begun any more. Raises EndedError then.
    """
    shares = source.plan()
    grown: dict[int, Trees] = {}
    if checkpoints is not None:
        for share in shares:
            if (trees := checkpoints.load(share.index)) is not None:
                grown[share.index] = trees
    if grown:
        log(f"resuming: {len(grown)} of {len(shares)} partitions were finished by an earlier attempt")
    left = [share for share in shares if share.index not in grown]
    log(
        f"training {sum(share.trees for share in shares)} trees on {len(shares)} partition{'s' * (len(shares) > 1)} of "
        f"{shares[0].rows:,} rows, {engine.title}"
    )
    with Progress(log, sum(share.trees for share in shares), source.rows) as progress:
        for share in shares:
            if share.index in grown:
                progress.advance(trees=share.trees, rows=share.seen, resumed=True)
        for index, packed in engine.run(source, left, seed, progress, ends):
            if checkpoints is not None and len(shares) > 1:
                checkpoints.save(index, packed)
            trees = unpack(packed)
            if trees is None:
                raise RuntimeError(f"the trees of partition {index} arrived damaged")
            grown[index] = trees
    if len(grown) < len(shares):
        raise EndedError(len(grown), len(shares))
    return [tree for share in shares for tree in grown[share.index]], shares
