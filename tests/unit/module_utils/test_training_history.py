# SPDX-License-Identifier: GPL-3.0-or-later
"""When runs are due, which did not come, and how the history is shown."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from ansible.module_utils.fanops.core import cron
from ansible.module_utils.fanops.training.history import missed

from plugins.filter.history_screen import history_curves, history_lines, schedule_lines

UTC = datetime.timezone.utc


def due(expression: str, timezone: str, since: str, until: str) -> list[str]:
    ends = [datetime.datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until)]
    return [moment.isoformat()[:16] for moment in cron.due(expression, timezone, *ends)]


def test_when_it_is_due() -> None:
    # Summer time begins on 29 March 2026 in Paris: 02:30 there does not exist, and Mondays are an hour earlier in UTC.
    assert due("30 3 * * 1", "Europe/Paris", "2026-03-22", "2026-04-06") == [
        "2026-03-23T02:30",
        "2026-03-30T01:30",
    ]
    assert due("0 0 29 2 *", "UTC", "2026-01-01", "2028-12-31") == ["2028-02-29T00:00"]
    assert due("0 6 1 * FRI", "UTC", "2026-05-01", "2026-05-09") == ["2026-05-01T06:00", "2026-05-08T06:00"]
    assert due("*/20 12 24 DEC *", "UTC", "2026-01-01", "2026-12-31T23:00") == [
        f"2026-12-24T12:{m}" for m in ("00", "20", "40")
    ]


@pytest.mark.parametrize(
    ("expression", "timezone", "fault"),
    [
        ("30 3 * * 1", "Africa/Casablanca", ""),
        ("weekly", "UTC", "has not five fields"),
        ("61 3 * * 1", "UTC", '"61" is not within 0 to 59'),
        ("x 3 * * 1", "UTC", '"X" is not a number'),
        ("30 3 * * 1", "Mars/Olympus", "training_timezone"),
    ],
)
def test_a_wrong_schedule_is_said_before_anything_runs(expression: str, timezone: str, fault: str) -> None:
    if not fault:
        return cron.check(expression, timezone)
    with pytest.raises(ValueError, match=re.escape(fault)):
        cron.check(expression, timezone)
    return None


def outcome(ended: str, **members: Any) -> dict[str, Any]:
    values = {
        "run": "r",
        "trigger": "schedule",
        "why": "changed: data",
        "result": "promoted",
        "message": "",
        "rows": 10_000,
    }
    return {
        **values,
        "started": ended,
        "ended": ended,
        "seconds": 40,
        "accuracy": 0.88,
        "list_price_usd": 0.0003,
        **members,
    }


def test_a_run_that_did_not_come_is_named_and_one_that_anybody_made_counts() -> None:
    policy = {
        "creationTimestamp": "2026-11-01T00:00:00.000-08:00",
        "instanceSchedulePolicy": {"vmStartSchedule": {"schedule": "0 6 * * 1"}, "timeZone": "UTC"},
    }
    runs = [outcome("2026-11-02T06:09:00Z"), outcome("2026-11-16T06:20:00Z", trigger="site")]
    now = datetime.datetime(2026, 11, 23, 6, 30, tzinfo=UTC)  # the run of the 23rd may still come
    assert missed(policy, runs, now) == ["2026-11-09T06:00:00Z"]
    assert missed(policy, runs, now + datetime.timedelta(hours=2)) == ["2026-11-09T06:00:00Z", "2026-11-23T06:00:00Z"]
    assert missed(None, runs, now) == []


def test_the_table_and_the_curves() -> None:
    runs = [
        outcome("2026-11-02T06:09:00Z"),
        outcome("2026-11-09T06:09:00Z", result="refused", message="not published: worse", accuracy=0.7),
        outcome("2026-11-16T06:09:00Z", result="nothing new", rows=None, accuracy=None, why=""),
    ]
    header, newest, refused, _ = history_lines(runs)
    assert header.split()[:3] == ["ended", "(UTC)", "result"]
    assert newest.startswith("2026-11-16 06:09:00  nothing new  -") and "not published: worse" in refused
    accuracy = history_curves(runs)[0]
    assert (accuracy["low"], accuracy["high"]) == ("70.00%", "88.00%")
    assert [dot["y"] for dot in accuracy["dots"]] == [30.0, 130.0]
    assert history_lines([]) == ["no run has ended yet"] and history_curves([]) == []
    schedule = {"cron": "0 6 * * 1", "timezone": "UTC", "next": "2026-11-29T22:00:00.000-08:00"}
    assert schedule_lines({"schedule": schedule, "missed": ["2026-11-09T06:00:00Z"]}) == [
        "0 6 * * 1 (UTC), next 2026-11-30T06:00:00Z", "DID NOT COME: 2026-11-09T06:00:00Z",
    ]  # fmt: skip
