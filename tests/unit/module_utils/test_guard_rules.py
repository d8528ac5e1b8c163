# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule of the guard: what it refuses, what it lets pass, and what it says that it would cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.fanops.costs.findings import refusal, together, total
from ansible.module_utils.fanops.costs.guard import RULES, facts, judge
from ansible.module_utils.fanops.costs.prices import Prices
from ansible.module_utils.fanops.costs.project_inventory import Address, Bucket, Disk, Holdings, Vm, Wanted
from ansible.module_utils.fanops.costs.schedule import schedule_cost

REPOSITORY = Path(__file__).parents[3]
PRICES = Prices(yaml.safe_load((REPOSITORY / "pricing/google_cloud.yml").read_text()))
ZONE = "us-central1-a"
WANTED = Wanted(
    vm_name="ml-training-vm",
    zone=ZONE,
    machine_type="e2-micro",
    disk_type="pd-standard",
    disk_size_gb=30,
    workers=0,
    bucket="models",
    bucket_location="us-central1",
    bucket_storage_class="STANDARD",
    soft_delete_seconds=0,
    function_min_instances=0,
    function_memory_mib=512,
)
VM = Vm("ml-training-vm", ZONE, "e2-micro", "RUNNING", addresses=("198.51.100.1",))
DISK = Disk("ml-training-vm", ZONE, "pd-standard", 30, ("ml-training-vm",))
OURS = Holdings((VM,), (DISK,), (), Bucket("models", "us-central1", "STANDARD"))
FOREIGN_VM = Vm("other", "us-east1-b", "e2-medium", "RUNNING")
STOPPED = replace(FOREIGN_VM, status="TERMINATED")
STAGING = replace(VM, name="ml-training-staging-vm", addresses=(), site="fanops-m4-staging")


def having(**changes: Any) -> Holdings:
    return replace(OURS, **changes)


