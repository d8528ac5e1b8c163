# SPDX-License-Identifier: GPL-3.0-or-later
"""A training's hold on the site's lock: no other run may touch the VM while it is on, with or without its controller."""

from __future__ import annotations

import datetime
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ml.bucket import Bucket, BucketError, ConflictError
from ml.core import site_lock
from ml.core.site_lock import SiteLock

ATTEMPTS = 10


class LockedError(Exception):
    """Somebody else holds the site; the text says who and what to do."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def hold(bucket: Bucket, token: str, run: str, holder: str = "", purpose: str = "") -> None:
    """Write that training ``run`` holds the lock, for another lease. Raises LockedError where it is another's, BucketError."""

    def held(lock: SiteLock | None) -> SiteLock:
        if lock is None or lock.lapsed(_now()):
            lock = site_lock.taken(token, holder, purpose, _now())
        elif lock.token != token:
            raise LockedError(f"{lock.refusal()}. {site_lock.REMEDY}")
        return lock.training(run, _now())

    _change(bucket, held)


def give_back(bucket: Bucket, token: str) -> None:
    """Write that no training holds the lock any more; it goes, unless a controller holds it too. Raises BucketError."""

    def left(lock: SiteLock | None) -> SiteLock | None:
        return lock.without_training(_now()) if lock and lock.token == token else lock

    _change(bucket, left)


def _change(bucket: Bucket, change: Callable[[SiteLock | None], SiteLock | None]) -> None:
    """Write what ``change`` makes of the lock, or delete it for None; nothing where it stays as it is."""
    for _ in range(ATTEMPTS):
        found = bucket.read_versioned(site_lock.PATH)
        lock = site_lock.parse(found[0]) if found else None
        wanted = change(lock)
        if wanted == lock:
            return
        generation = found[1] if found else 0
        try:
            if wanted is None:
                bucket.delete(site_lock.PATH, generation)
            else:
                bucket.replace(site_lock.PATH, wanted.to_bytes(), generation)
        except ConflictError:
            continue  # the controller renewed it, or our own first answer got lost
        return
    raise BucketError(f"cannot renew gs://{bucket.name}/{site_lock.PATH}: it changed in each of {ATTEMPTS} attempts")


@contextmanager
def held(
    bucket: Bucket, token: str, run: str, report: Callable[[str], None], holder: str = "", purpose: str = ""
) -> Iterator[None]:
    """Hold the lock for a training, renewed by a thread; when it is lost, this process is terminated, as by ``systemctl stop``.

    Raises LockedError where the lock is another's from the start.
    """
    hold(bucket, token, run, holder, purpose)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(site_lock.RENEW_SECONDS):
            try:
                hold(bucket, token, run)
            except LockedError as error:
                report(f"the site's lock is lost: {error} This training stops")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except BucketError as error:
                report(f"the site's lock could not be renewed ({error}); trying again")

    thread = threading.Thread(target=renew, name="site-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            give_back(bucket, token)
        except BucketError as error:
            report(f"the site's lock was not given back and lapses within minutes ({error})")
