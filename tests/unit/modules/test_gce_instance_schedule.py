# SPDX-License-Identifier: GPL-3.0-or-later
"""gce_instance_schedule: made, corrected, attached, and gone again; what Google refuses is said."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.services.compute import resource_policies
from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule, act

ZONE = "us-central1-a"
BASE = f"compute.googleapis.com/compute/v1/projects/{PROJECT}"
SCHEDULE: dict[str, Any] = {
    "name": "weekly",
    "instance": "vm",
    "zone": ZONE,
    "fallback_zones": ["us-east1-b"],
    "schedule": "30 3 * * 1",
    "timezone": "Africa/Casablanca",
    "description": "Trains every week",
    "patience_seconds": 0,
}


def grant(google: Session, role: str = "roles/compute.instanceAdmin.v1") -> None:
    identity, resource = google.cloud.identity, f"projects/{PROJECT}"
    policy = identity.get_policy(resource)
    member = f"serviceAccount:{resource_policies.service_agent(google.cloud, PROJECT)}"
    policy["bindings"].append({"role": role, "members": [member]})
    identity.set_policy(resource, policy)


@pytest.fixture
def vm(run: RunModule, google: Session) -> None:
    run("gce_instance", name="vm", zone=ZONE, machine_type="e2-micro", image_families=["debian-12"], state="running")
    google.forget()


@pytest.mark.usefixtures("vm")
def test_from_nothing_to_absent(run: RunModule, google: Session) -> None:
    grant(google)
    plan = run("gce_instance_schedule", check=True, **SCHEDULE)
    assert plan["actions"] == ["create instance schedule weekly", "attach instance schedule weekly to vm"]
    assert plan["diff"]["after"]["schedule"] == "30 3 * * 1" and google.mutations == []
    made = run("gce_instance_schedule", **SCHEDULE)
    assert made["actions"] == plan["actions"] and made["schedule"]["attached"]
    assert made["schedule"]["resourceStatus"]["instanceSchedulePolicy"]["nextRunStartTime"]
    google.forget()
    again = run("gce_instance_schedule", **SCHEDULE)
    assert not again["changed"] and google.mutations == []
    later = run("gce_instance_schedule", **SCHEDULE | {"schedule": "30 4 * * 1"})
    assert later["actions"] == ["update instance schedule weekly"]
    assert later["schedule"]["instanceSchedulePolicy"]["vmStartSchedule"]["schedule"] == "30 4 * * 1"
    gone = run("gce_instance_schedule", **SCHEDULE | {"state": "absent"})
    assert gone["actions"] == ["detach instance schedule weekly from vm", "delete instance schedule weekly"]
    assert gone["schedule"] is None
    assert not run("gce_instance_schedule", **SCHEDULE | {"state": "absent"})["changed"]
    assert "resourcePolicies" not in act(google, "GET", f"{BASE}/zones/{ZONE}/instances/vm")


def test_without_a_vm_it_waits_for_one_and_follows_it_into_another_region(run: RunModule, google: Session) -> None:
    grant(google)
    first = run("gce_instance_schedule", **SCHEDULE)
    assert "vm does not exist" in first["warnings"][0] and not first["schedule"]["attached"]
    options = {"machine_type": "e2-micro", "image_families": ["debian-12"], "state": "running"}
    run("gce_instance", name="vm", zone="us-east1-b", **options)
    moved = run("gce_instance_schedule", **SCHEDULE)
    assert moved["schedule"]["region"].endswith("/us-east1") and moved["schedule"]["attached"]
    assert moved["actions"][0] == "delete instance schedule weekly"


@pytest.mark.usefixtures("vm")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "compute-system.iam.gserviceaccount.com needs to have [compute.instances.start]"),
        ({"schedule": "weekly"}, "weekly"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
def test_what_google_refuses_is_said(run: RunModule, change: dict[str, str], message: str) -> None:
    failed = run("gce_instance_schedule", **SCHEDULE | change)
    assert failed["failed"] and message in failed["msg"]
