# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from compute_world import PROJECT, ZONE, World
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


def test_nothing_happens_without_the_permission_of_the_service_agent(
    world: World, travel: Callable[[float], None]
) -> None:
    resource = f"projects/{PROJECT}"
    policy = world.cloud.identity.get_policy(resource)
    policy["bindings"] = [bound for bound in policy["bindings"] if bound["role"] != "roles/compute.serviceAgent"]
    world.cloud.identity.set_policy(resource, policy)
    scheduled(world, vmStopSchedule={"schedule": "*/5 * * * *"})
    travel(600)
    world.until(lambda: "lastRunStartTime" in _status(world))
    assert world.vm()["status"] == "RUNNING"


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
