# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as Compute writes it: RFC 3339 with milliseconds, in Pacific time by season."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

# By how much this process takes Google's clock to be ahead of this machine's.
_ahead = 0.0


def now() -> float:
    """Return the time in seconds since the epoch."""
    return time.time() + _ahead


def follow(seconds: float) -> None:
    """Have `now` ahead of this machine's clock by so much."""
    global _ahead
    _ahead = seconds


def behind(seconds: float) -> float:
    """Return by how much `now` is behind something that is ahead of this machine's clock by `seconds`."""
    return seconds - _ahead


def timestamp(seconds: float | None = None) -> str:
    """Return `2026-11-23T01:23:45.678-08:00` for a time in seconds since the epoch (default: now)."""
    moment = now() if seconds is None else seconds
    return datetime.fromtimestamp(moment, pacific(moment)).isoformat(timespec="milliseconds")


def pacific(seconds: float) -> timezone:
    """Return -07:00 from the second Sunday of March to the first of November, else -08:00; no time-zone database is needed."""
    year = datetime.fromtimestamp(seconds, timezone.utc).year
    summer, winter = _sunday(year, 3, 8, 10), _sunday(year, 11, 1, 9)
    return timezone(timedelta(hours=-7 if summer <= seconds < winter else -8))


def _sunday(year: int, month: int, earliest: int, hour: int) -> float:
    day = datetime(year, month, earliest, hour, tzinfo=timezone.utc)
    return (day + timedelta(days=6 - day.weekday())).timestamp()


def parse(text: str) -> float:
    """Return the seconds since the epoch of an RFC 3339 time.

    Raises ValueError for any other text, or for a time without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no UTC offset in {text!r}")
    return moment.timestamp()
