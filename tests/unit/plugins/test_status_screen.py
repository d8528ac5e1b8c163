# SPDX-License-Identifier: GPL-3.0-or-later
"""The status screen in every state that a person may find things in."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.filter import status_screen as plugin

NOW = "2026-11-24T12:00:00Z"
ZONE = "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a"
VM = {
    "zone": ZONE,
    "machineType": f"{ZONE}/machineTypes/e2-micro",
    "scheduling": {"maxRunDuration": {"seconds": "7200"}},
    "lastStartTimestamp": "2026-11-24T11:50:00.000-00:00",
}
RUNNING = {
    **VM,
    "status": "RUNNING",
    "resourceStatus": {"scheduling": {"terminationTimestamp": "2026-11-24T05:50:00.123-08:00"}},
}
STOPPED = {**VM, "status": "TERMINATED", "lastStopTimestamp": "2026-11-24T11:55:00Z"}
RELEASE = {
    "version": 3,
    "created": "2026-11-24T10:00:00+00:00",
    "metrics": {"accuracy": 0.8779, "ceiling": 0.8983},
}


def event(by: str, kind: str = "stopped", failed: bool = False) -> dict[str, Any]:
    return {"event": kind, "at": "2026-11-24T11:55:00Z", "by": by, "failed": failed}


def test_the_months_ceiling_is_a_line() -> None:
    assert "ceiling    2026-11: $4.10 of $5.00" in screen(ceiling={"text": "2026-11: $4.10 of $5.00"})


def screen(**facts: Any) -> str:
    return "\n".join(plugin.status_screen(plugin.status_document({"name": "vm", **facts}, NOW)))


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"vm": None}, "vm: does not exist\nstops      nothing runs\nrelease    none\nfunction   not asked"),
        ({"vm": None, "history": [event("me@x", "deleted")]}, "deleted 2026-11-24T11:55:00Z by me@x"),
        ({"vm": RUNNING}, "RUNNING e2-micro, up 0:10:00 of at most 2:00:00\nstops      Google, at 2026-11-24T13:50:00Z"),
        (
            {"vm": RUNNING, "watchdog": {"armed": True, "power_off": False, "at": "2026-11-24T12:05:00Z", "reason": "x"}},
            "stops      its watchdog, at the latest 2026-11-24T12:05:00Z (x)\n           Google, at",
        ),
        ({"vm": {**RUNNING, "resourceStatus": {}}, "watchdog": {"armed": False}}, "NOBODY"),
        ({"vm": STOPPED, "history": [event("the guest")]}, "by itself (its watchdog, or somebody on it)"),
        ({"vm": STOPPED, "history": [event("Google")]}, "by Google (run limit or schedule)"),
        ({"vm": STOPPED, "history": [event("Google"), event("me@x"), event("z@x", failed=True)]}, "by me@x"),
        # of somebody's own rows nobody knows the best possible
        ({"vm": None, "release": RELEASE | {"metrics": {"accuracy": 0.8779, "ceiling": None}}}, "accuracy 87.79%\nfunction"),
        (
            {"vm": None, "repository": "fanops-m4 1.1.0", "release": RELEASE | {"made_by": "fanops-m4 1.0.0"}},
            "(2:00:00 ago) by fanops-m4 1.0.0, accuracy 87.79% (best possible 89.83%)\nfunction   not asked\nrepository fanops-m4 1.1.0",
        ),
        ({"vm": None, "release": RELEASE}, "3, made 2026-11-24T10:00:00Z (2:00:00 ago), accuracy 87.79% (best possible"),
        (
            {
                "vm": None,
                "function": {
                    "name": "f", "status": 200, "latency_ms": 9, "authenticated": False, "url": "https://f",
                    "response": {"release": {"version": 3}},
                },
            },
            "f: answers in 9 ms with release 3, public, https://f",
        ),
        ({"vm": None, "function": {"name": "f", "msg": "there is no such function"}}, "f: there is no such function"),
    ],
)  # fmt: skip
def test_the_screen_says_what_is(facts: dict[str, Any], shown: str) -> None:
    assert shown in screen(**facts)


def test_whoever_stops_it_first_comes_first() -> None:
    watchdog = {"armed": True, "power_off": False, "at": "2026-11-24T14:00:00Z", "reason": "run r is active"}
    document = plugin.status_document({"name": "vm", "vm": RUNNING, "watchdog": watchdog}, NOW)
    assert (document["stops"]["by"], document["stops"]["at"]) == ("Google", "2026-11-24T13:50:00Z")


def test_the_schedule_what_did_not_come_and_the_last_runs() -> None:
    run = {
        "run": "r",
        "ended": "2026-11-23T06:10:00Z",
        "result": "promoted",
        "trigger": "schedule",
        "why": "changed: data",
        "message": "",
    }
    schedule = {"cron": "0 6 * * 1", "timezone": "UTC", "next": "2026-11-29T22:00:00.000-08:00", "last": None}
    older = [
        {**run, "ended": f"2026-11-0{day}T06:10:00Z", "result": "failed", "message": "no data"} for day in (1, 2, 3)
    ]
    shown = screen(vm=None, runs={"schedule": schedule, "missed": ["2026-11-16T06:00:00Z"], "outcomes": [*older, run]})
    assert (
        "schedule   0 6 * * 1 (UTC), next 2026-11-30T06:00:00Z\nmissed     DID NOT COME: 2026-11-16T06:00:00Z" in shown
    )
    assert (
        "runs       2026-11-23T06:10:00Z promoted (schedule): changed: data\n           2026-11-03T06:10:00Z failed"
        in shown
    )
    assert "2026-11-01" not in shown
