# SPDX-License-Identifier: GPL-3.0-or-later
"""The month's ceiling on the controller: what VMs have cost this month, by Google's operations and the outcomes of runs.

Google's operations are exact and remembered for about two weeks; what is older is known from the outcomes in the bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core import spending
from ansible.module_utils.fanops.core.spending import Spent, Use
from ansible.module_utils.fanops.costs.ledger import Run, runs
from ansible.module_utils.fanops.costs.prices import Prices
from ansible.module_utils.fanops.costs.project_inventory import Holdings, Wanted
from ansible.module_utils.fanops.costs.project_reader import google_now, read_runs
from ansible.module_utils.fanops.resources.power_history import operations_of
from ansible.module_utils.fanops.training.history import read_outcomes

#: More runs than a month has.
ALL = 10_000


def read_uses(
    client: Client, wanted: Wanted, found: Holdings, now: datetime, past: list[Run] | None = None
) -> list[Use]:
    """Return what the training VM and its workers ran this month; ``past`` are the VM's runs where they are known already."""
    began, _ = spending.month_bounds(now.timestamp())
    told = spending.of_outcomes(read_outcomes(client, wanted.bucket, ALL, since=began), wanted.zone)
    past = read_runs(client, wanted, found) if past is None else past
    return combined(uses_of(past, wanted, found, now) + _workers(client, wanted, now), told)


def uses_of(past: Iterable[Run], wanted: Wanted, found: Holdings, now: datetime) -> list[Use]:
    """Return the training VM's runs as uses."""
    ours = found.ours(wanted)
    zone, spot = (ours.zone, ours.spot) if ours else (wanted.zone, False)
    return [_use(run, wanted.vm_name, zone, now, spot=spot) for run in past]


def combined(exact: Sequence[Use], told: Iterable[Use]) -> list[Use]:
    """Return the uses by Google's operations, with the machine types that outcomes know, and what only outcomes remember."""
    found, forgotten = list(exact), []
    for use in told:
        same = [
            n for n, one in enumerate(found) if one.vm == use.vm and one.began <= use.ended and use.began <= one.ended
        ]
        for number in same:
            found[number] = replace(found[number], machine_type=use.machine_type, zone=use.zone)
        if not same:
            forgotten.append(use)
    return [*found, *forgotten]


def planned(wanted: Wanted, now: datetime) -> list[Use]:
    """Return the least that a start takes, of the VM and its workers."""
    at = now.timestamp()
    use = Use(wanted.vm_name, wanted.machine_type, wanted.zone, at, at + spending.ENDING_SECONDS)
    return [use, *(replace(use, vm=name) for name in wanted.worker_names)]


def judge_start(
    client: Client, wanted: Wanted, found: Holdings, ceiling: Decimal, prices: Prices
) -> tuple[dict[str, Any], str | None]:
    """Return (the month as facts, why a start would pass the ceiling or None)."""
    now = google_now(client)
    uses = read_uses(client, wanted, found, now)
    return facts(uses, ceiling, now, prices), refused_start(uses, wanted, ceiling, now, prices)


def refused_start(uses: Sequence[Use], wanted: Wanted, ceiling: Decimal, now: datetime, prices: Prices) -> str | None:
    """Return why a start would pass the ceiling, in one line; None where it would not."""
    reason = spending.refusal(uses, planned(wanted, now), ceiling, now.timestamp(), prices.rates)
    if reason is None:
        return None
    hint = ""
    if ceiling == 0 and (month := prices.vm_month(wanted.machine_type)) is not None:
        whole = (month + prices.ip_in_use * prices.month) * (1 + wanted.workers)
        hint = (
            f" It is 0, which means Always Free or nothing; {spending.amount(whole)} is a whole month of it: for instance "
            "-e monthly_ceiling_usd=1."
        )
    return f"Nothing was started, because {reason}.{hint}"


def facts(uses: Sequence[Use], ceiling: Decimal, now: datetime, prices: Prices) -> dict[str, Any]:
    """Return the month, its sum, the ceiling and what is left of it, in dollars and in words."""
    found: Spent = spending.spent(uses, now.timestamp(), prices.rates)
    left = max(Decimal(0), ceiling - found.dollars)
    more = f", without {', '.join(found.unlisted)}, whose price is not listed" if found.unlisted else ""
    text = (
        f"{found.month}: {found.seconds / 3600:.2f} h of VMs, {spending.amount(found.dollars)} beyond Always Free{more}, of at most "
        f"{spending.amount(ceiling)} (monthly_ceiling_usd); {spending.amount(left)} left; address of the free hours "
        f"{spending.amount(found.contested)} (contested)"
    )
    return {
        "month": found.month,
        "hours": round(found.seconds / 3600, 4),
        "spent": float(round(found.dollars, 2)),
        "contested_ipv4": float(round(found.contested, 2)),
        "ceiling": float(ceiling),
        "left": float(round(left, 2)),
        "text": text,
    }


def _use(run: Run, vm: str, zone: str, now: datetime, *, spot: bool = False) -> Use:
    return Use(vm, run.machine_type, zone, run.began.timestamp(), (run.ended or now).timestamp(), spot)


def _workers(client: Client, wanted: Wanted, now: datetime) -> list[Use]:
    pattern = f"{wanted.vm_name.removesuffix('-vm')}-worker-[0-9]+"
    try:
        operations = operations_of(client, pattern)
    except GoogleApiError as error:
        if error.service_disabled:
            return []
        raise
    names = sorted({basename(str(operation["targetLink"])) for operation in operations})
    return [
        _use(run, name, wanted.zone, now)
        for name in names
        for run in runs(
            [one for one in operations if basename(str(one["targetLink"])) == name], None, wanted.machine_type
        )
    ]
