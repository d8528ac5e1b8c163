# SPDX-License-Identifier: GPL-3.0-or-later
"""free_tier_guard and gcp_costs_info: what they read of a project and what they make of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rehearsal import trouble
from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule, act

PRICES = str(Path(__file__).parents[3] / "pricing/google_cloud.yml")
COMPUTE = f"compute.googleapis.com/compute/v1/projects/{PROJECT}"
ZONE = "us-central1-a"
CONFIGURATION = {"vm_name": "vm", "zone": "us-central1-a", "bucket": "models"}


def vm_body(name: str, machine_type: str, **disk: Any) -> dict[str, Any]:
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/{machine_type}",
        "disks": [{"boot": True, "autoDelete": disk.pop("autoDelete", True), "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/family/debian-12", **disk,
        }}],
        "networkInterfaces": [{"network": "global/networks/default", "accessConfigs": [{}]}],
    }  # fmt: skip


def populate(google: Session) -> None:
    """The site's running VM, a foreign one, a disk that nobody uses, a reserved address, a bucket with versions."""
    instances, balanced = f"{COMPUTE}/zones/{ZONE}/instances", f"zones/{ZONE}/diskTypes/pd-balanced"
    old = vm_body("old", "e2-micro", autoDelete=False, diskType=balanced, diskSizeGb="20")
    act(google, "POST", instances, old)
    act(google, "DELETE", f"{instances}/old")
    act(google, "POST", instances, vm_body("vm", "e2-micro", diskSizeGb="30"))
    act(google, "POST", instances, vm_body("foreign", "e2-small"))
    act(google, "POST", f"{COMPUTE}/regions/us-central1/addresses", {"name": "kept"})
    bucket = {"name": "models", "location": "US-CENTRAL1", "versioning": {"enabled": True}}
    act(google, "POST", f"storage.googleapis.com/storage/v1/b?project={PROJECT}", bucket)
    google.forget()


def disable(google: Session) -> None:
    google.cloud.identity.services.disable(PROJECT, "compute.googleapis.com")


def guard(run: RunModule, *, check: bool = False, **options: Any) -> dict[str, Any]:
    configuration = CONFIGURATION | options.pop("configuration", {})
    return run("free_tier_guard", check=check, configuration=configuration, prices=PRICES, **options)


def rules(result: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in result["findings"]]


FOUND = ["second-vm", "disk-type", "disk-total", "static-address", "second-address", "object-versioning"]


@pytest.mark.parametrize("check", [True, False])
def test_what_the_project_has_is_refused_in_one_line(run: RunModule, google: Session, check: bool) -> None:
    populate(google)
    result = guard(run, check=check)
    assert result["failed"] and rules(result) == FOUND and "\n" not in result["msg"]
    # VM 12.23, disk 2.00, the foreign VM's own disk 0.40, reserved address 7.30, the foreign VM's address 3.65, a GB of versions 0.02
    assert result["month"] == 25.6 and "$25.60 a month at the list prices of 2026-11-23" in result["msg"]
    assert google.mutations == [] and len(google.calls) == 5


def test_what_is_allowed_passes_with_the_same_findings_as_warnings(run: RunModule, google: Session) -> None:
    populate(google)
    result = guard(run, allow_billable=True)
    assert result["ceiling"]["ceiling"] == 0 and result["ceiling"]["left"] == 0  # the free VM passes no ceiling
    assert rules(result) == FOUND and not result["changed"] and result["month"] == 25.6
    assert len(result["warnings"]) == len(FOUND) and "$25.60" in result["summary"]


def test_a_project_whose_api_is_off_has_nothing_to_pay(run: RunModule, google: Session) -> None:
    disable(google)
    result = guard(run)
    assert result["findings"] == [] and result["machine"]["current"] is None
    assert "contested" in result["summary"] and "2026-11-23" in result["summary"]


def test_a_denial_is_no_empty_project(run: RunModule, google: Session) -> None:
    identity, reader = google.cloud.identity, f"reader@{PROJECT}.iam.gserviceaccount.com"
    identity.accounts.create(PROJECT, reader)
    role = f"projects/{PROJECT}/roles/reader"
    identity.custom_roles.put(role, {"includedPermissions": ["compute.instances.list", "compute.addresses.list"]})
    policy = identity.policies.get(f"projects/{PROJECT}")
    policy["bindings"].append({"role": role, "members": [f"serviceAccount:{reader}"]})
    identity.policies.set(f"projects/{PROJECT}", policy)
    google.become(reader)
    assert "compute.disks.list" in guard(run)["msg"]


def test_the_price_difference_of_a_resize(run: RunModule, google: Session) -> None:
    populate(google)
    wanted = {"machine_type": "e2-small", "resizes": True}
    machine = guard(run, configuration=wanted, allow_billable=True, monthly_ceiling_usd=20)["machine"]
    assert machine["current"] == {"machine_type": "e2-micro", "status": "RUNNING", "zone": "us-central1-a"}
    assert machine["difference_month"] == 6.12
    assert "$0.008376 an hour before, $0.016753 after; $6.11 a month before, $12.23 after (+6.12)" in machine["price"]
    unlisted = guard(run, configuration={"machine_type": "c3-x"}, allow_billable=True, starts_vm=False)
    assert unlisted["machine"]["difference_month"] is None and unlisted["ceiling"] is None


