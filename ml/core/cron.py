# SPDX-License-Identifier: GPL-3.0-or-later
"""When a schedule is due: five cron fields in a time zone, as Google's instance schedules have them. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from itertools import pairwise
from zoneinfo import ZoneInfo

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
NAMES = {name: str(1 + number) for number, name in enumerate(MONTHS)} | {
    name: str(number) for number, name in enumerate(WEEKDAYS)
}
ITEM = re.compile(r"(\*|\d+)(?:-(\d+))?(?:/([1-9]\d*))?")


def fields(cron: str) -> list[set[int]]:
    """Return the values of each field. Raises ValueError, which says what is wrong with it."""
    parts = cron.upper().split()
    if len(parts) != len(BOUNDS):
        raise ValueError(f'"{cron}" has not five fields, as in "30 3 * * 1" (Mondays at 03:30)')
    return [_values(part, low, high) for part, (low, high) in zip(parts, BOUNDS, strict=True)]


def check(cron: str, timezone: str) -> None:
    """Raise ValueError, which says what to set, for a schedule that Google would refuse."""
    try:
        fields(cron)
    except ValueError as error:
        raise ValueError(f'training_schedule is "{cron}": {error}') from None
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, LookupError):
        raise ValueError(f'training_timezone is "{timezone}", not a name such as Africa/Casablanca') from None


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in re.sub("[A-Z]{3}", lambda match: NAMES.get(match[0], match[0]), field).split(","):
        match = ITEM.fullmatch(item)
        if not match:
            raise ValueError(f'"{field}" is not a number, a range, a list or *')
        first, last, step = match.groups()
        begin = low if first == "*" else int(first)
        end = int(last) if last else high if first == "*" or step else begin
        if not low <= begin <= end <= high:
            raise ValueError(f'"{field}" is not within {low} to {high}')
        found.update(range(begin, end + 1, int(step or 1)))
    return found


#: A year to count in, so that the same schedule always gives the same figures.
YEAR = (
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.datetime(2027, 1, 1, tzinfo=datetime.timezone.utc),
)


def longest_gap(cron: str, timezone: str) -> int:
    """Return the longest time between two moments that are due, in seconds, over a year and into the next. Raises ValueError."""
    moments = list(due(cron, timezone, YEAR[0], YEAR[1] + (YEAR[1] - YEAR[0])))
    gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
    return round(max(gaps, default=(YEAR[1] - YEAR[0]).total_seconds()))


def due(cron: str, timezone: str, since: datetime.datetime, until: datetime.datetime) -> Iterator[datetime.datetime]:
    """Yield when it is due, after ``since`` and until ``until`` (both aware), in UTC. Raises ValueError."""
    minutes, hours, days, months, weekdays = fields(cron)
    _, _, day_field, _, weekday_field = cron.split()
    zone = ZoneInfo(timezone)
    day = since.astimezone(zone).date()
    while day <= until.astimezone(zone).date():
        in_month, in_week = day.day in days, bool({day.isoweekday(), day.isoweekday() % 7} & weekdays)
        # Where both kinds of day are restricted, one of them suffices.
        either = day_field != "*" and weekday_field != "*"
        if day.month in months and (in_month or in_week if either else in_month and in_week):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    local = datetime.datetime.combine(day, datetime.time(hour, minute), zone)
                    moment = local.astimezone(datetime.timezone.utc)
                    if since < moment <= until:
                        yield moment
        day += datetime.timedelta(days=1)
