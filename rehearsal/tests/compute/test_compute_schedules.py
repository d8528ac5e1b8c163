# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest

from compute_world import BASE, PROJECT, ZONE, World, vm_body
from rehearsal.cli.calendar import run
from rehearsal.services.compute import clock, operations, timers

PATH = "regions/us-central1/resourcePolicies"
DAY = 24 * 3600.0


@pytest.fixture
def travel(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    offset = [0.0]
    monkeypatch.setattr(clock, "now", lambda: time.time() + offset[0])

    def move(seconds: float) -> None:
        offset[0] += seconds
        operations.notify(world.cloud)

    return move


def scheduled(world: World, **schedule: Any) -> Any:
    world.let_schedules_act()
    policy = {"timeZone": "UTC"} | schedule
    world.do("POST", PATH, {"name": "nights", "instanceSchedulePolicy": policy})
    return world.create(resourcePolicies=[f"{PATH}/nights"])


def test_policies_are_listed_by_region_and_in_all(world: World) -> None:
    scheduled(world, vmStopSchedule={"schedule": "0 20 * * *"})
    scopes = world.call("GET", "aggregated/resourcePolicies")["items"]
    assert [policy["name"] for policy in scopes["regions/us-central1"]["resourcePolicies"]] == ["nights"]
    assert scopes["regions/us-east1"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    assert [policy["name"] for policy in world.call("GET", PATH)["items"]] == ["nights"]


def test_a_vm_is_stopped_and_started(world: World, travel: Callable[[float], None]) -> None:
    scheduled(world, vmStopSchedule={"schedule": "0 20 * * *"}, vmStartSchedule={"schedule": "0 8 * * *"})
    now = clock.now()
    # Shortly after 20:00 UTC, then shortly after 08:00 UTC.
    travel((20 * 3600 - now) % DAY + 1)
    world.until(lambda: world.vm()["status"] == "TERMINATED")
    policy = world.call("GET", f"{PATH}/nights")["resourceStatus"]["instanceSchedulePolicy"]
    assert clock.parse(policy["lastRunStartTime"]) <= clock.now() < clock.parse(policy["nextRunStartTime"])
    travel(12 * 3600)
    world.until(lambda: world.vm()["status"] == "RUNNING")
    users = {item["user"] for item in world.call("GET", f"zones/{ZONE}/operations")["items"]}
    assert f"service-{world.cloud.identity.project_number(PROJECT)}@compute-system.iam.gserviceaccount.com" in users


def test_a_schedule_needs_the_permissions_of_the_service_agent(world: World, travel: Callable[[float], None]) -> None:
    scheduled(world, vmStopSchedule={"schedule": "*/5 * * * *"})
    world.let_schedules_act(allowed=False)
    travel(600)
    world.until(lambda: "lastRunStartTime" in _status(world))
    assert world.vm()["status"] == "RUNNING"
    # The agent's own role does not carry them: without a grant, no schedule can be attached, with its VM or later.
    path, policies = f"zones/{ZONE}/instances", {"resourcePolicies": [f"{PATH}/nights"]}
    world.do("POST", f"{path}/vm/removeResourcePolicies", policies)
    refused = world.call("POST", f"{path}/vm/addResourcePolicies", policies, status=412)
    assert "compute-system.iam.gserviceaccount.com needs to have [compute.instances.stop]" in refused["message"]
    world.call("POST", path, vm_body("other", resourcePolicies=policies["resourcePolicies"]), status=412)


@pytest.mark.parametrize("with_clock", [False, True])
def test_the_calendar_of_schedules_can_be_moved_ahead(
    world: World, capsys: pytest.CaptureFixture[str], with_clock: bool
) -> None:
    scheduled(world, vmStartSchedule={"schedule": "30 2 * * 1"}, timeZone="Europe/Paris")
    world.do("POST", f"zones/{ZONE}/instances/vm/stop")
    for _week in range(30):  # a change to summer time, or from it, is among them
        before = _status(world)["nextRunStartTime"]
        assert run(world.cloud.settings, argparse.Namespace(next=True, ahead=None, clock=with_clock)) == 0
        world.until(lambda: world.vm()["status"] == "RUNNING")
        assert clock.parse(before) <= clock.parse(_status(world)["lastRunStartTime"]) < clock.parse(before) + 60
        world.do("POST", f"zones/{ZONE}/instances/vm/stop")
    starts = [
        item for item in world.call("GET", f"zones/{ZONE}/operations")["items"] if item["operationType"] == "start"
    ]
    assert len(starts) == 30
    assert capsys.readouterr().out.splitlines()[-1].startswith("20")
    # With Google's clock, operations, VMs and answers tell the same time; without it, that of this machine.
    week = 7 * DAY if with_clock else 0
    times = sorted(clock.parse(item["insertTime"]) for item in starts)
    assert all(week - DAY / 10 < later - earlier < week + DAY / 10 for earlier, later in pairwise(times))
    assert clock.parse(world.vm()["lastStopTimestamp"]) >= times[-1] >= time.time() + 28 * week - 600
    date = world.ask("GET", f"{BASE}/{PROJECT}/zones").headers.get("Date")
    assert (date is not None) == with_clock
    assert date is None or 0 <= parsedate_to_datetime(date).timestamp() + 1 - times[-1] < 60


def test_an_expired_schedule_does_nothing(world: World, travel: Callable[[float], None]) -> None:
    expires = clock.timestamp(clock.now() + 30)
    scheduled(world, vmStopSchedule={"schedule": "0 0 29 2 *"}, expirationTime=expires)
    watcher = timers.Timers(world.cloud)
    travel(1600 * DAY)
    watcher.act()
    assert world.vm()["status"] == "RUNNING"
    assert world.call("GET", f"{PATH}/nights")["status"] == "EXPIRED"


def _status(world: World) -> Any:
    return world.call("GET", f"{PATH}/nights")["resourceStatus"]["instanceSchedulePolicy"]