#: rule, what is wanted differently, what there is, dollars a month (hand-computed), words of the finding.
REFUSED: list[tuple[str, dict[str, Any], Holdings, str, str]] = [
    ("machine-type", {"machine_type": "e2-small"}, Holdings(), "12.23", "vm_machine_type to e2-micro"),
    ("machine-type", {}, having(vms=(replace(VM, machine_type="e2-standard-4"),)), "97.84", "stop_vm.yml"),
    # e2-micro 6.11 + 30 GB at 0.04
    ("vm-region", {"zone": "europe-west1-b"}, Holdings(), "7.31", "us-central1, us-east1, us-west1"),
    ("spot-vm", {}, having(vms=(replace(VM, spot=True),)), "6.11", "delete_vm.yml"),
    ("second-vm", {}, having(vms=(VM, FOREIGN_VM)), "24.46", "instances stop other --zone=us-east1-b"),
    ("second-vm", {}, having(vms=(VM, STAGING)), "6.11", "wait until its run has ended, or stop it"),
    # two times e2-micro 6.11 + disk 1.20 + address 3.65
    ("worker-vms", {"workers": 2}, OURS, "21.93", "training_workers to 0"),
    ("disk-type", {"disk_type": "pd-balanced"}, Holdings(), "3.00", "vm_disk_type to pd-standard"),
    ("disk-type", {}, having(disks=(DISK, Disk("data", ZONE, "pd-ssd", 10))), "1.70", "disks delete data"),
    ("disk-region", {}, having(disks=(DISK, Disk("data", "europe-west1-b", "pd-standard", 10))), "0.40", "delete data"),
    # 20 GB over
    ("disk-size", {"disk_size_gb": 50}, Holdings(), "0.80", "vm_disk_size_gb to 30"),
    # 30 + 30 GB: 30 over, by a disk that goes with its VM only
    (
        "disk-total",
        {},
        having(disks=(DISK, Disk("data", ZONE, "pd-standard", 30, users=("other-vm",)))),
        "1.20",
        "instances delete other-vm",
    ),
    # 30 + 10 GB: the disk of another environment's VM, on or off
    (
        "disk-total",
        {},
        having(
            vms=(replace(STAGING, status="TERMINATED"),),
            disks=(DISK, Disk(STAGING.name, ZONE, "pd-standard", 10, (STAGING.name,))),
        ),
        "0.40",
        "vm_disk_size_gb may come to 30 in all",
    ),
    # 30 + 15 + 5 GB: 20 over
    (
        "disk-total",
        {},
        having(disks=(DISK, Disk("old", ZONE, "pd-standard", 15), Disk("b", "us-west1-b", "pd-standard", 5, ("other",)))),
        "0.80",
        "attached to nothing",
    ),
    # the same name in a zone that is not ours: a second disk, not ours
    ("disk-total", {"zone": "us-central1-f"}, having(vms=(replace(STOPPED, name=VM.name),)), "1.20", "60 GB"),
    ("static-address", {}, having(addresses=(Address("kept", "us-central1", "198.51.100.7"),)), "7.30", "used by nothing"),
    ("static-address", {}, having(addresses=(Address("kept", "us-central1", "198.51.100.1", "x"),)), "3.65", "used by x"),
    ("second-address", {}, having(vms=(VM, replace(STOPPED, addresses=("198.51.100.9",)))), "3.65", "198.51.100.9"),
    ("bucket-location", {"bucket_location": "EU"}, Holdings(), "0.02", "set model_bucket_location"),
    ("bucket-location", {}, having(bucket=Bucket("models", "us", "STANDARD")), "0.02", "another model_bucket"),
    ("bucket-class", {"bucket_storage_class": "NEARLINE"}, Holdings(), "0.01", "to STANDARD"),
    ("soft-delete", {"soft_delete_seconds": 604800}, Holdings(), "0.02", "604800"),
    ("object-versioning", {}, having(bucket=Bucket("models", "us-central1", "STANDARD", True)), "0.02", "--no-versioning"),
    # 2,628,000 s × (0.333 vCPU + 0.5 GiB) × 0.0000025
    ("function-min-instances", {"function_min_instances": 1}, Holdings(), "9.86", "function_min_instances to 0"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "changes", "found", "month", "words"), REFUSED)
def test_a_rule_refuses_with_what_was_found_the_price_and_the_way_out(
    rule: str, changes: dict[str, Any], found: Holdings, month: str, words: str
) -> None:
    findings = judge(replace(WANTED, **changes), found, PRICES)
    assert [finding.rule for finding in findings] == [rule]
    line = refusal(findings, PRICES)
    assert f"[{rule}]" in line and f"${month} a month" in line and words in line
    assert "-e allow_billable=true" in line and "\n" not in line
    assert "External IPv4" in line.replace("An external", "External") and "contested" in line
    assert findings[0].facts()["month"] == float(month)


def test_every_rule_is_proven_above() -> None:
    assert {case[0] for case in REFUSED} == set(RULES) and len(RULES) >= 12


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, Holdings()),
        ({}, OURS),
        ({"zone": "us-west1-b", "bucket_location": "US-WEST1"}, Holdings()),
        ({}, having(vms=(VM, STOPPED))),  # a VM that does not run costs nothing
        ({"disk_size_gb": 10}, having(disks=(replace(DISK, size_gb=10), Disk("old", ZONE, "pd-standard", 20)))),
        # two environments of which one trains, with disks that fit
        (
            {"disk_size_gb": 20},
            having(
                vms=(VM, replace(STAGING, status="TERMINATED")),
                disks=(replace(DISK, size_gb=20), Disk(STAGING.name, ZONE, "pd-standard", 10, (STAGING.name,))),
            ),
        ),
        # what the VM is while it does not run is set right by its next start
        ({}, having(vms=(replace(VM, machine_type="e2-small", status="TERMINATED"),))),
        # making it free again needs no permission
        ({"resizes": True}, having(vms=(replace(VM, machine_type="e2-small"),))),
        # out of stock at home: the VM is in a fallback zone, and is still the one
        (
            {"fallback_zones": ("us-east1-b",)},
            having(vms=(replace(VM, zone="us-east1-b"),), disks=(replace(DISK, zone="us-east1-b"),)),
        ),
    ],
    ids=[
        "empty",
        "deployed",
        "other free region",
        "stopped VM",
        "30 GB in two",
        "staging",
        "stopped",
        "resize back",
        "fallback",
    ],
)
def test_what_is_free_passes(changes: dict[str, Any], found: Holdings) -> None:
    assert judge(replace(WANTED, **changes), found, PRICES) == []


