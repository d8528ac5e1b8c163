# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog's one decision, in every order of events. The real thing runs in the role's molecule scenario."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.vm_watchdog.files import fanops_watchdog as watchdog

ARMED = {"lease_seconds": 900, "grace_seconds": 120}


def run(until: float) -> dict[str, Any]:
    return {"run_id": "r1", "until": until}


@pytest.mark.parametrize(
    ("now", "armed", "renewed", "runs", "idle_since", "power_off"),
    [
        (10_000, None, 0, [], None, False),
        (1_000, ARMED, 200, [], None, False),
        (1_101, ARMED, 200, [], None, True),
        (9_000, ARMED, 200, [run(9_100)], None, False),
        (9_000, ARMED, 200, [run(9_100)], 300, False),
        (9_300, ARMED, 9_299, [run(9_100)], None, True),
        (419, ARMED, 299, [], 300, False),
        (420, ARMED, 419, [], 300, True),
    ],
    ids=[
        "not armed",
        "lease runs",
        "lease lapsed",
        "run active though the lease lapsed",
        "run active after an earlier one ended",
        "run far beyond its limit",
        "ended, within the grace",
        "ended, nobody stopped it, though a controller lives",
    ],
)
def test_it_powers_off_when_the_run_is_over_or_the_controller_gone(
    now: float, armed: Any, renewed: float, runs: list[Any], idle_since: float | None, power_off: bool
) -> None:
    answer = watchdog.decide(now, armed, renewed, runs, idle_since)
    assert answer["power_off"] is power_off
    assert answer["reason"]


@given(now=st.floats(0, 1e6), renewed=st.floats(0, 1e6), left=st.floats(0, 1e5), idle=st.none() | st.floats(0, 1e6))
def test_it_never_acts_while_a_run_is_within_its_limit(
    now: float, renewed: float, left: float, idle: float | None
) -> None:
    assert not watchdog.decide(now, ARMED, renewed, [run(now + left)], idle)["power_off"]


@given(now=st.floats(1_000, 1e6), silent=st.floats(900, 1e5), idle=st.none() | st.floats(0, 1e6))
def test_it_always_acts_when_nothing_runs_and_the_lease_lapsed(now: float, silent: float, idle: float | None) -> None:
    assert watchdog.decide(now, ARMED, now - silent - 1, [], idle)["power_off"]
