# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of a VM and what each cost, from Google's operations and the instance's own timestamps. Pure.

All times are Google's. The controller's clock plays no part: "now" is what the API's answer said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.api.client import basename
from ansible.module_utils.fanops.costs.prices import Money, Prices, cents
from ansible.module_utils.fanops.resources.power_history import by_google, moment, power_of

#: Two accounts of the same moment may differ by this much.
SAME_MOMENT = timedelta(minutes=2)
#: The least that a start is billed.
LEAST_SECONDS = 60


@dataclass
class Run:
    """RUNNING from ``began`` to ``ended`` (None: still). ``certain`` is false where the machine type is a guess."""

    began: datetime
    ended: datetime | None
    ended_by: str
    machine_type: str
    certain: bool = True

    def hours(self, now: datetime) -> Money:
        """Billed hours: to the second, at least a minute."""
        seconds = max(LEAST_SECONDS, round(((self.ended or now) - self.began).total_seconds()))
        return Decimal(seconds) / 3600

    def facts(self, now: datetime, prices: Prices) -> dict[str, Any]:
        """For a playbook; dollars at list price."""
        hours = self.hours(now)
        vm = prices.vm_month(self.machine_type, hours)
        return {
            "began": _text(self.began),
            "ended": _text(self.ended) if self.ended else None,
            "ended_by": self.ended_by,
            "hours": float(round(hours, 4)),
            "machine_type": self.machine_type,
            "machine_type_certain": self.certain,
            "vm": None if vm is None else float(cents(vm)),
            "external_ipv4": float(cents(prices.ip_in_use * hours)),
        }


def runs(operations: list[dict[str, Any]], instance: dict[str, Any] | None, machine_type: str) -> list[Run]:
    """Every run that Google still remembers, the oldest first, from the operations on one VM.

    ``instance`` is the VM as it is now (None: there is none), ``machine_type`` what an unknown one is taken for.
    """
    current_type = basename(instance["machineType"]) if instance else machine_type
    current_id = str(instance["id"]) if instance else ""
    found: list[Run] = []
    running: Run | None = None
    ended = [item for item in operations if item.get("endTime") and not item.get("error")]
    for operation in sorted(ended, key=lambda item: moment(item["endTime"])):
        kind, at = operation["operationType"], moment(operation["endTime"])
        event = power_of(operation)
        if event in ("created", "started") and running is None:
            running = Run(at, None, "", current_type, str(operation.get("targetId")) == current_id)
            found.append(running)
        elif kind == "setMachineType":
            for run in found:
                run.certain = False
        elif running and event in ("stopped", "deleted"):
            running.ended, running.ended_by = at, _ender(operation)
            running = None
    return _completed(found, instance, current_type)


def _completed(found: list[Run], instance: dict[str, Any] | None, machine_type: str) -> list[Run]:
    """Add the last run from the instance's own timestamps, where its operations are forgotten already."""
    started = (instance or {}).get("lastStartTimestamp")
    if instance is None or not started:
        return found
    began = moment(started)
    stopped = instance.get("lastStopTimestamp")
    ended = moment(stopped) if stopped and moment(stopped) >= began else None
    if instance["status"] not in ("TERMINATED", "STOPPED", "SUSPENDED"):
        ended = None
    elif ended is None:
        return found
    last = found[-1] if found else None
    if last and abs(last.began - began) <= SAME_MOMENT:
        last.ended = last.ended or ended
        return found
    return sorted(
        [*found, Run(began, ended, "not remembered" if ended else "", machine_type)], key=lambda run: run.began
    )


def _ender(operation: dict[str, Any]) -> str:
    kind = basename(operation["operationType"].replace(".", "/"))
    return f"Google ({kind})" if by_google(operation) else f"{operation['user'].partition('@')[0]} ({kind})"


def _text(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
