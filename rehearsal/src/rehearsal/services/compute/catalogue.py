# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google has in every project: regions, zones, machine types, disk types."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from rehearsal.services.compute import errors, links
from rehearsal.wire.calls import Call

Resource = dict[str, Any]

REGIONS: dict[str, tuple[str, ...]] = {
    "us-central1": ("a", "b", "c", "f"),
    "us-west1": ("a", "b", "c"),
    "us-east1": ("b", "c", "d"),
    "europe-west1": ("b", "c", "d"),
}
ZONES = tuple(f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters)
CPU_PLATFORM, NO_CPU_PLATFORM = "Intel Broadwell", "Unknown CPU Platform"
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

    Raises ApiError 400 for an unknown zone.
    """
    zone: str = call.params["zone"]
    if zone not in ZONES:
        raise errors.invalid("zone", zone, "Unknown zone.")
    return zone


def region_of(call: Call) -> str:
    """Return the region that the call names.

    Raises ApiError 400 for an unknown region.
    """
    region: str = call.params["region"]
    if region not in REGIONS:
        raise errors.invalid("region", region, "Unknown region.")
    return region


def region_of_zone(zone: str) -> str:
    """Return `us-central1` for `us-central1-a`."""
    return zone.rpartition("-")[0]


def type_named(value: str, project: str, zone: str, field: str, collection: str = "machineTypes") -> str:
    """Return the name of the machine type (or of the disk type, by `collection`) that `value` refers to.

    Raises ApiError 400 for a malformed reference, an unknown type, or a type of another zone.
    """
    titles = {"machineTypes": "Machine", "diskTypes": "Disk"}
    known = {"machineTypes": set(machine_types()), "diskTypes": set(DISK_TYPES)}[collection]
    found = links.resolve(value, project, collection, field=field)
    if collection == "machineTypes" and not found.scope.startswith("zones/"):
        raise errors.malformed_url(field, value)
    if found.location != zone:
        raise errors.invalid(field, value, "Cross-zone reference for this resource is not allowed.")
    if found.name not in known:
        raise errors.invalid(
            field, value, f"{titles[collection]} type with name '{found.name}' does not exist in zone '{zone}'."
        )
    return found.name
