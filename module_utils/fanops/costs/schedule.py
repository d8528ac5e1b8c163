# SPDX-License-Identifier: GPL-3.0-or-later
"""What a schedule can cost a month, if every run took as long as the VM may run. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.core import cron
from ansible.module_utils.fanops.costs.prices import ZERO, Prices, cents
from ansible.module_utils.fanops.costs.project_inventory import Wanted


def schedule_cost(wanted: Wanted, prices: Prices) -> dict[str, Any] | None:
    """Return runs and most hours a month, and their dollars at list price ("list") and with Always Free; None without a schedule.

    Google starts VMs by a schedule for nothing; the VM's hours are those of the one free VM where its type and zone are free.
    """
    if not wanted.schedule:
        return None
    runs = Decimal(sum(1 for _ in cron.due(wanted.schedule, wanted.timezone, *cron.YEAR))) / 12
    hours, hour = runs * wanted.max_run_seconds / 3600, prices.vm_hour(wanted.machine_type)
    cost = None if hour is None else hour * min(hours, prices.month)
    free = wanted.machine_type == prices.free_machine_type and prices.free_region(wanted.zone)
    found = {"runs": float(cents(runs)), "hours": float(cents(min(hours, prices.month)))}
    dollars = {
        "list": None if cost is None else float(cents(cost)),
        "with_free": None if cost is None else float(cents(ZERO if free else cost)),
    }
    told = (
        "?" if cost is None else f"${dollars['with_free']:.2f} with Always Free, ${dollars['list']:.2f} at list price"
    )
    text = (
        f"{wanted.schedule} ({wanted.timezone}): {found['runs']:g} runs a month, at most {found['hours']:g} h, {told}"
    )
    return {"schedule": wanted.schedule, "timezone": wanted.timezone, **found, **dollars, "text": text}
