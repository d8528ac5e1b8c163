# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs have cost in a calendar month (UTC) beyond Always Free, and whether more of it would pass a ceiling. Pure.

The controller and the VM add up the same way. Counted are the hours of VMs, and the external address of the hours that are billed.
The address of free hours is contested, so it is told beside the sum and does not count towards the ceiling.
Money is ``Decimal`` US dollars and exact; it is rounded to the cent where it is shown.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

#: The least that a start is billed.
LEAST_SECONDS = 60
#: What has to be paid for when a VM is started or a training goes on: the boot, an end in order, and the power-off.
ENDING_SECONDS = 300
HOUR = Decimal(3600)


@dataclass(frozen=True)
class Rates:
    """What the price file says of VMs: dollars an hour by machine type, and what is free."""

    as_of: str
    hours: dict[str, Decimal]
    address_hour: Decimal
    free_machine_type: str
    free_regions: tuple[str, ...]

    @classmethod
    def of(cls, document: dict[str, Any]) -> Rates:
        """From the price file's content. Raises KeyError for what is missing."""
        free = document["always_free"]
        return cls(
            as_of=str(document["as_of"]),
            hours={name: Decimal(str(entry["hour"])) for name, entry in document["machine_types"].items()},
            address_hour=Decimal(str(document["external_ipv4"]["in_use_hour"])),
            free_machine_type=str(free["machine_type"]),
            free_regions=tuple(free["regions"]),
        )


@dataclass(frozen=True)
class Use:
    """A VM that ran from ``began`` to ``ended``, in seconds since 1970."""

    vm: str
    machine_type: str
    zone: str
    began: float
    ended: float
    spot: bool = False


@dataclass(frozen=True)
class Spent:
    """A month up to now. ``unlisted`` are the machine types whose price is not known: ``dollars`` is without them."""

    month: str
    seconds: int
    dollars: Decimal
    contested: Decimal
    unlisted: tuple[str, ...] = ()


def month_bounds(now: float) -> tuple[float, float]:
    """Return when the calendar month of ``now`` began, and when the next one begins."""
    first = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    following = (first + datetime.timedelta(days=32)).replace(day=1)
    return first.timestamp(), following.timestamp()


def spent(uses: Iterable[Use], now: float, rates: Rates) -> Spent:
    """Add up the month of ``now``. Accounts of the same VM that overlap count once."""
    start, end = month_bounds(now)
    free_left = round(end - start)  # the hours of one free VM, which all of that type share
    total, dollars, contested, unlisted = 0, Decimal(0), Decimal(0), set()
    for use in _apart(uses):
        began, ended = max(use.began, start), min(use.ended, end)
        if ended <= began:
            continue
        seconds = round(ended - began)
        if began == use.began:
            seconds = max(LEAST_SECONDS, seconds)
        free = min(seconds, free_left) if is_free(use, rates) else 0
        free_left, total = free_left - free, total + seconds
        contested += rates.address_hour * free / HOUR
        if use.machine_type in rates.hours:
            dollars += (rates.hours[use.machine_type] + rates.address_hour) * (seconds - free) / HOUR
        elif seconds > free:
            unlisted.add(use.machine_type)
    month = datetime.datetime.fromtimestamp(start, datetime.timezone.utc).strftime("%Y-%m")
    return Spent(month, total, dollars, contested, tuple(sorted(unlisted)))


def is_free(use: Use, rates: Rates) -> bool:
    """Whether Always Free covers the hours of such a VM."""
    return (
        use.machine_type == rates.free_machine_type
        and use.zone.rpartition("-")[0] in rates.free_regions
        and not use.spot
    )


def refusal(uses: Sequence[Use], more: Sequence[Use], ceiling: Decimal, now: float, rates: Rates) -> str | None:
    """Return why ``more`` would pass the ceiling, in words; None where it would not. What is free never does."""
    before, after = spent(uses, now, rates), spent([*uses, *more], now, rates)
    what = " and ".join(dict.fromkeys(f"{use.vm} ({use.machine_type})" for use in more))
    if unlisted := sorted(set(after.unlisted) - set(before.unlisted)):
        return (
            f"what {what} costs is not known, because pricing/google_cloud.yml does not list {', '.join(unlisted)}: "
            "add its price there, or set another vm_machine_type"
        )
    if after.dollars == before.dollars or after.dollars <= ceiling:
        return None
    hour = sum((rates.hours[use.machine_type] + rates.address_hour for use in more), Decimal(0))
    return (
        f"{what} would pass the month's ceiling: the VM hours of {before.month} come to {amount(before.dollars)} beyond Always Free, "
        f"every further hour costs {amount(hour, 4)} with its address, and monthly_ceiling_usd is {amount(ceiling)} "
        f"(list prices of {rates.as_of}). Raise monthly_ceiling_usd in inventory/group_vars/all/costs.yml, or wait for the "
        "next month"
    )


def amount(dollars: Decimal, places: int = 2) -> str:
    """Return dollars as text."""
    return f"${dollars:,.{places}f}"


def of_outcomes(outcomes: Iterable[dict[str, Any]], zone: str = "") -> list[Use]:
    """Return the VMs' uses that ended runs tell of; ``zone`` is where a VM was that its outcome does not place."""
    uses = []
    for outcome in outcomes:
        machine_type, seconds = outcome.get("machine_type"), outcome.get("vm_seconds")
        if not machine_type or not seconds:
            continue
        ended = datetime.datetime.fromisoformat(str(outcome["ended"]).replace("Z", "+00:00")).timestamp()
        vm = str(outcome.get("vm") or "the VM")
        use = Use(vm, str(machine_type), str(outcome.get("zone") or zone), ended - float(seconds), ended)
        uses += [use, *workers_of(use, int(outcome.get("workers") or 0))]
    return uses


def workers_of(use: Use, workers: int) -> list[Use]:
    """Return the uses of a training VM's workers: they are of its type, and taken to run as long as it does."""
    name = use.vm.removesuffix("-vm")
    return [replace(use, vm=f"{name}-worker-{number + 1}") for number in range(workers)]


def _apart(uses: Iterable[Use]) -> list[Use]:
    """Return the uses by their beginning, what overlaps of the same VM cut off."""
    found: list[Use] = []
    until: dict[str, float] = {}
    for use in sorted(uses, key=lambda one: (one.began, -one.ended)):
        began = max(use.began, until.get(use.vm, use.began))
        if began < use.ended:
            # What goes on without a gap is no start of its own.
            last = next((n for n in range(len(found) - 1, -1, -1) if found[n].vm == use.vm), None)
            if (
                last is not None
                and found[last].ended == began
                and replace(found[last], began=0, ended=0) == replace(use, began=0, ended=0)
            ):
                found[last] = replace(found[last], ended=use.ended)
            else:
                found.append(replace(use, began=began))
            until[use.vm] = use.ended
    return found
