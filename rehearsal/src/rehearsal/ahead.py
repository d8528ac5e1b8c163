# SPDX-License-Identifier: GPL-3.0-or-later
"""By how much `rehearsal calendar` has moved Google's clock ahead of this machine's, now and at any time before.

Kind `compute.calendar`, key `ahead`: the seconds, and each move as [this machine's time of it, the seconds from then on].
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal.store import Store

KIND, KEY = "compute.calendar", "ahead"


def seconds(store: Store) -> float:
    """Return the seconds by which Google's clock is ahead."""
    return float((store.get(KIND, KEY) or {}).get("seconds", 0))


def move(store: Store, more: float) -> None:
    """Move Google's clock ahead."""
    with store.lock:
        known = store.get(KIND, KEY) or {}
        total = float(known.get("seconds", 0)) + more
        store.put(KIND, KEY, {"seconds": total, "moves": [*known.get("moves", []), [time.time(), total]]})


def at(store: Store, moment: float) -> float:
    """Return the seconds by which Google's clock was ahead at a time of this machine (seconds since the epoch)."""
    moves = (store.get(KIND, KEY) or {}).get("moves", [])
    return next((float(total) for when, total in reversed(moves) if when <= moment), 0.0)
