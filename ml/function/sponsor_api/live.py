# SPDX-License-Identifier: GPL-3.0-or-later
"""The release that the function answers with, refreshed from the bucket while it serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ml.core.releases import Pointer, Read, Release, ReleaseError, load_release, read_pointer
from ml.core.serving import Model, model_of

PATIENCE = 0.25  # seconds that a request gives to a look at the bucket, before it answers with what it has


class LiveModel:
    """The live release, and what is known about how fresh it is.

    The pointer is looked at during a request, at most every ``refresh_seconds``: between requests a function has no
    CPU. One request starts the look and lends it ``patience`` seconds of its time; what takes longer goes on beside the
    requests that follow. A new release is loaded and proven before the old one goes. One that is damaged, does not load
    or cannot be reached leaves the last known good one serving.
    """

    def __init__(
        self,
        read: Read,
        refresh_seconds: float,
        report: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        self.refresh_seconds = refresh_seconds
        self._retry_seconds = min(refresh_seconds, 5.0)  # while there is nothing to serve
        self._read = read
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: tuple[Release, Model] | None = None
        self._checked = -float("inf")
        self._confirmed = -float("inf")
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the last look at the bucket failed, or None if it did not."""
        return self._error

    @property
    def seconds_since_check(self) -> float:
        """Seconds since the bucket was last looked at, with success or without."""
        return self._clock() - self._checked

    @property
    def staleness_seconds(self) -> float:
        """Seconds since it was last certain that what is served is live; infinite before the first time."""
        return self._clock() - self._confirmed

    def get(self) -> tuple[Release, Model]:
        """Return the release to answer with. Raises ReleaseError while there is none that can be used."""
        loaded = self._loaded
        if loaded is None:
            return self._first()
        if self._clock() - self._checked < self.refresh_seconds or not self._lock.acquire(blocking=False):
            return loaded
        look = threading.Thread(target=self._refresh_and_release, name="refresh", daemon=True)
        look.start()
        look.join(self.patience)
        return self._loaded or loaded

    def _first(self) -> tuple[Release, Model]:
        with self._lock:  # the first requests wait for the first load
            if self._loaded is None and self._clock() - self._checked >= self._retry_seconds:
                self._refresh()
            if self._loaded is None:
                raise ReleaseError(self._error or "no release was loaded yet")
            return self._loaded

    def _refresh_and_release(self) -> None:
        try:
            self._refresh()
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        begun = self._clock()
        try:
            pointer = read_pointer(self._read)
            current = self._loaded[0].pointer if self._loaded else None
            if current is None or (pointer.version, pointer.manifest) != (current.version, current.manifest):
                _refuse_old_copy(pointer, current)
                release = load_release(self._read, pointer=pointer)
                model = model_of(release)
                # one assignment: a request sees the old pair or the new pair
                self._loaded = (release, model)
                self._report(
                    "INFO", "release loaded", version=release.version, manifest=release.digest,
                    seconds=round(self._clock() - begun, 3),
                )  # fmt: skip
            self._error = None
            self._confirmed = begun
        except Exception as error:  # whatever happens to the bucket, a loaded model goes on serving
            self._error = f"{error}" if isinstance(error, ReleaseError) else f"{type(error).__name__}: {error}"
            self._report("ERROR", "release not loaded", error=self._error, serving=self._loaded is not None)
        finally:
            self._checked = self._clock()


def _refuse_old_copy(pointer: Pointer, current: Pointer | None) -> None:
    if current and pointer.version < current.version and pointer.updated <= current.updated:
        raise ReleaseError(
            f"the pointer went back from version {current.version} to {pointer.version} and is not newer; "
            "a rollback has a version of its own, so this is an old copy and was not followed"
        )
