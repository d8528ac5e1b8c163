# SPDX-License-Identifier: GPL-3.0-or-later
"""Language runtimes and their end-of-life dates.

Dates from https://cloud.google.com/functions/docs/runtime-support (Python); a deprecated runtime can still be
deployed with a warning, a decommissioned one cannot.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from rehearsal.errors import ApiError


@dataclass(frozen=True)
class Runtime:
    """One runtime: its id, the name people see, and the two dates."""

    id: str
    title: str
    deprecated: datetime.date
    decommissioned: datetime.date

    def stage(self, today: datetime.date) -> str:
        """Return GA, DEPRECATED or DECOMMISSIONED."""
        if today >= self.decommissioned:
            return "DECOMMISSIONED"
        return "DEPRECATED" if today >= self.deprecated else "GA"

    def warnings(self, today: datetime.date) -> list[str]:
        """Return what a deployer should know."""
        if self.stage(today) != "DEPRECATED":
            return []
        return [
            f"Runtime {self.id} is deprecated since {self.deprecated} and will be decommissioned on "
            f"{self.decommissioned}. Functions cannot be created or updated from then on; move to a newer runtime."
        ]


def _date(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


RUNTIMES = (
    Runtime("python39", "Python 3.9", _date("2025-10-05"), _date("2026-04-05")),
    Runtime("python310", "Python 3.10", _date("2026-10-04"), _date("2027-04-04")),
    Runtime("python311", "Python 3.11", _date("2027-10-24"), _date("2028-04-24")),
    Runtime("python312", "Python 3.12", _date("2028-10-02"), _date("2029-04-02")),
    Runtime("python313", "Python 3.13", _date("2029-10-10"), _date("2030-04-10")),
    Runtime("python314", "Python 3.14", _date("2030-10-10"), _date("2031-04-10")),
)


def today() -> datetime.date:
    """Return the date that decides what is still supported (UTC)."""
    return datetime.datetime.now(datetime.timezone.utc).date()


def check(runtime: str) -> Runtime:
    """Return the runtime; ApiError 400 when it is unknown or decommissioned."""
    found = next((known for known in RUNTIMES if known.id == runtime), None)
    if found is None:
        offered = ", ".join(known.id for known in RUNTIMES if known.stage(today()) != "DECOMMISSIONED")
        raise ApiError(
            400, "badRequest", f"Invalid value for runtime: '{runtime}'. Supported runtimes here: {offered}."
        )
    if found.stage(today()) == "DECOMMISSIONED":
        message = (
            f"Runtime {found.id} is decommissioned since {found.decommissioned} and no longer allowed. "
            "Please use the latest Python runtime for Cloud Functions."
        )
        raise ApiError(400, "badRequest", message)
    return found


def _date_message(date: datetime.date) -> dict[str, int]:
    return {"year": date.year, "month": date.month, "day": date.day}


def as_resource(runtime: Runtime) -> dict[str, Any]:
    """Return the runtime as runtimes.list does."""
    answer: dict[str, Any] = {
        "name": runtime.id,
        "displayName": runtime.title,
        "stage": runtime.stage(today()),
        "environment": "GEN_2",
        "deprecationDate": _date_message(runtime.deprecated),
        "decommissionDate": _date_message(runtime.decommissioned),
    }
    warnings = runtime.warnings(today())
    return answer | ({"warnings": warnings} if warnings else {})
