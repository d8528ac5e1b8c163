# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google has in every project: regions, zones, machine types, disk types."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from rehearsal.services.compute import errors, fingerprints, links
from rehearsal.wire.calls import Call

Resource = dict[str, Any]

REGIONS: dict[str, tuple[str, ...]] = {
    "us-central1": ("a", "b", "c", "f"),
    "us-west1": ("a", "b", "c"),
    "us-east1": ("b", "c", "d"),
    "europe-west1": ("b", "c", "d"),
}
ZONES = tuple(f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters)
CPU_PLATFORM = "Intel Broadwell"
# Google answers this for what has been there since before anybody looked.
EPOCH = "1969-12-31T16:00:00.000-08:00"

DISK_TYPES: dict[str, tuple[str, str, str]] = {
    # name: description, default size in GB, valid sizes
    "pd-standard": ("Standard Persistent Disk", "500", "10GB-65536GB"),
    "pd-balanced": ("Balanced Persistent Disk", "100", "10GB-65536GB"),
    "pd-ssd": ("SSD Persistent Disk", "100", "10GB-65536GB"),
}


@cache
def machine_types() -> dict[str, Resource]:
    """Return the machine types by name: guestCpus, memoryMb (MiB), isSharedCpu and more."""
    text = resources.files("rehearsal.services.compute").joinpath("machine_types.json").read_text(encoding="utf-8")
    found: dict[str, Resource] = json.loads(text)
    return found


def memory_bytes(machine_type: str) -> int:
    """Return the memory of a machine type in bytes."""
    return int(machine_types()[machine_type]["memoryMb"]) * 1024 * 1024


def zone_of(call: Call) -> str:
    """Return the zone that the call names.

    Raises ApiError 400 for a zone that Google has not.
    """
    zone: str = call.params["zone"]
    if zone not in ZONES:
        raise errors.invalid("zone", zone, "Unknown zone.")
    return zone


def region_of(call: Call) -> str:
    """Return the region that the call names.

    Raises ApiError 400 for a region that Google has not.
    """
    region: str = call.params["region"]
    if region not in REGIONS:
        raise errors.invalid("region", region, "Unknown region.")
    return region


def region_of_zone(zone: str) -> str:
    """Return `us-central1` for `us-central1-a`."""
    return zone.rpartition("-")[0]


def zone_resource(project: str, zone: str) -> Resource:
    """Return a Zone."""
    path = f"projects/{project}/zones/{zone}"
    return {
        "kind": "compute#zone",
        "id": fingerprints.stable_id(f"zones/{zone}"),
        "creationTimestamp": EPOCH,
        "name": zone,
        "description": zone,
        "status": "UP",
        "region": links.link(f"projects/{project}/regions/{region_of_zone(zone)}"),
        "selfLink": links.link(path),
        "availableCpuPlatforms": ["Intel Skylake", CPU_PLATFORM, "Intel Haswell"],
        "supportsPzs": False,
    }


def region_resource(project: str, region: str, quotas: list[Resource]) -> Resource:
    """Return a Region with its quotas."""
    path = f"projects/{project}/regions/{region}"
    return {
        "kind": "compute#region",
        "id": fingerprints.stable_id(f"regions/{region}"),
        "creationTimestamp": EPOCH,
        "name": region,
        "description": region,
        "status": "UP",
        "zones": [links.link(f"projects/{project}/zones/{region}-{letter}") for letter in REGIONS[region]],
        "quotas": quotas,
        "selfLink": links.link(path),
        "supportsPzs": False,
    }


def machine_type_resource(project: str, zone: str, name: str) -> Resource:
    """Return a MachineType."""
    path = f"projects/{project}/zones/{zone}/machineTypes/{name}"
    return {
        "kind": "compute#machineType",
        "id": fingerprints.stable_id(f"machineTypes/{name}"),
        "creationTimestamp": EPOCH,
        "name": name,
        "zone": zone,
        "architecture": "X86_64",
        "imageSpaceGb": 0,
        "selfLink": links.link(path),
    } | machine_types()[name]


def disk_type_resource(project: str, zone: str, name: str) -> Resource:
    """Return a DiskType."""
    description, default_size, sizes = DISK_TYPES[name]
    path = f"projects/{project}/zones/{zone}/diskTypes/{name}"
    return {
        "kind": "compute#diskType",
        "id": fingerprints.stable_id(f"diskTypes/{name}"),
        "creationTimestamp": EPOCH,
        "name": name,
        "description": description,
        "defaultDiskSizeGb": default_size,
        "validDiskSize": sizes,
        "zone": links.link(f"projects/{project}/zones/{zone}"),
        "selfLink": links.link(path),
    }


def machine_type_named(value: str, project: str, zone: str, field: str) -> str:
    """Return the name of the machine type that `value` refers to.

    Raises ApiError 400 for a malformed reference, an unknown type, or a type of another zone.
    """
    found = links.resolve(value, project, "machineTypes", field=field)
    if not found.scope.startswith("zones/"):
        raise errors.malformed_url(field, value)
    if found.location != zone:
        raise errors.invalid(field, value, "Cross-zone reference for this resource is not allowed.")
    if found.name not in machine_types():
        raise errors.invalid(field, value, f"Machine type with name '{found.name}' does not exist in zone '{zone}'.")
    return found.name


def disk_type_named(value: str, project: str, zone: str, field: str) -> str:
    """Return the name of the disk type that `value` refers to.

    Raises ApiError 400 for a malformed reference, an unknown type, or a type of another zone.
    """
    found = links.resolve(value, project, "diskTypes", field=field)
    if found.location != zone:
        raise errors.invalid(field, value, "Cross-zone reference for this resource is not allowed.")
    if found.name not in DISK_TYPES:
        raise errors.invalid(field, value, f"Disk type with name '{found.name}' does not exist in zone '{zone}'.")
    return found.name
