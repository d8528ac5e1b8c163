# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances.insert: everything is checked before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import (
    addresses,
    catalogue,
    disks,
    errors,
    guest_view,
    lifecycle,
    links,
    operations,
    options,
    power,
    records,
    requested,
    validation,
)
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.operations import Progress
from rehearsal.services.compute.records import Record, Ref
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


@mutation(
    "compute.instances.insert",
    "compute.instances.create",
    also=(
        "compute.disks.create",
        "compute.disks.setLabels",
        "compute.instances.setLabels",
        "compute.instances.setMetadata",
        "compute.instances.setServiceAccount",
        "compute.instances.setTags",
        "compute.subnetworks.use",
        "compute.subnetworks.useExternalIp",
        "iam.serviceAccounts.actAs",
    ),
)
def insert(call: Call) -> dict[str, Any]:
    """Create and start a VM."""
    cloud, project, zone, body = call.cloud, call.project, catalogue.zone_of(call), call.body
    for parameter in ("sourceInstanceTemplate", "sourceMachineImage"):
        if call.params.get(parameter):
            raise errors.not_rehearsed(f"making a VM with {parameter}")
    ref = Ref(project, zone, validation.check_name(body.get("name")))
    machine_type = catalogue.type_named(body.get("machineType", ""), project, zone, "resource.machineType")
    disk = requested.boot_disk(cloud, project, zone, body)
    region = catalogue.region_of_zone(zone)
    interface = requested.interface(cloud, project, region, body.get("networkInterfaces") or [])
    resource = requested.resource(call, ref, machine_type)
    image_project = disk.image.path.split("/")[1]
    options.check_policies(call, ref, external=interface.wants_external, image_project=image_project)
    _authorize_parts(call, resource, interface, disk)
    with cloud.store.lock:
        records.INSTANCES.check_new(cloud, project, zone, ref.name)
        disks.DISKS.check_new(cloud, project, zone, disk.name)
        internal = addresses.take_internal(cloud, project, region, interface.internal, interface.field)
        resource["disks"] = [requested.attached(project, zone, disk)]
        resource["networkInterfaces"] = [interface.resource | {"networkIP": internal}]
        record: Record = {
            "project": project,
            "zone": zone,
            "name": ref.name,
            "resource": resource,
            "guest": f"{ref.name}-{resource['id']}",
            "family": disk.image.family,
            "image": disk.image.path,
            "internalIp": internal,
            "externalIp": None,
            "staticIp": interface.static,
            "wantsExternal": interface.wants_external,
            "deadline": None,
            "memory": catalogue.memory_bytes(machine_type),
            "busy": None,
        }
        operation = operations.create(cloud, ref.target(record), "insert", call.principal)
        record["busy"] = operation["name"]
        records.save(cloud, record)
        made = disks.new_boot_disk(
            project,
            zone,
            disk.name,
            size_gb=disk.size_gb,
            disk_type=disk.disk_type,
            image=disk.image,
            labels=disk.labels,
        )
        made |= {"users": [resource["selfLink"]]}
        disks.DISKS.put(cloud, project, zone, disk.name, {"resource": made, "guest": record["guest"]})
    return operations.run(cloud, operation, lambda progress: _provision(cloud, ref, progress))


def _authorize_parts(
    call: Call, resource: dict[str, Any], interface: requested.Interface, disk: requested.BootDisk
) -> None:
    """Check what Google asks for beside compute.instances.create, as the reference of instances.insert lists it."""
    needed = ["compute.disks.create", "compute.subnetworks.use"]
    needed += ["compute.subnetworks.useExternalIp"] if interface.wants_external else []
    needed += ["compute.instances.setMetadata"] if resource["metadata"].get("items") else []
    needed += ["compute.instances.setTags"] if resource["tags"].get("items") else []
    needed += ["compute.instances.setLabels"] if resource.get("labels") else []
    needed += ["compute.disks.setLabels"] if disk.labels else []
    needed += ["compute.instances.setServiceAccount"] if resource.get("serviceAccounts") else []
    for permission in needed:
        call.cloud.identity.authorize(call.principal, permission, call.project)


def _provision(cloud: Cloud, ref: Ref, progress: Progress) -> None:
    """Build the image where needed, make the guest and start it; leave nothing behind on failure."""
    record = records.load(cloud, ref)
    try:
        # Only what is needed is built, and only now: the first VM of a family waits for its image, and sees why.
        cloud.images.ensure(record["family"], lambda line: progress(20, line))
        progress(60, "Creating the guest")
        cloud.guests.create(
            record["guest"],
            hostname=ref.name,
            family=record["family"],
            memory_bytes=record["memory"],
            internal_ip=record["internalIp"],
        )
        lifecycle.boot(cloud, ref, progress, first=True)
    except Exception:
        discard(cloud, ref)
        raise
    power.notice_early_end(cloud, ref)


def discard(cloud: Cloud, ref: Ref) -> None:
    """Remove whatever an insert that did not succeed has made."""
    record = records.load(cloud, ref)
    try:
        cloud.guests.delete(record["guest"])
    finally:
        cloud.metadata.unregister(record["internalIp"])
        for attached in record["resource"]["disks"]:
            disks.DISKS.delete(cloud, ref.project, ref.zone, links.last(attached["source"]))
        guest_view.forget_attributes(cloud, ref)
        records.INSTANCES.records.delete(cloud.store, ref.key)
        operations.notify(cloud)
