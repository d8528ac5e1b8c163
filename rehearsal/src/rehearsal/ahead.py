# SPDX-License-Identifier: GPL-3.0-or-later
"""By how much `rehearsal calendar` has moved the calendar of schedules, and Google's clock with it where it was told to.

Kind `compute.calendar`, key `ahead`: both in seconds ahead of this machine's clock, and each move of Google's clock as [this machine's
time of it, the seconds from then on].
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rehearsal.store import Store

KIND, KEY = "compute.calendar", "ahead"


def _known(store: Store) -> dict[str, Any]:
    return {"calendar": 0.0, "clock": 0.0, "moves": [], **(store.get(KIND, KEY) or {})}


def calendar(store: Store) -> float:
    """Return the seconds by which the calendar of schedules is ahead."""
    return float(_known(store)["calendar"])


def clock(store: Store) -> float:
    """Return the seconds by which Google's clock is ahead."""
    return float(_known(store)["clock"])


def move(store: Store, seconds: float, *, with_clock: bool) -> None:
    """Move the calendar ahead, and Google's clock to where the calendar is then."""
    with store.lock:
        known = _known(store)
        known["calendar"] += seconds
        if with_clock:
            known["clock"] = known["calendar"]
            known["moves"] = [*known["moves"], [time.time(), known["clock"]]]
        store.put(KIND, KEY, known)


def clock_at(store: Store, moment: float) -> float:
    """Return the seconds by which Google's clock was ahead at a time of this machine (seconds since the epoch)."""
    return next((float(total) for when, total in reversed(_known(store)["moves"]) if when <= moment), 0.0)
