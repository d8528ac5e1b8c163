# SPDX-License-Identifier: GPL-3.0-or-later
"""The month's sum by hand from timestamps, and where the ceiling ends a start or a training."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from ml.core import spending
from ml.core.spending import Rates, Use
from ml.forest.machine_types import price_document
from ml.publish import month_ceiling
from ml.publish.month_ceiling import MonthCeiling
from ml.publish.this_machine import Machine

RATES = Rates.of(price_document())
SMALL = RATES.hours["e2-small"] + RATES.address_hour
FREE_ZONE = "us-central1-a"


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def use(machine_type: str, began: str, ended: str, zone: str = FREE_ZONE, vm: str = "ml-training-vm") -> Use:
    return Use(vm, machine_type, zone, at(began), at(ended))


NOW = at("2026-11-27 12:00:00")
RUNS = [
    use("e2-small", "2026-10-31 23:30:00", "2026-11-01 00:30:00"),  # half of it is October's
    use("e2-small", "2026-11-05 03:30:00", "2026-11-05 04:47:13"),
    use("e2-small", "2026-11-12 03:30:00", "2026-11-12 03:30:20"),  # a minute is billed
    use("e2-micro", "2026-11-14 00:00:00", "2026-11-16 00:00:00"),  # free
    use("e2-micro", "2026-11-17 00:00:00", "2026-11-17 02:00:00", zone="europe-west1-b"),  # not there
    use("e2-small", "2026-11-18 10:00:00", "2026-11-18 11:00:00", vm="ml-training-worker-1"),
]


def test_the_sum_is_the_one_by_hand() -> None:
    found = spending.spent(RUNS, NOW, RATES)
    by_hand = SMALL * (1800 + 4633 + 60 + 3600) / 3600 + (RATES.hours["e2-micro"] + RATES.address_hour) * 2
    assert found.dollars == by_hand and f"{found.dollars:.2f}" == f"{by_hand:.2f}"
    assert found.seconds == 1800 + 4633 + 60 + 48 * 3600 + 2 * 3600 + 3600 and found.month == "2026-11"
    assert found.contested == RATES.address_hour * 48
    # In figures, once: 10,093 s of e2-small and its address, two hours of e2-micro where it is not free.
    assert f"{found.dollars:.4f}" == "0.0877"


def test_accounts_of_the_same_hours_count_once() -> None:
    whole = use("e2-small", "2026-11-05 03:30:00", "2026-11-05 05:00:00")
    parts = [
        use("e2-small", "2026-11-05 03:30:02", "2026-11-05 04:00:00"),
        use("e2-small", "2026-11-05 03:30:01", "2026-11-05 04:59:59"),
    ]
    assert spending.spent([whole, *parts], NOW, RATES) == spending.spent([whole], NOW, RATES)
    assert spending.spent(parts, NOW, RATES).seconds == 5398


def test_the_free_hours_are_those_of_one_vm_and_shared() -> None:
    month = [
        use("e2-micro", "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
        use("e2-micro", "2026-11-02 00:00:00", "2026-11-02 10:00:00", vm="ml-training-worker-1"),
    ]
    found = spending.spent(month, at("2026-11-30 23:59:00"), RATES)
    assert found.dollars == (RATES.hours["e2-micro"] + RATES.address_hour) * 10


@pytest.mark.parametrize(
    ("machine_type", "ceiling", "refused"),
    [
        ("e2-micro", "0", None),
        ("e2-small", "0", "ceiling"),
        ("e2-small", "1", None),
        ("n9-huge", "100", "does not list n9-huge"),
    ],
)
def test_what_is_free_is_never_refused_and_what_is_unknown_always(
    machine_type: str, ceiling: str, refused: str | None
) -> None:
    more = [use(machine_type, "2026-11-27 12:00:00", "2026-11-27 12:05:00")]
    found = spending.refusal(RUNS, more, Decimal(ceiling), NOW, RATES)
    assert (found is None) if refused is None else (found is not None and refused in found)


def test_a_ceiling_is_reached_to_the_second() -> None:
    clock = SimpleNamespace(now=NOW)
    before = spending.spent(RUNS, NOW, RATES).dollars
    allowed = before + SMALL  # an hour more
    machine = Machine("ml-training-vm", "e2-small", FREE_ZONE, 0.0)
    ceiling = MonthCeiling(allowed, RUNS, machine, 0, RATES, lambda: clock.now)
    last = 3600 - spending.ENDING_SECONDS
    clock.now = NOW + last - 100
    assert ceiling.refusal(100) is None
    refused = ceiling.refusal(101)
    assert refused is not None and f"{before + SMALL * (last - 100) / 3600:.2f}" in refused
    clock.now = at("2026-12-01 00:30:00")  # in the next month only its own hours count
    assert ceiling.refusal() is None


def test_workers_cost_what_the_vm_costs() -> None:
    machine = Machine("ml-training-vm", "e2-small", FREE_ZONE, 1800.0)
    ceiling = MonthCeiling(SMALL * 3, [], machine, 2, RATES, lambda: NOW)
    assert ceiling.refusal(1800 - spending.ENDING_SECONDS) is None
    assert ceiling.refusal(1810 - spending.ENDING_SECONDS) is not None


def test_outcomes_of_the_month_are_read_from_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    month = spending.month_bounds(NOW)[0]
    outcome = {
        "ended": "2026-11-05T04:47:13Z", "vm": "ml-training-vm", "zone": FREE_ZONE, "machine_type": "e2-small",
        "vm_seconds": 4633, "workers": 1,
    }  # fmt: skip
    import json

    objects = {
        "runs/old/outcome.json": (month - 1, {}),
        "runs/a/outcome.json": (month + 1, outcome),
        "runs/a/run.json": (month + 1, {}),
        "runs/idle/outcome.json": (
            month + 2,
            {"ended": "2026-11-06T00:00:00Z", "machine_type": None, "vm_seconds": None},
        ),
    }
    bucket: Any = SimpleNamespace(
        objects=lambda prefix: [
            SimpleNamespace(name=name, generation=1, updated=one[0]) for name, one in objects.items()
        ],
        read=lambda name, generation: json.dumps(objects[name][1]),
    )
    monkeypatch.setattr("time.time", lambda: NOW)
    machine = Machine("ml-training-vm", "e2-small", FREE_ZONE, 60.0)
    cost = SMALL * 2 * 4633 / 3600
    ending = SMALL * (60 + spending.ENDING_SECONDS) / 3600
    assert month_ceiling.open_ceiling(float(cost + ending) + 1e-6, bucket, machine, 0).refusal() is None
    assert month_ceiling.open_ceiling(float(cost + ending) - 1e-6, bucket, machine, 0).refusal() is not None
