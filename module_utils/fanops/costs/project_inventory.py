# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration asks for and what a project has, as far as it can cost money. Pure, and read from the API elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.api.client import basename
from ansible.module_utils.fanops.resources.memory import memory_bytes

Resource = dict[str, Any]
#: A VM in one of these is not billed (its disks and static addresses are).
OFF = frozenset({"TERMINATED", "STOPPED", "SUSPENDED"})


@dataclass(frozen=True)
class Wanted:
    """What the configuration asks for; memory in MiB, sizes in GB as Google counts disks (GiB)."""

    vm_name: str
    zone: str
    machine_type: str
    disk_type: str
    disk_size_gb: int
    workers: int
    bucket: str
    bucket_location: str
    bucket_storage_class: str
    soft_delete_seconds: int
    function_min_instances: int
    function_memory_mib: int
    function_cpu: float = 1.0
    function_max_instances: int = 3
    function_region: str = "us-central1"
    #: Where the VM may be instead, when its zone is out of stock.
    fallback_zones: tuple[str, ...] = ()
    #: Whether a running VM is about to get this machine type: what it is now does not last.
    resizes: bool = False
    #: When Google starts the VM by itself, in which time zone, and after how many seconds it stops the VM again at the latest.
    schedule: str = ""
    timezone: str = "UTC"
    max_run_seconds: int = 0

    @classmethod
    def of(cls, options: dict[str, Any]) -> Wanted:
        """From the option ``configuration``; ValueError for what is not a size of memory."""
        values = {key: value for key, value in options.items() if key not in ("function_memory", "fallback_zones")}
        memory, zones = memory_bytes(options["function_memory"]) // 2**20, tuple(options["fallback_zones"])
        return cls(**values, function_memory_mib=memory, fallback_zones=zones)

    def owns(self, found: Vm | Disk) -> bool:
        """Whether it is the training VM, or a disk that is attached to it."""
        name = found.name if isinstance(found, Vm) else self.vm_name if self.vm_name in found.users else ""
        return name == self.vm_name and found.zone in (self.zone, *self.fallback_zones)

    @property
    def worker_names(self) -> list[str]:
        """How the VMs of a training on several machines are called."""
        return [f"{self.vm_name.removesuffix('-vm')}-worker-{number + 1}" for number in range(self.workers)]


@dataclass(frozen=True)
class Vm:
    """An instance."""

    name: str
    zone: str
    machine_type: str
    status: str
    spot: bool = False
    addresses: tuple[str, ...] = ()
    #: The label "app" of the training VM of an environment, "" for any other VM.
    site: str = ""

    @property
    def billed(self) -> bool:
        """Whether it costs hours right now."""
        return self.status not in OFF


@dataclass(frozen=True)
class Disk:
    """A persistent disk; ``users`` are the names of the VMs it is attached to."""

    name: str
    zone: str
    type: str
    size_gb: int
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class Address:
    """A static external address; ``user`` is the name of what has it, "" for nothing."""

    name: str
    region: str
    address: str
    user: str = ""


@dataclass(frozen=True)
class Bucket:
    """The bucket of the releases; ``gb`` is what is in it, where that was read."""

    name: str
    location: str
    storage_class: str
    versioning: bool = False
    gb: float = 0.0


@dataclass(frozen=True)
class Holdings:
    """All of it in one project."""

    vms: tuple[Vm, ...] = ()
    disks: tuple[Disk, ...] = ()
    addresses: tuple[Address, ...] = ()
    bucket: Bucket | None = None
    #: Size of the images that deployments of functions left in the function's region, whoever deployed them.
    images_gib: Decimal = Decimal(0)

    def ours(self, wanted: Wanted) -> Vm | None:
        """The training VM: the one in the wanted zone, else the one in a fallback zone."""
        mine = [vm for vm in self.vms if wanted.owns(vm)]
        return next((vm for vm in mine if vm.zone == wanted.zone), mine[0] if mine else None)

    def site_of(self, disk: Disk) -> str:
        """The site whose training VM the disk is attached to, "" for any other disk."""
        return next((vm.site for vm in self.vms if vm.name in disk.users and vm.zone == disk.zone), "")

    def others(self, wanted: Wanted) -> list[Vm]:
        """Every other VM of the project, whoever made it."""
        ours = self.ours(wanted)
        return [vm for vm in self.vms if vm is not ours]


def vms(aggregated: list[Resource]) -> Iterator[Vm]:
    """From the pages of instances.aggregatedList."""
    for zone, instance in _scoped(aggregated, "instances"):
        scheduling = instance.get("scheduling", {})
        nics = instance.get("networkInterfaces", [])
        labels = instance.get("labels", {})
        addresses = [config.get("natIP", "") for nic in nics for config in nic.get("accessConfigs", [])]
        yield Vm(
            name=instance["name"],
            zone=zone,
            machine_type=basename(instance.get("machineType", "")),
            status=instance.get("status", ""),
            spot=bool(scheduling.get("preemptible")) or scheduling.get("provisioningModel") == "SPOT",
            addresses=tuple(address for address in addresses if address),
            site=labels.get("app", "") if labels.get("role") == "training" else "",
        )


def disks(aggregated: list[Resource]) -> Iterator[Disk]:
    """From the pages of disks.aggregatedList. A regional disk exists, and is billed, twice: it is a type of its own."""
    for place, disk in _scoped(aggregated, "disks"):
        kind = basename(disk.get("type", ""))
        yield Disk(
            name=disk["name"],
            zone=place,
            type=f"regional {kind}" if disk.get("replicaZones") else kind,
            size_gb=int(disk.get("sizeGb", 0)),
            users=tuple(basename(user) for user in disk.get("users", [])),
        )


def addresses(aggregated: list[Resource]) -> Iterator[Address]:
    """From the pages of addresses.aggregatedList: the external ones."""
    for region, address in _scoped(aggregated, "addresses"):
        if address.get("addressType", "EXTERNAL") == "EXTERNAL":
            user = basename(address["users"][0]) if address.get("users") else ""
            yield Address(address["name"], region, address.get("address", ""), user)


def bucket(resource: Resource, size_bytes: int = 0) -> Bucket:
    """From a bucket's resource."""
    return Bucket(
        name=resource["name"],
        location=resource.get("location", "").lower(),
        storage_class=resource.get("storageClass", "STANDARD"),
        versioning=bool(resource.get("versioning", {}).get("enabled")),
        gb=size_bytes / 1e9,
    )


def _scoped(pages: list[Resource], member: str) -> Iterator[tuple[str, Resource]]:
    for page in pages:
        for scope, content in page.get("items", {}).items():
            for resource in content.get(member, []):
                yield basename(scope), resource
