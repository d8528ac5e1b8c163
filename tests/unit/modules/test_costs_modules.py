# SPDX-License-Identifier: GPL-3.0-or-later
"""free_tier_guard and gcp_costs_info: what they read of a project and what they make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.modules.fake_google import ApiError, FakeGoogle, RunModule

PRICES = str(Path(__file__).parents[3] / "pricing/google_cloud.yml")
COMPUTE = "compute.googleapis.com/compute/v1/projects/demo"
DISABLED = ApiError(
    403, "Compute Engine API has not been used in project demo before or it is disabled.", "accessNotConfigured"
)
CONFIGURATION = {"vm_name": "vm", "zone": "us-central1-a", "bucket": "models"}


def populate(google: FakeGoogle) -> None:
    """A running VM of ours, a foreign one, a disk that nobody uses, a reserved address, a bucket with versions."""
    zone = f"{COMPUTE}/zones/us-central1-a"
    for name, kind in (("vm", "e2-micro"), ("foreign", "e2-small")):
        google.resources[f"{zone}/instances/{name}"] = {
            "id": "7",
            "name": name,
            "machineType": f"https://x/machineTypes/{kind}",
            "status": "RUNNING",
            "lastStartTimestamp": "2026-11-24T10:00:00Z",
            "scheduling": {"provisioningModel": "STANDARD", "preemptible": False},
            "networkInterfaces": [{"accessConfigs": [{"natIP": f"198.51.100.{len(name)}"}]}],
        }
    google.resources[f"{zone}/disks/vm"] = {
        "name": "vm", "type": "https://x/diskTypes/pd-standard", "sizeGb": "30", "users": ["https://x/instances/vm"],
    }  # fmt: skip
    google.resources[f"{zone}/disks/old"] = {"name": "old", "type": "https://x/diskTypes/pd-balanced", "sizeGb": "20"}
    google.resources[f"{COMPUTE}/regions/us-central1/addresses/kept"] = {
        "name": "kept", "address": "198.51.100.99", "status": "RESERVED",
    }  # fmt: skip
    google.resources["storage.googleapis.com/storage/v1/b/models"] = {
        "name": "models", "location": "US-CENTRAL1", "storageClass": "STANDARD", "versioning": {"enabled": True},
    }  # fmt: skip


def guard(run: RunModule, *, check: bool = False, **options: Any) -> dict[str, Any]:
    configuration = CONFIGURATION | options.pop("configuration", {})
    return run("free_tier_guard", check=check, configuration=configuration, prices=PRICES, **options)


def rules(result: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in result["findings"]]


FOUND = ["second-vm", "disk-type", "static-address", "second-address", "object-versioning"]


@pytest.mark.parametrize("check", [True, False])
def test_what_the_project_has_is_refused_in_one_line(run: RunModule, google: FakeGoogle, check: bool) -> None:
    populate(google)
    result = guard(run, check=check)
    assert result["failed"] and rules(result) == FOUND and "\n" not in result["msg"]
    # VM 12.23, disk 2.00, reserved address 7.30, the foreign VM's address 3.65, a GB of versions 0.02
    assert result["month"] == 25.2 and "$25.20 a month at the list prices of 2026-11-23" in result["msg"]
    assert google.mutations == [] and len(google.calls) == 4


def test_what_is_allowed_passes_with_the_same_findings_as_warnings(run: RunModule, google: FakeGoogle) -> None:
    populate(google)
    result = guard(run, allow_billable=True)
    assert rules(result) == FOUND and not result["changed"] and result["month"] == 25.2
    assert len(result["warnings"]) == len(FOUND) and "$25.20" in result["summary"]


def test_a_project_whose_api_is_off_has_nothing_to_pay(run: RunModule, google: FakeGoogle) -> None:
    google.fail("aggregated/instances", DISABLED)
    result = guard(run)
    assert result["findings"] == [] and result["machine"]["current"] is None
    assert "contested" in result["summary"] and "2026-11-23" in result["summary"]


def test_a_denial_is_no_empty_project(run: RunModule, google: FakeGoogle) -> None:
    google.fail(
        "aggregated/disks", ApiError(403, "Required 'compute.disks.list' permission for 'projects/demo'", "forbidden")
    )
    assert "compute.disks.list" in guard(run)["msg"]


def test_the_price_difference_of_a_resize(run: RunModule, google: FakeGoogle) -> None:
    populate(google)
    wanted = {"machine_type": "e2-small", "resizes": True}
    machine = guard(run, configuration=wanted, allow_billable=True)["machine"]
    assert machine["current"] == {"machine_type": "e2-micro", "status": "RUNNING", "zone": "us-central1-a"}
    assert machine["difference_month"] == 6.12
    assert "$0.008376 an hour before, $0.016753 after; $6.11 a month before, $12.23 after (+6.12)" in machine["price"]
    assert (
        guard(run, configuration={"machine_type": "c3-x"}, allow_billable=True)["machine"]["difference_month"] is None
    )


def test_a_price_file_that_is_not_there_and_memory_that_is_none(run: RunModule) -> None:
    missing = run("free_tier_guard", configuration=CONFIGURATION, prices="/nonexistent/prices.yml")
    assert "/nonexistent/prices.yml" in missing["msg"]
    assert "function_memory" in guard(run, configuration={"function_memory": "half"})["msg"]


def costs(run: RunModule, **options: Any) -> dict[str, Any]:
    return run("gcp_costs_info", configuration=CONFIGURATION, prices=PRICES, **options)


def test_costs_of_what_there_is(run: RunModule, google: FakeGoogle) -> None:
    populate(google)
    google.objects = {"model": b"x" * 2_000_000}
    google.resources[f"{COMPUTE}/zones/us-central1-a/operations/o1"] = {
        "operationType": "insert", "endTime": "2026-11-24T10:00:00Z", "targetId": "7",
        "targetLink": "https://x/zones/us-central1-a/instances/vm", "user": "someone@x",
    }  # fmt: skip
    report = costs(run, hours_per_week=168)["report"]
    assert report["months"]["estimate"] == report["months"]["always_on"]
    (line,) = [line for line in report["months"]["stopped"]["lines"] if line["item"].startswith("Bucket")]
    assert line["quantity"] == "0.002 GB"
    # By Google's clock (the answer's Date header, 12:00) the VM has been running for two hours.
    assert [(entry["hours"], entry["ended"]) for entry in report["runs"]] == [(2.0, None)]


def test_costs_of_a_project_whose_api_is_off(run: RunModule, google: FakeGoogle) -> None:
    google.fail("aggregated/", DISABLED, times=2)
    result = costs(run)
    assert (
        result["report"]["runs"] == []
        and "e2-standard-4" in str(result["lines"])
        and "all stopped $0.00" in result["summary"]
        and not result["changed"]
    )


def test_a_week_has_168_hours(run: RunModule) -> None:
    assert "168" in costs(run, hours_per_week=200)["msg"]
