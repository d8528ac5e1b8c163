# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the guard: what would leave Google's Always Free tier. Pure.

A rule looks at what is wanted and at what the project has, and yields a finding for everything that would be billed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.costs.findings import Finding, together, total
from ansible.module_utils.fanops.costs.prices import Money, Prices, cents
from ansible.module_utils.fanops.costs.project_inventory import Disk, Holdings, Vm, Wanted
from ansible.module_utils.fanops.costs.schedule import schedule_cost

Rule = Callable[[Wanted, Holdings, Prices], Iterator[Finding]]
RULES: dict[str, Rule] = {}


def judge(wanted: Wanted, found: Holdings, prices: Prices) -> list[Finding]:
    """Everything that would be billed, in the order of the rules."""
    return [finding for rule in RULES.values() for finding in rule(wanted, found, prices)]


def facts(findings: list[Finding], wanted: Wanted, found: Holdings, prices: Prices) -> dict[str, Any]:
    """The findings and the prices as facts, whether they are reason to refuse or not."""
    scheduled = schedule_cost(wanted, prices)
    ceiling = prices.function_ceiling(wanted.function_max_instances, wanted.function_cpu, wanted.function_memory_mib)
    over = found.images_gib > prices.free_images_gib
    images = (
        f" Beside that, {prices.images_note(found.images_gib)}: function_images_kept says how many stay."
        if over
        else ""
    )
    verdict = f"Billable: {together(findings, prices)}" if findings else f"Free by the rules of {prices.as_of}"
    return {
        "findings": [finding.facts() for finding in findings],
        "month": float(total(findings)[0]),
        "summary": f"{verdict}. {prices.ipv4_note}{images}",
        "machine": _machine(wanted, found, prices),
        "as_of": prices.as_of,
        "plan_notes": [
            f"cost    {verdict}",
            f"cost    function {ceiling}",
            f"cost    {prices.images_note(found.images_gib)}",
            *([f"cost    schedule {scheduled['text']}"] if scheduled else []),
        ],
    }


