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
    """Write that the lock is held, for training ``run`` (or none, ""). Raises LockedError where it is another's, BucketError."""
    for _ in range(ATTEMPTS):
        found = bucket.read_versioned(site_lock.PATH)
        lock = site_lock.parse(found[0]) if found else None
        wanted: SiteLock
        if lock is None or lock.lapsed(_now()):
            wanted = site_lock.taken(token, holder, purpose, _now(), run)
        elif lock.token == token:
            wanted = lock.renewed(_now(), run)
        else:
            raise LockedError(f"{lock.refusal()}. {site_lock.REMEDY}")
        try:
            bucket.replace(site_lock.PATH, wanted.to_bytes(), found[1] if found else 0)
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
            hold(bucket, token, "")
        except (LockedError, BucketError) as error:
            report(f"the site's lock was not given back and lapses within minutes ({error})")
