# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.zones, regions, machineTypes, diskTypes: what a project finds there without having made it."""

from __future__ import annotations

from rehearsal.services.compute import catalogue, errors, limits
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.wire.calls import Call, method


@method("compute.zones.get", permission="compute.zones.get")
def get_zone(call: Call) -> Resource:
    """Return a zone."""
    return catalogue.zone_resource(call.project, _known(call, "zone", catalogue.ZONES, "zones"))


@method("compute.zones.list", permission="compute.zones.list")
def list_zones(call: Call) -> Resource:
    """List the zones."""
    zones = [catalogue.zone_resource(call.project, zone) for zone in catalogue.ZONES]
    return page(call, zones, kind="compute#zoneList", path=f"projects/{call.project}/zones")


@method("compute.regions.get", permission="compute.regions.get")
def get_region(call: Call) -> Resource:
    """Return a region with its quotas and what is used of them."""
    region = _known(call, "region", tuple(catalogue.REGIONS), "regions")
    return catalogue.region_resource(call.project, region, limits.region_quotas(call.cloud, call.project, region))


@method("compute.regions.list", permission="compute.regions.list")
def list_regions(call: Call) -> Resource:
    """List the regions."""
    regions = [
        catalogue.region_resource(call.project, region, limits.region_quotas(call.cloud, call.project, region))
        for region in catalogue.REGIONS
    ]
    return page(call, regions, kind="compute#regionList", path=f"projects/{call.project}/regions")


@method("compute.machineTypes.get", permission="compute.machineTypes.get")
def get_machine_type(call: Call) -> Resource:
    """Return a machine type of a zone."""
    zone = catalogue.zone_of(call)
    name = _known(call, "machineType", tuple(catalogue.machine_types()), f"zones/{zone}/machineTypes")
    return catalogue.machine_type_resource(call.project, zone, name)


@method("compute.machineTypes.list", permission="compute.machineTypes.list")
def list_machine_types(call: Call) -> Resource:
    """List the machine types of a zone."""
    zone = catalogue.zone_of(call)
    path = f"projects/{call.project}/zones/{zone}/machineTypes"
    return page(call, _machine_types(call, zone), kind="compute#machineTypeList", path=path)


@method("compute.machineTypes.aggregatedList", permission="compute.machineTypes.list")
def list_all_machine_types(call: Call) -> Resource:
    """List the machine types of all zones."""
    scoped = {f"zones/{zone}": _machine_types(call, zone) for zone in catalogue.ZONES}
    path = f"projects/{call.project}/aggregated/machineTypes"
    return aggregated(call, scoped, kind="compute#machineTypeAggregatedList", path=path, member="machineTypes")


@method("compute.diskTypes.get", permission="compute.diskTypes.get")
def get_disk_type(call: Call) -> Resource:
    """Return a disk type of a zone."""
    zone = catalogue.zone_of(call)
    name = _known(call, "diskType", tuple(catalogue.DISK_TYPES), f"zones/{zone}/diskTypes")
    return catalogue.disk_type_resource(call.project, zone, name)


@method("compute.diskTypes.list", permission="compute.diskTypes.list")
def list_disk_types(call: Call) -> Resource:
    """List the disk types of a zone."""
    zone = catalogue.zone_of(call)
    types = [catalogue.disk_type_resource(call.project, zone, name) for name in catalogue.DISK_TYPES]
    path = f"projects/{call.project}/zones/{zone}/diskTypes"
    return page(call, types, kind="compute#diskTypeList", path=path)


def _machine_types(call: Call, zone: str) -> list[Resource]:
    return [catalogue.machine_type_resource(call.project, zone, name) for name in catalogue.machine_types()]


def _known(call: Call, parameter: str, names: tuple[str, ...], collection: str) -> str:
    name: str = call.params[parameter]
    if name not in names:
        raise errors.not_found(f"projects/{call.project}/{collection}/{name}")
    return name