def _machine(wanted: Wanted, found: Holdings, prices: Prices) -> dict[str, Any]:
    """What changes for the VM's machine type, and what that costs."""
    ours = found.ours(wanted)
    now = ours.machine_type if ours else wanted.machine_type
    old, new = prices.vm_hour(now), prices.vm_hour(wanted.machine_type)
    machine: dict[str, Any] = {
        "current": {"machine_type": ours.machine_type, "status": ours.status, "zone": ours.zone} if ours else None,
        "wanted": wanted.machine_type,
        "difference_month": None,
        "price": "Price: not known, because pricing/google_cloud.yml does not list both types.",
    }
    if old is not None and new is not None:
        before, after = cents(old * prices.month), cents(new * prices.month)
        machine["difference_month"] = float(after - before)
        machine["price"] = (
            f"Price: ${old:.6f} an hour before, ${new:.6f} after; "
            f"${before} a month before, ${after} after ({after - before:+})."
        )
    return machine


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a rule under its id."""

    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


# -- the VM


@rule("machine-type")
def machine_type(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """Only e2-micro is free: the wanted type, and the type that the VM runs with right now."""
    free, ours = prices.free_machine_type, found.ours(wanted)
    if wanted.machine_type != free:
        yield Finding(
            "machine-type",
            f"vm_machine_type is {wanted.machine_type}, and only {free} is free",
            f"set vm_machine_type to {free}",
            {f"vm {wanted.vm_name}": prices.vm_month(wanted.machine_type)},
        )
    if ours and ours.billed and not wanted.resizes and ours.machine_type not in (free, wanted.machine_type):
        yield Finding(
            "machine-type",
            f"{ours.name} runs as {ours.machine_type}, and only {free} is free",
            "stop it (playbooks/stop_vm.yml); it starts again as what vm_machine_type says",
            {f"vm {ours.name}": prices.vm_month(ours.machine_type)},
        )


@rule("vm-region")
def vm_region(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """The VM and its disk are free in three regions of the United States."""
    if not prices.free_region(wanted.zone):
        yield Finding(
            "vm-region",
            f"gcp_zone is {wanted.zone}, where neither VM nor disk is free (priced as in us-central1)",
            f"choose a zone of {', '.join(prices.free_regions)}",
            {
                f"vm {wanted.vm_name}": prices.vm_month(wanted.machine_type),
                f"disk {wanted.vm_name}": prices.disk_month(wanted.disk_type, wanted.disk_size_gb),
            },
        )
    ours = found.ours(wanted)
    if ours and ours.billed and ours.zone != wanted.zone and not prices.free_region(ours.zone):
        yield Finding(
            "vm-region",
            f"{ours.name} runs in {ours.zone}, where it is not free",
            f"delete it (playbooks/delete_vm.yml -e gcp_zone={ours.zone} -e confirm={ours.name})",
            {f"vm {ours.name}": prices.vm_month(ours.machine_type)},
        )


@rule("spot-vm")
def spot_vm(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """A spot or preemptible VM is cheap, but none of its hours is free."""
    ours = found.ours(wanted)
    if ours and ours.spot:
        yield Finding(
            "spot-vm",
            f"{ours.name} is a spot (preemptible) VM, and only a standard one is free (its price moves; this is the ceiling)",
            f"delete it (playbooks/delete_vm.yml -e confirm={ours.name}), the next run makes a standard one",
            {f"vm {ours.name}": prices.vm_month(ours.machine_type)},
        )


@rule("second-vm")
def second_vm(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """The free hours of a month are those of one VM: what runs beside it is billed."""
    for vm in found.others(wanted):
        if vm.billed and vm.site and vm.name != wanted.vm_name:
            yield Finding(
                "second-vm",
                f"{vm.name} ({vm.machine_type}, {vm.zone}), the training VM of the environment labelled {vm.site}, runs now, and the "
                "free hours of a month are those of one VM: the hours of both count (the price is that of a whole month)",
                "wait until its run has ended, or stop it (playbooks/stop_vm.yml with the inventory of that environment)",
                {f"vm {vm.name}": prices.vm_month(vm.machine_type)},
            )
        elif vm.billed and vm.name not in wanted.worker_names:
            yield Finding(
                "second-vm",
                f"the project runs another VM, {vm.name} ({vm.machine_type}, {vm.zone}), and the free hours are those of one",
                f'stop it ("gcloud compute instances stop {vm.name} --zone={vm.zone}")',
                {f"vm {vm.name}": prices.vm_month(vm.machine_type)},
            )


@rule("worker-vms")
def worker_vms(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """Training on several machines takes VMs, disks and addresses beyond the free ones."""
    if wanted.workers > 0:
        costs: dict[str, Money | None] = {}
        for name in wanted.worker_names:
            costs[f"vm {name}"] = prices.vm_month(wanted.machine_type)
            costs[f"disk {name}"] = prices.disk_month(wanted.disk_type, wanted.disk_size_gb)
            costs[f"address of {name}"] = prices.ip_in_use * prices.month
        yield Finding(
            "worker-vms",
            f"training_workers is {wanted.workers}: so many VMs beyond the free one (if they ran all month)",
            "set training_workers to 0",
            costs,
        )


# -- disks


def _describe(disk: Disk) -> str:
    user = f"of {disk.users[0]}" if disk.users else "attached to nothing"
    return f"disk {disk.name} ({disk.size_gb} GB {disk.type}, {disk.zone}, {user})"


def _delete(disk: Disk) -> str:
    if disk.users:  # Google deletes no disk that is in use, be its VM stopped
        return f'delete {disk.users[0]} with it if nobody needs it ("gcloud compute instances delete {disk.users[0]} --zone={disk.zone}")'
    return f'delete it if nobody needs it ("gcloud compute disks delete {disk.name} --zone={disk.zone}")'


def _give_less(free_gib: Decimal) -> str:
    return (
        f"give the environments less: their vm_disk_size_gb may come to {free_gib} in all. A VM gets another disk when it is made "
        "(playbooks/delete_vm.yml of that environment, then the next run)"
    )


@rule("disk-type")
def disk_type(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """Only pd-standard is free: the wanted disk, and every disk that exists, attached or not."""
    free = prices.free_disk_type
    if wanted.disk_type != free:
        yield Finding(
            "disk-type",
            f"vm_disk_type is {wanted.disk_type}, and only {free} is free",
            f"set vm_disk_type to {free}",
            {f"disk {wanted.vm_name}": prices.disk_month(wanted.disk_type, wanted.disk_size_gb)},
        )
    for disk in found.disks:
        if disk.type != free and not (wanted.owns(disk) and disk.type == wanted.disk_type):
            cost = {f"disk {disk.name}": prices.disk_month(disk.type, disk.size_gb)}
            yield Finding("disk-type", f"{_describe(disk)} is not {free}, which alone is free", _delete(disk), cost)


@rule("disk-region")
def disk_region(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """A disk outside the free regions is billed from its first gigabyte."""
    for disk in found.disks:
        if disk.type == prices.free_disk_type and not prices.free_region(disk.zone):
            cost = {f"disk {disk.name}": prices.disk_month(disk.type, disk.size_gb)}
            yield Finding("disk-region", f"{_describe(disk)} is outside the free regions", _delete(disk), cost)


@rule("disk-size")
def disk_size(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """The VM's disk alone may not be larger than what is free."""
    if wanted.disk_size_gb > prices.free_disk_gib and prices.free_disk(wanted.disk_type, wanted.zone):
        over = wanted.disk_size_gb - prices.free_disk_gib
        yield Finding(
            "disk-size",
            f"vm_disk_size_gb is {wanted.disk_size_gb}, and {prices.free_disk_gib} GB are free",
            f"set vm_disk_size_gb to {prices.free_disk_gib} at most",
            {"disk space": prices.disk_month(wanted.disk_type, over)},
        )


