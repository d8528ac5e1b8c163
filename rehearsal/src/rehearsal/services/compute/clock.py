# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as Compute writes it: RFC 3339 with milliseconds, in Pacific Standard Time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

# Google answers in Pacific time. The offset is fixed here, no time-zone database is needed; any offset is valid.
PACIFIC = timezone(timedelta(hours=-8))


def now() -> float:
    """Return the time in seconds since the epoch."""
    return time.time()


def timestamp(seconds: float | None = None) -> str:
    """Return `2026-11-23T01:23:45.678-08:00` for a time in seconds since the epoch (default: now)."""
    moment = datetime.fromtimestamp(now() if seconds is None else seconds, PACIFIC)
    return moment.isoformat(timespec="milliseconds")


def parse(text: str) -> float:
    """Return the seconds since the epoch of an RFC 3339 time.

    Raises ValueError for any other text, or for a time without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no UTC offset in {text!r}")
    return moment.timestamp()
