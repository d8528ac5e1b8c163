# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices, monthly costs, the ledger and the tables: totals worked out by hand, to the cent."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.fanops.costs import ceiling, report
from ansible.module_utils.fanops.costs.ledger import runs
from ansible.module_utils.fanops.costs.monthly import Bill, month_hours, monthly
from ansible.module_utils.fanops.costs.prices import Prices
from ansible.module_utils.fanops.costs.project_inventory import Address, Bucket, Disk, Holdings, Vm
from ansible.module_utils.fanops.resources.memory import memory_bytes
from ansible.module_utils.fanops.resources.power_history import power_history

from tests.unit.module_utils.test_guard_rules import DISK, OURS, PRICES, REPOSITORY, VM, WANTED, ZONE

ALWAYS = Decimal(730)
DOCUMENT = yaml.safe_load((REPOSITORY / "pricing/google_cloud.yml").read_text())
NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def sums(bill: Bill) -> tuple[str, str]:
    return str(bill.listed), str(bill.billed)


def test_machine_prices_are_their_parts_multiplied_out() -> None:
    parts = DOCUMENT["machine_parts"]["e2"]
    for name, machine in DOCUMENT["machine_types"].items():
        built = machine["billed_vcpus"] * parts["vcpu_hour"] + machine["memory_gib"] * parts["memory_gib_hour"]
        assert machine["hour"] == pytest.approx(built, abs=1e-8), name
    months = {name: f"{PRICES.vm_month(name):.2f}" for name in DOCUMENT["machine_types"]}
    expected = {"e2-micro": "6.11", "e2-small": "12.23", "e2-medium": "24.46", "e2-standard-2": "48.92"}
    expected |= {"e2-standard-4": "97.84", "e2-standard-8": "195.67", "e2-standard-16": "391.35"}
    assert months == expected


def test_every_figure_has_a_dated_source_that_exists() -> None:
    def named(node: Any) -> set[str]:
        if not isinstance(node, dict):
            return set()
        return {node["source"]} if "source" in node else set().union(*(named(value) for value in node.values()))

    priced = {
        key: value for key, value in DOCUMENT.items() if key not in ("as_of", "currency", "hours_per_month", "sources")
    }
    for key, value in priced.items():
        assert named(value), f"{key} has no source"
    assert named(priced) == set(DOCUMENT["sources"])
    for source in DOCUMENT["sources"].values():
        assert source["url"].startswith("https://") and re.fullmatch(r"20\d\d-\d\d-\d\d", source["read"])
        assert source["read"] <= DOCUMENT["as_of"]


def test_a_damaged_price_file_names_what_is_wrong() -> None:
    broken = copy.deepcopy(DOCUMENT)
    del broken["external_ipv4"]["in_use_hour"]
    with pytest.raises(ValueError, match=r"external_ipv4\.in_use_hour"):
        Prices(broken)
    broken["external_ipv4"]["in_use_hour"] = "cheap"
    with pytest.raises(ValueError, match="no number"):
        Prices(broken)
    with pytest.raises(ValueError, match="as_of"):
        Prices(None)


def test_the_default_configuration_always_on() -> None:
    # VM 6.11 + disk 1.20 + address 3.65 = 10.96; free: VM and disk, and never the address.
    assert sums(monthly(WANTED, Holdings(), PRICES, ALWAYS)) == ("10.96", "3.65")


def test_one_hour_a_week_and_stopped() -> None:
    # 730/168 = 4.345 h: VM 0.04 + disk 1.20 + address 0.02
    assert month_hours(Decimal(1), PRICES).quantize(Decimal("0.001")) == Decimal("4.345")
    assert sums(monthly(WANTED, OURS, PRICES, month_hours(Decimal(1), PRICES))) == ("1.26", "0.02")
    assert sums(monthly(WANTED, OURS, PRICES, Decimal(0), everything_off=True)) == ("1.20", "0.00")