@rule("disk-total")
def disk_total(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """All disks of the project share the free gigabytes, foreign and unattached ones too, whether a VM runs or not."""
    counted = [disk for disk in found.disks if prices.free_disk(disk.type, disk.zone)]
    # Our own disk counts once, as the larger of what is there and what is wanted.
    ours = [disk for disk in counted if wanted.owns(disk)]
    others = [disk for disk in counted if disk not in ours and not set(disk.users) & set(wanted.worker_names)]
    there = sum(disk.size_gb for disk in ours)
    own = max(there, wanted.disk_size_gb) if prices.free_disk(wanted.disk_type, wanted.zone) else there
    size = own + sum(disk.size_gb for disk in others)
    if others and size > prices.free_disk_gib:
        listed = ", ".join(_describe(disk) for disk in others)
        shared = [disk for disk in others if found.site_of(disk) and wanted.vm_name not in disk.users]
        foreign = next((disk for disk in others if disk not in shared), None)
        yield Finding(
            "disk-total",
            f"the project's disks come to {size} GB, and {prices.free_disk_gib} GB are free: {own} GB for {wanted.vm_name}, {listed}",
            _delete(foreign) if foreign else _give_less(prices.free_disk_gib),
            {"disk space": prices.disk_month(prices.free_disk_type, size - prices.free_disk_gib)},
        )


# -- addresses


@rule("static-address")
def static_address(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """A reserved address is billed for every hour, twice as much while nothing uses it."""
    for address in found.addresses:
        hour = prices.ip_in_use if address.user else prices.ip_unattached
        state = f"used by {address.user}" if address.user else "used by nothing"
        yield Finding(
            "static-address",
            f"static address {address.name} ({address.address}, {address.region}) is reserved and {state}",
            f'release it ("gcloud compute addresses delete {address.name} --region={address.region}")',
            {f"address {address.address}": hour * prices.month},
        )


@rule("second-address")
def second_address(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """Every external address beyond the training VM's one."""
    static = {address.address for address in found.addresses}
    ours = found.ours(wanted)
    extra: list[tuple[Vm, str]] = [(vm, address) for vm in found.others(wanted) for address in vm.addresses]
    if ours:
        extra += [(ours, address) for address in ours.addresses[1:]]
    for vm, address in extra:
        if address not in static and vm.name not in wanted.worker_names:
            yield Finding(
                "second-address",
                f"{vm.name} has external address {address}, one more than the training VM's",
                f'stop it, or take the address away ("gcloud compute instances delete-access-config {vm.name} --zone={vm.zone}")',
                {f"address {address}": prices.ip_in_use * prices.month},
            )


# -- the bucket -------------------------------------------------------------------------------------------------------

PER_GB = " for each GB"


@rule("bucket-location")
def bucket_location(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """The free gigabytes are regional ones in the free regions; multi-regions have none."""
    location = found.bucket.location if found.bucket else wanted.bucket_location.lower()
    if location not in prices.free_regions:
        yield Finding(
            "bucket-location",
            f"bucket {wanted.bucket} {'is' if found.bucket else 'would be'} in {location}, where no storage is free",
            f"{'choose another model_bucket' if found.bucket else 'set model_bucket_location'}, in {' or '.join(prices.free_regions)}",
            {"bucket": prices.bucket_month("STANDARD", 1)},
            PER_GB,
        )


@rule("bucket-class")
def bucket_class(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """The other storage classes have no free gigabytes, and charge for reading as well."""
    if wanted.bucket_storage_class != "STANDARD":
        yield Finding(
            "bucket-class",
            f"model_bucket_storage_class is {wanted.bucket_storage_class}, of which no gigabyte is free, nor the reading",
            "set model_bucket_storage_class to STANDARD",
            {"bucket": prices.bucket_month(wanted.bucket_storage_class, 1)},
            PER_GB,
        )


@rule("soft-delete")
def soft_delete(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """Deleted and overwritten objects that are kept are billed like any other."""
    if wanted.soft_delete_seconds > 0:
        yield Finding(
            "soft-delete",
            f"model_bucket_soft_delete_seconds is {wanted.soft_delete_seconds}: deleted objects are kept, and billed, as long",
            "set model_bucket_soft_delete_seconds to 0",
            {"deleted objects": prices.bucket_month("STANDARD", 1)},
            PER_GB,
        )


@rule("object-versioning")
def object_versioning(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """With versioning nothing that was ever written goes away by itself."""
    if found.bucket and found.bucket.versioning:
        yield Finding(
            "object-versioning",
            f"bucket {wanted.bucket} keeps every version of every object, and all of them are billed",
            f'switch it off ("gcloud storage buckets update gs://{wanted.bucket} --no-versioning"); releases are immutable anyway',
            {"old versions": prices.bucket_month(wanted.bucket_storage_class, 1)},
            PER_GB,
        )


# -- the function


@rule("function-min-instances")
def function_min_instances(wanted: Wanted, found: Holdings, prices: Prices) -> Iterator[Finding]:
    """An instance that is kept warm is billed around the clock, asked or not."""
    if wanted.function_min_instances > 0:
        yield Finding(
            "function-min-instances",
            f"function_min_instances is {wanted.function_min_instances}: kept warm, and billed, around the clock",
            "set function_min_instances to 0",
            {
                "function": prices.warm_function_month(
                    wanted.function_min_instances, wanted.function_cpu, wanted.function_memory_mib
                )
            },
        )
