# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions of instance schedules: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ITEM = re.compile(r"(\*|[A-Z0-9]+)(?:-([A-Z0-9]+))?(?:/(\d+))?")
# Four years and a day: far enough to meet any 29 February.
_HORIZON_DAYS = 1462


@dataclass(frozen=True)
class Cron:
    """A parsed expression; `either_day` is set when both kinds of day are restricted, of which one suffices."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def on(self, day: datetime) -> bool:
        """Whether the expression fires on that day at all."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (in_month or in_week if self.either_day else in_month and in_week)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment` (in its own time zone), None when there is no such time in four years."""
        start = (moment + timedelta(minutes=1)).replace(second=0, microsecond=0)
        day = start.replace(hour=0, minute=0)
        for _ in range(_HORIZON_DAYS):
            if self.on(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        found = day.replace(hour=hour, minute=minute)
                        if found >= start:
                            return found
            day += timedelta(days=1)
        return None


def parse(expression: str) -> Cron:
    """Return the parsed expression.

    Raises ValueError for an invalid expression.
    """
    parts = expression.upper().split()
    if len(parts) != len(_BOUNDS):
        raise ValueError(f"{expression!r} has {len(parts)} fields, not five")
    fields = [_field(part, *bounds, names) for part, bounds, names in zip(parts, _BOUNDS, _NAMES, strict=True)]
    weekdays = frozenset(day % 7 for day in fields[4])
    either = parts[2] != "*" and parts[4] != "*"
    return Cron(fields[0], fields[1], fields[2], fields[3], weekdays, either)


_NAMES: tuple[tuple[tuple[str, ...], int], ...] = (((), 0), ((), 0), ((), 0), (_MONTHS, 1), (_DAYS, 0))


def _field(text: str, low: int, high: int, names: tuple[tuple[str, ...], int]) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"{item!r} is no cron field")
        first, last, step = match.groups()
        begin = low if first == "*" else _number(first, names)
        end = high if first == "*" or (step and not last) else begin
        end = _number(last, names) if last else end
        if not low <= begin <= end <= high or step == "0":
            raise ValueError(f"{item!r} is outside {low}-{high}")
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: tuple[tuple[str, ...], int]) -> int:
    words, offset = names
    if text in words:
        return words.index(text) + offset
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)