def test_a_billable_configuration_with_foreign_things_running_and_stopped() -> None:
    other = Vm("other", "us-east1-b", "e2-micro", "RUNNING", addresses=("198.51.100.9",))
    found = Holdings(
        vms=(VM, other),
        disks=(DISK, Disk("other", "us-east1-b", "pd-standard", 10, ("other",)), Disk("old", ZONE, "pd-balanced", 10)),
        addresses=(Address("kept", "us-central1", "198.51.100.7"),),
        bucket=Bucket("models", "us-central1", "STANDARD", gb=7.5),
    )
    wanted = replace(WANTED, machine_type="e2-small", function_min_instances=1)
    # VMs 12.23 + 6.11, disks 1.20 + 0.40 + 1.00, addresses 3.65 + 3.65 + 7.30, bucket 0.15, function 9.86.
    # Free: the other VM's 730 h, 30 GB, 5 GB of the bucket.
    always = monthly(wanted, found, PRICES, ALWAYS)
    assert sums(always) == ("45.55", "38.14")
    # Stopped: disks 2.60 (1.40 with Always Free), the reserved address 7.30, bucket 0.15 (0.05), function 9.86.
    assert sums(monthly(wanted, found, PRICES, Decimal(0), everything_off=True)) == ("19.91", "18.61")


def test_two_free_vms_share_the_free_hours() -> None:
    found = Holdings(vms=(VM, Vm("other", ZONE, "e2-micro", "RUNNING")))
    # Ours 30 h: 0.25; the other 730 h: 6.11, of which 700 free; disk 1.20; address 0.15. 30 h remain: 0.25.
    assert sums(monthly(WANTED, found, PRICES, Decimal(30))) == ("7.71", "0.40")


def test_a_static_address_costs_twice_while_its_vm_is_off() -> None:
    found = replace(OURS, addresses=(Address("kept", "us-central1", VM.addresses[0], VM.name),))
    lines = {line.item: line.billed for line in monthly(WANTED, found, PRICES, Decimal(230)).lines}
    assert lines["External IPv4 of ml-training-vm (contested)"] == Decimal("1.15")  # 230 h at 0.005
    assert lines["Static address kept, while unused"] == Decimal("5.00")  # 500 h at 0.01


def test_an_unlisted_type_is_no_zero() -> None:
    bill = monthly(replace(WANTED, machine_type="c3-standard-4"), Holdings(), PRICES, ALWAYS)
    assert not bill.complete and bill.lines[0].listed is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mi", 512 * 2**20),
        ("512M", 512 * 10**6),
        ("1G", 10**9),
        ("524288k", 524_288_000),
        ("1024", 1024),
        ("2Gi", 2**31),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert memory_bytes(text) == size


def test_memory_that_is_none() -> None:
    with pytest.raises(ValueError, match="half"):
        memory_bytes("half")


# -- the ledger --------------------------------------------------------------------------------------------------------

INSTANCE = {"id": "7", "machineType": "zones/z/machineTypes/e2-micro", "status": "TERMINATED"}


def operation(kind: str, end: str, **more: Any) -> dict[str, Any]:
    return {
        "operationType": kind,
        "endTime": end,
        "targetId": "7",
        "user": "deployer@p.iam.gserviceaccount.com",
        **more,
    }


OPERATIONS = [
    operation("stop", "2026-11-20T09:30:00.000-08:00"),
    operation("insert", "2026-11-20T08:00:00.000-08:00"),
    operation("setLabels", "2026-11-20T08:10:00.000-08:00"),
    operation("start", "2026-11-21T10:00:00Z"),
    operation("compute.instances.guestTerminate", "2026-11-21T10:00:20Z", user="system"),
    operation("start", "2026-11-22T10:00:00Z", error={"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED"}]}),
    operation("start", "2026-11-24T10:00:00Z"),
]


def test_runs_begin_and_end_as_google_says() -> None:
    found = runs(OPERATIONS, INSTANCE | {"status": "RUNNING"}, "e2-micro")
    assert [(run.hours(NOW), run.ended_by) for run in found] == [
        (Decimal("1.5"), "deployer (stop)"),
        (Decimal(60) / 3600, "Google (guestTerminate)"),  # 20 s are billed as a minute
        (Decimal(2), ""),
    ]
    # 1.5 h at 0.008376428 and at 0.005
    assert found[0].facts(NOW, PRICES) | {"began": ""} == {
        "began": "", "ended": "2026-11-20T17:30:00Z", "ended_by": "deployer (stop)", "hours": 1.5,
        "machine_type": "e2-micro", "machine_type_certain": True, "vm": 0.01, "external_ipv4": 0.01,
    }  # fmt: skip


