# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of several machines: partitions go to the workers of a Dask cluster, over TLS both ways.

A worker that is lost costs the partitions that it had in hand: the scheduler gives them to another one. What comes
back does not depend on who grew it, so the forest is the one that a single machine grows.
"""

from __future__ import annotations

import contextlib
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from distributed import Client, wait
from distributed.security import Security

from ml.data.partitions import Share
from ml.data.sources import Source
from ml.fingerprint import fingerprint, libraries
from ml.forest.checkpoints import pack
from ml.forest.growth import Ends, EngineError, grow_rows, grow_task, never
from ml.forest.random_forest import count
from ml.progress import Progress

WAIT_SECONDS = 180  # for the scheduler and for the first workers
STALL_SECONDS = 300  # without a single finished partition
_AHEAD = 2  # partitions a worker: one that grows, one that waits


class ClusterError(EngineError):
    """The cluster cannot be used; the message says why and what to do."""


def security(folder: Path) -> Security:
    """Return the TLS settings: both sides show a certificate of our own authority, in ca.pem, cert.pem and key.pem."""
    files = {"ca_file": "ca.pem"}
    for role in ("client", "scheduler", "worker"):
        files |= {f"{role}_cert": "cert.pem", f"{role}_key": "key.pem"}
    return Security(require_encryption=True, **{f"tls_{name}": str(folder / file) for name, file in files.items()})


def what_runs_here() -> dict[str, str]:
    """Return what must be equal on all machines for them to grow the same trees."""
    names = fingerprint(0, 0)
    return {"code": names["code"], "lock": names["lock"], **libraries()}


class Dask:
    """The workers of the cluster at ``scheduler`` (tls://host:port).

    Waits for ``workers`` of them. Raises ClusterError if they do not come, or run other code or libraries than we do.
    """

    def __init__(self, scheduler: str, tls: Path, workers: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._address = scheduler
        try:
            self._client: Any = Client(scheduler, security=security(tls), timeout=wait_seconds)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"cannot reach the scheduler {scheduler}: {error}; look at fanops-dask-scheduler.service there"
            ) from error
        try:
            self._client.wait_for_workers(workers, timeout=wait_seconds)
        except TimeoutError:
            found = len(self._client.scheduler_info(n_workers=-1)["workers"])
            self._client.close()
            raise ClusterError(
                f"{found} of {workers} workers came to {scheduler} within {wait_seconds:.0f} s; look at "
                "fanops-dask-worker.service on the others"
            ) from None
        ours = what_runs_here()
        for worker, theirs in self._client.run(what_runs_here).items():
            for name in ours:
                if ours[name] != theirs[name]:
                    self._client.close()
                    raise ClusterError(
                        f"the worker {worker} has {name} {theirs[name][:12]} and this machine {ours[name][:12]}: they would "
                        "grow other trees; configure all machines again"
                    )
        self.title = f"Dask cluster of {workers} worker{'s' * (workers > 1)}"
        self._workers = workers

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()

    def run(
        self, source: Source, shares: Iterable[Share], seed: int, progress: Progress, ends: Ends = never
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the packed trees of each share as they arrive. Raises ClusterError if no worker is left."""
        waiting = iter(list(shares))
        pending: dict[Any, Share] = {}
        with contextlib.closing(self._client):
            while True:
                # No more is handed out than the workers will do next: what waits would be in somebody's memory.
                for share in islice(waiting, 0 if ends() else _AHEAD * self._workers - len(pending)):
                    pending[self._submit(source, share, seed)] = share
                if not pending:
                    return
                for future in self._finished(list(pending)):
                    share = pending.pop(future)
                    packed = self._result(future, share)
                    progress.advance(trees=share.trees, rows=share.seen)
                    yield share.index, packed

    def _submit(self, source: Source, share: Share, seed: int) -> Any:
        if source.portable:
            return self._client.submit(grow_task, source, share, seed, pure=False)
        trees = self._client.submit(
            grow_rows, *source.partition(share), share, len(source.schema.classes), seed, pure=False
        )
        for counted in share.counted:
            trees = self._client.submit(count, trees, *source.partition(counted), pure=False)
        return self._client.submit(pack, trees, pure=False)

    def _finished(self, futures: list[Any]) -> list[Any]:
        """Wait for at least one of ``futures`` and return those that have ended."""
        try:
            return list(wait(futures, timeout=STALL_SECONDS, return_when="FIRST_COMPLETED").done)
        except (TimeoutError, OSError, CancelledError) as error:
            raise ClusterError(
                f"the cluster finished nothing for {STALL_SECONDS} s, or its scheduler is gone ({type(error).__name__}); look at "
                "fanops-dask-worker.service on the workers, and run again: what is finished is kept"
            ) from error

    @staticmethod
    def _result(future: Any, share: Share) -> bytes:
        try:
            packed: bytes = future.result()
            return packed
        except Exception as error:  # whatever was raised on the worker, or its loss for the last time
            raise ClusterError(
                f"partition {share.index} failed on the cluster: {' '.join(str(error).split())[:300]}; look at "
                "fanops-dask-worker.service on the workers, and run again: what is finished is kept"
            ) from error
