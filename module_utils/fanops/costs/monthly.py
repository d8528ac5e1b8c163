# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration costs a month, at list price and with Always Free taken off. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.costs.prices import ZERO, Money, Prices, cents
from ansible.module_utils.fanops.costs.project_inventory import Disk, Holdings, Vm, Wanted

HOURS_PER_WEEK = Decimal(168)


@dataclass(frozen=True)
class Line:
    """One thing that is paid for: dollars a month, None where the price is not known."""

    item: str
    quantity: str
    listed: Money | None
    billed: Money | None

    def facts(self) -> dict[str, Any]:
        """For a playbook."""
        return {
            "item": self.item,
            "quantity": self.quantity,
            "list": _float(self.listed),
            "with_free": _float(self.billed),
        }


@dataclass(frozen=True)
class Bill:
    """A month of it."""

    lines: list[Line]

    @property
    def listed(self) -> Money:
        """Sum at list price, of what is known."""
        return sum((cents(line.listed) for line in self.lines if line.listed is not None), ZERO)

    @property
    def billed(self) -> Money:
        """Sum with Always Free taken off. The external address is in it: that it were free is contested."""
        return sum((cents(line.billed) for line in self.lines if line.billed is not None), ZERO)

    @property
    def complete(self) -> bool:
        """False when a price was missing."""
        return all(line.listed is not None for line in self.lines)

    def facts(self) -> dict[str, Any]:
        """For a playbook."""
        return {
            "lines": [line.facts() for line in self.lines],
            "list": float(self.listed),
            "with_free": float(self.billed),
            "complete": self.complete,
        }


def month_hours(hours_per_week: Money, prices: Prices) -> Money:
    """Hours a month; a week of 168 hours is a whole one."""
    return hours_per_week * prices.month / HOURS_PER_WEEK


def monthly(wanted: Wanted, found: Holdings, prices: Prices, vm_hours: Money, *, everything_off: bool = False) -> Bill:
    """The bill of a month in which the training VM runs ``vm_hours``.

    What else the project has is in it: other VMs that run now run all month, unless ``everything_off``.
    """
    ours = found.ours(wanted)
    planned = Vm(
        wanted.vm_name, wanted.zone, wanted.machine_type, "", bool(ours and ours.spot), ours.addresses if ours else ()
    )
    hours = {planned: vm_hours}
    for vm in found.others(wanted):
        if vm.billed and not everything_off:
            hours[vm] = prices.month
    lines = [*_vms(hours, prices), *_disks(wanted, found, prices), *_addresses(planned, hours, found, prices)]
    return Bill([*lines, _bucket(wanted, found, prices), _function(wanted, prices), _images(found, prices)])


def _vms(hours: dict[Vm, Money], prices: Prices) -> list[Line]:
    lines = []
    left = prices.month
    for vm, used in hours.items():
        free = min(used, left) if prices.free_vm(vm.machine_type, vm.zone, vm.spot) else ZERO
        left -= free
        listed, billed = prices.vm_month(vm.machine_type, used), prices.vm_month(vm.machine_type, used - free)
        lines.append(Line(f"VM {vm.name} ({vm.machine_type})", f"{_number(used)} h", listed, billed))
    return lines


def _disks(wanted: Wanted, found: Holdings, prices: Prices) -> list[Line]:
    ours = [disk for disk in found.disks if wanted.owns(disk)]
    others = [disk for disk in found.disks if disk not in ours]
    planned = Disk(wanted.vm_name, wanted.zone, wanted.disk_type, wanted.disk_size_gb, (wanted.vm_name,))
    lines = []
    left = prices.free_disk_gib
    for disk in [*(ours or [planned]), *others]:
        free = min(Decimal(disk.size_gb), left) if prices.free_disk(disk.type, disk.zone) else ZERO
        left -= free
        listed, billed = prices.disk_month(disk.type, disk.size_gb), prices.disk_month(disk.type, disk.size_gb - free)
        unattached = "" if disk.users else ", attached to nothing"
        lines.append(Line(f"Disk {disk.name} ({disk.type}{unattached})", f"{disk.size_gb} GB", listed, billed))
    return lines


def _addresses(planned: Vm, hours: dict[Vm, Money], found: Holdings, prices: Prices) -> list[Line]:
    lines = []
    used_hours: dict[str, Money] = {}
    for vm, used in hours.items():
        # The training VM has one address whenever it runs; others have what they have.
        addresses = (planned.addresses or ("",)) if vm is planned else vm.addresses
        for address in addresses:
            used_hours[address] = used
            cost = prices.ip_in_use * used
            lines.append(Line(f"External IPv4 of {vm.name} (contested)", f"{_number(used)} h", cost, cost))
    for static in found.addresses:
        idle = prices.month - used_hours.get(static.address, ZERO)
        cost = prices.ip_unattached * idle
        lines.append(Line(f"Static address {static.name}, while unused", f"{_number(idle)} h", cost, cost))
    return lines


def _bucket(wanted: Wanted, found: Holdings, prices: Prices) -> Line:
    there = found.bucket
    gb = Decimal(str(there.gb)) if there else ZERO
    kind = there.storage_class if there else wanted.bucket_storage_class
    free = (there.location if there else wanted.bucket_location.lower()) in prices.free_regions and kind == "STANDARD"
    over = max(ZERO, gb - prices.free_bucket_gb) if free else gb
    listed, billed = prices.bucket_month(kind, gb), prices.bucket_month(kind, over)
    return Line(f"Bucket {wanted.bucket} ({kind})", f"{gb:.3f} GB", listed, billed)


def _function(wanted: Wanted, prices: Prices) -> Line:
    warm = wanted.function_min_instances
    cost = prices.warm_function_month(warm, wanted.function_cpu, wanted.function_memory_mib)
    return Line("Function, kept warm" if warm else "Function, while nobody asks", f"{warm} instances", cost, cost)


def _images(found: Holdings, prices: Prices) -> Line:
    gib = found.images_gib
    over = max(ZERO, gib - prices.free_images_gib)
    return Line("Images of deployments", f"{gib:.3f} GiB", prices.images_month(gib), prices.images_month(over))


def _number(hours: Money) -> str:
    return f"{hours:.2f}".rstrip("0").rstrip(".")


def _float(amount: Money | None) -> float | None:
    return None if amount is None else float(cents(amount))