def test_all_violations_are_told_at_once_and_a_resource_is_paid_once() -> None:
    wanted = replace(WANTED, zone="europe-west1-b", machine_type="e2-small", bucket_location="europe-west1")
    findings = judge(wanted, Holdings(), PRICES)
    assert [finding.rule for finding in findings] == ["machine-type", "vm-region", "bucket-location"]
    # e2-small 12.23 once, disk 1.20, a GB in the bucket 0.02
    assert total(findings) == (Decimal("13.45"), False)


def test_a_machine_type_without_a_price_is_refused_all_the_same() -> None:
    findings = judge(replace(WANTED, machine_type="c3-standard-4"), Holdings(), PRICES)
    assert "not in the price file" in findings[0].line and findings[0].facts()["month"] is None
    assert "at least $0.00" in together(findings, PRICES)


def test_workers_that_exist_are_not_counted_twice() -> None:
    worker = Vm("ml-training-worker-1", ZONE, "e2-micro", "RUNNING", addresses=("198.51.100.3",))
    disk = Disk("ml-training-worker-1", ZONE, "pd-standard", 30, ("ml-training-worker-1",))
    findings = judge(replace(WANTED, workers=1), having(vms=(VM, worker), disks=(DISK, disk)), PRICES)
    assert [finding.rule for finding in findings] == ["worker-vms"]


def test_the_ceiling_of_the_function_is_told_in_every_plan() -> None:
    # 3 × 730 h × 3600 s × 1 vCPU less 180,000 at 0.000024, and half a GiB of it less 360,000 GiB-seconds at 0.0000025
    told = "cost    function at most $193.85 a month, if all 3 instances answered around the clock, and $0.40 a million requests"
    assert any(note.startswith(told) for note in facts([], WANTED, Holdings(), PRICES)["plan_notes"])
    small = replace(WANTED, function_cpu=0.05, function_max_instances=1, function_memory_mib=128)
    assert PRICES.busy_function_month(1, small.function_cpu, small.function_memory_mib) == 0


@pytest.mark.parametrize(
    ("changes", "dollars"),
    [
        # 52 Mondays of 2 hours in 12 months: 8.67 h at 0.008376 and at 0.016751 an hour
        ({}, (0.07, 0.0)),
        ({"zone": "europe-west1-b"}, (0.07, 0.07)),
        ({"machine_type": "e2-small"}, (0.15, 0.15)),
        ({"machine_type": "n9-huge"}, (None, None)),
        # No month has more hours than there are: 365 days of 24 runs of 2 hours
        ({"schedule": "0 * * * *"}, (6.11, 0.0)),
    ],
)
def test_a_schedule_says_what_it_can_come_to(changes: dict[str, Any], dollars: tuple[float | None, float]) -> None:
    weekly: dict[str, Any] = {"schedule": "30 3 * * 1", "timezone": "Europe/Paris", "max_run_seconds": 7200}
    wanted = replace(WANTED, **weekly | changes)
    cost = schedule_cost(wanted, PRICES)
    assert cost and (cost["list"], cost["with_free"]) == dollars
    assert f"cost    schedule {cost['text']}" in facts([], wanted, Holdings(), PRICES)["plan_notes"]
    assert schedule_cost(WANTED, PRICES) is None