SMALL = {"machine_type": "e2-small"}


def test_the_ceiling_limits_what_is_allowed(run: RunModule, google: Session) -> None:
    run("gcs_bucket", name="models", location="us-central1")
    forbidden = guard(run, configuration=SMALL, monthly_ceiling_usd=100)
    assert forbidden["failed"] and "Always Free" in forbidden["msg"]  # a ceiling allows nothing
    nothing = guard(run, configuration=SMALL, allow_billable=True)
    assert nothing["failed"] and "-e monthly_ceiling_usd=1" in nothing["msg"] and "\n" not in nothing["msg"]
    assert nothing["msg"].startswith("Nothing was started, because vm (e2-small) would pass the month's ceiling")
    assert "$15.88 is a whole month of it" in nothing["msg"]
    assert "does not list c3-x" in guard(run, configuration={"machine_type": "c3-x"}, allow_billable=True)["msg"]
    assert "monthly_ceiling_usd" in guard(run, monthly_ceiling_usd=-1)["msg"]
    allowed = guard(run, configuration=SMALL, allow_billable=True, monthly_ceiling_usd=1)
    assert "failed" not in allowed and allowed["ceiling"]["left"] == 1.0
    assert google.mutations[1:] == []


def test_the_months_sum_is_of_googles_operations_and_of_what_only_outcomes_remember(
    run: RunModule, google: Session
) -> None:
    act(
        google,
        "POST",
        f"storage.googleapis.com/storage/v1/b?project={PROJECT}",
        {"name": "models", "location": "US-CENTRAL1"},
    )
    act(google, "POST", f"{COMPUTE}/zones/{ZONE}/instances", vm_body("vm", "e2-small", diskSizeGb="30"))
    google.cloud.store.put(trouble.KIND, trouble.CLOCK, {"seconds": 7200})  # it runs for two hours, by Google's clock
    before = datetime.now(timezone.utc)
    now = before + timedelta(seconds=7200)
    upload = "storage.googleapis.com/upload/storage/v1/b/models/o?uploadType=media&name=runs/{}/outcome.json"
    told = {"vm": "vm", "zone": ZONE, "machine_type": "e2-small"}
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    old = {
        **told,
        "vm": "old",
        "ended": (first + timedelta(seconds=5400)).isoformat(),
        "vm_seconds": 5400,
        "workers": 1,
    }
    same = {**told, "ended": (before + timedelta(seconds=3600)).isoformat(), "vm_seconds": 3000}
    for name, outcome in (("old", old), ("same", same)):
        act(google, "POST", upload.format(name), outcome)
    found = costs(run, monthly_ceiling_usd=5)
    ceiling, hour = found["report"]["ceiling"], Decimal("0.016752855") + Decimal("0.005")
    # The forgotten run, its worker, and what of this one, which an outcome tells of as well, is of this month.
    seconds = 2 * 5400 + min(7200, round((now - first).total_seconds()))
    by_hand = round(hour * seconds / 3600, 2)
    assert ceiling["spent"] == float(by_hand) and ceiling["left"] == float(5 - by_hand)
    assert f"{5 - by_hand} left" in " ".join(found["lines"])
    refused = guard(run, configuration=SMALL, allow_billable=True, monthly_ceiling_usd=0.05)
    assert refused["failed"] and f"come to ${by_hand} beyond Always Free" in refused["msg"]


def test_a_price_file_that_is_not_there_and_memory_that_is_none(run: RunModule) -> None:
    missing = run("free_tier_guard", configuration=CONFIGURATION, prices="/nonexistent/prices.yml")
    assert "/nonexistent/prices.yml" in missing["msg"]
    assert "function_memory" in guard(run, configuration={"function_memory": "half"})["msg"]


def costs(run: RunModule, **options: Any) -> dict[str, Any]:
    return run("gcp_costs_info", configuration=CONFIGURATION, prices=PRICES, **options)


def test_costs_of_what_there_is(run: RunModule, google: Session) -> None:
    populate(google)
    upload = "https://storage.googleapis.com/upload/storage/v1/b/models/o"
    google.request("POST", upload, params={"uploadType": "media", "name": "model"}, data=b"x" * 2_000_000)
    google.cloud.store.put(trouble.KIND, trouble.CLOCK, {"seconds": 7200})
    report = costs(run, hours_per_week=168)["report"]
    assert report["months"]["estimate"] == report["months"]["always_on"]
    (line,) = [line for line in report["months"]["stopped"]["lines"] if line["item"].startswith("Bucket")]
    assert line["quantity"] == "0.002 GB"
    # By Google's clock (the answer's Date header) the VM has been running for two hours.
    assert [(round(entry["hours"], 1), entry["ended"]) for entry in report["runs"]] == [(2.0, None)]


def test_costs_of_a_project_whose_api_is_off(run: RunModule, google: Session) -> None:
    disable(google)
    result = costs(run)
    assert (
        result["report"]["runs"] == []
        and "e2-standard-4" in str(result["lines"])
        and "all stopped $0.00" in result["summary"]
        and not result["changed"]
    )


def test_a_week_has_168_hours(run: RunModule) -> None:
    assert "168" in costs(run, hours_per_week=200)["msg"]
