# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.zones, regions, machineTypes, diskTypes: what a project finds there without having made it."""

from __future__ import annotations

from rehearsal.services.compute import catalogue, limits, links
from rehearsal.services.compute.kinds import Kind
from rehearsal.services.compute.listing import Resource
from rehearsal.wire.calls import Call


def _zones(call: Call, _place: str) -> list[Resource]:
    return [
        ZONES.head(call.project, "", zone, always=f"zones/{zone}")
        | {
            "description": zone,
            "status": "UP",
            "region": links.link(f"projects/{call.project}/regions/{catalogue.region_of_zone(zone)}"),
            "availableCpuPlatforms": ["Intel Skylake", catalogue.CPU_PLATFORM, "Intel Haswell"],
            "supportsPzs": False,
        }
        for zone in catalogue.ZONES
    ]


def _regions(call: Call, _place: str) -> list[Resource]:
    return [
        REGIONS.head(call.project, "", region, always=f"regions/{region}")
        | {
            "description": region,
            "status": "UP",
            "zones": [links.link(f"projects/{call.project}/zones/{region}-{letter}") for letter in letters],
            "quotas": limits.region_quotas(call.cloud, call.project, region),
            "supportsPzs": False,
        }
        for region, letters in catalogue.REGIONS.items()
    ]


def _machine_types(call: Call, zone: str) -> list[Resource]:
    return [
        MACHINE_TYPES.head(call.project, zone, name, always=f"machineTypes/{name}")
        | {"zone": zone, "architecture": "X86_64", "imageSpaceGb": 0}
        | properties
        for name, properties in catalogue.machine_types().items()
    ]


def _disk_types(call: Call, zone: str) -> list[Resource]:
    return [
        DISK_TYPES.head(call.project, zone, name, always=f"diskTypes/{name}")
        | {"description": description, "defaultDiskSizeGb": default_size, "validDiskSize": sizes}
        for name, (description, default_size, sizes) in catalogue.DISK_TYPES.items()
    ]


ZONES = Kind("zones", "zone", "", _zones)
ZONES.serve("compute.zones.get", "compute.zones.list")
REGIONS = Kind("regions", "region", "", _regions)
REGIONS.serve("compute.regions.get", "compute.regions.list")
MACHINE_TYPES = Kind("machineTypes", "machineType", "zone", _machine_types)
MACHINE_TYPES.serve("compute.machineTypes.get", "compute.machineTypes.list", "compute.machineTypes.aggregatedList")
DISK_TYPES = Kind("diskTypes", "diskType", "zone", _disk_types)
DISK_TYPES.serve("compute.diskTypes.get", "compute.diskTypes.list")