def test_a_type_that_was_changed_since_is_a_guess() -> None:
    resized = [*OPERATIONS[:5], operation("setMachineType", "2026-11-22T09:00:00Z"), OPERATIONS[-1]]
    current = INSTANCE | {"machineType": "zones/z/machineTypes/e2-small", "status": "RUNNING"}
    found = runs(resized, current, "e2-micro")
    assert [(run.machine_type, run.certain) for run in found] == [("e2-small", False)] * 2 + [("e2-small", True)]


def test_a_run_whose_operations_are_forgotten_comes_from_the_instance() -> None:
    times = {"lastStartTimestamp": "2026-11-01T10:00:00Z", "lastStopTimestamp": "2026-11-01T12:30:00Z"}
    (run,) = runs([], INSTANCE | times, "e2-micro")
    assert run.hours(NOW) == Decimal("2.5") and run.ended_by == "not remembered"
    (run,) = runs([], INSTANCE | times | {"status": "RUNNING"}, "e2-micro")
    assert run.ended is None
    assert runs([], None, "e2-micro") == []


def test_a_run_that_is_remembered_is_not_counted_twice() -> None:
    times = {"lastStartTimestamp": "2026-11-21T09:59:58Z", "lastStopTimestamp": "2026-11-21T10:00:19Z"}
    assert len(runs(OPERATIONS[:5], INSTANCE | times, "e2-micro")) == 2


@pytest.mark.parametrize(
    ("kind", "hours"),
    [
        ("compute.instances.somethingNobodyDocumented", Decimal(1)),
        ("compute.instances.terminateOnHostMaintenance", Decimal(1)),
        ("compute.instances.migrateOnHostMaintenance", Decimal(3)),
        ("deleteAccessConfig", Decimal(3)),
    ],
)
def test_what_google_does_to_a_vm_ends_its_run_unless_it_is_known_not_to(kind: str, hours: Decimal) -> None:
    user = "system" if kind.startswith("compute.") else "deployer@p.iam.gserviceaccount.com"
    history = [
        operation("start", "2026-10-31T10:00:00.000-07:00"),
        operation(kind, "2026-10-31T11:00:00.000-07:00", user=user),
        operation("stop", "2026-10-31T13:00:00.000-07:00"),
    ]
    assert [run.hours(NOW) for run in runs(history, INSTANCE, "e2-micro")] == [hours]


def test_the_history_is_in_order_over_the_change_of_the_season() -> None:
    pages = [operation("stop", "2026-11-01T01:15:00.000-08:00"), operation("start", "2026-11-01T01:45:00.000-07:00")]
    client: Any = SimpleNamespace(project="p", pages=lambda *_, **__: [{"items": {"zones/z": {"operations": pages}}}])
    assert [event["event"] for event in power_history(client, "vm")] == ["started", "stopped"]


def test_a_deleted_vm_keeps_its_history() -> None:
    history = [
        *OPERATIONS[:3],
        operation("delete", "2026-11-20T20:00:00Z"),
        operation("insert", "2026-11-20T21:00:00Z", targetId="8"),
    ]
    found = runs(history, INSTANCE | {"id": "8", "status": "RUNNING"}, "e2-micro")
    assert [run.certain for run in found] == [False, True]


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_adds_up_and_fits_a_terminal() -> None:
    history = runs(OPERATIONS, INSTANCE | {"status": "RUNNING"}, "e2-micro")
    data = report.report(WANTED, OURS, PRICES, Decimal(1), history, NOW)
    data["ceiling"] = ceiling.facts(ceiling.uses_of(history, WANTED, OURS, NOW), Decimal(5), NOW, PRICES)
    assert data["months"]["estimate"]["list"] == 1.26 and data["months"]["stopped"]["with_free"] == 0.0
    assert data["runs_total"]["hours"] == pytest.approx(1.5 + 60 / 3600 + 2, abs=1e-3)
    lines = report.lines(data)
    text = "\n".join(lines)
    assert all(len(line) <= 100 or "://" in line for line in lines)
    assert next(line for line in lines if line.startswith("Total")).split()[1:4] == ["10.96", "/", "3.65"]
    assert "contested" in text and "as of 2026-11-23" in text and "2026-11-24 10:00:00  still running" in text
