# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances.insert: everything is checked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rehearsal.compute import (
    addresses,
    catalogue,
    clock,
    disks,
    errors,
    fingerprints,
    guest_view,
    images,
    lifecycle,
    links,
    networks,
    operations,
    options,
    power,
    projects,
    records,
    resource_policies,
    validation,
)
from rehearsal.compute.mutations import mutation
from rehearsal.compute.operations import Progress
from rehearsal.compute.records import Record, Ref
from rehearsal.registry import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

# Taken over as they are; nothing in the rehearsal depends on them.
_ECHOED = (
    "advancedMachineFeatures", "canIpForward", "description", "displayDevice", "hostname", "keyRevocationActionType",
    "minCpuPlatform", "networkPerformanceConfig", "privateIpv6GoogleAccess", "reservationAffinity",
)  # fmt: skip


@dataclass
class BootDisk:
    """What the request says about the boot disk, checked; sizes in GB."""

    name: str
    device_name: str
    size_gb: int
    disk_type: str
    auto_delete: bool
    image: images.BootImage
    labels: dict[str, str]


@dataclass
class Interface:
    """What the request says about the network interface, checked."""

    resource: dict[str, Any]
    wants_external: bool = False
    static: str | None = None
    internal: str = ""
    field: str = field(default="resource.networkInterfaces[0].networkIP")


@mutation("compute.instances.insert", "compute.instances.create")
def insert(call: Call) -> dict[str, Any]:
    """Create and start a VM."""
    cloud, project, zone, body = call.cloud, call.project, catalogue.zone_of(call), call.body
    for parameter in ("sourceInstanceTemplate", "sourceMachineImage"):
        if call.params.get(parameter):
            raise errors.not_rehearsed(f"making a VM with {parameter}")
    ref = Ref(project, zone, validation.check_name(body.get("name")))
    machine_type = catalogue.machine_type_named(body.get("machineType", ""), project, zone, "resource.machineType")
    disk = _boot_disk(cloud, project, zone, body)
    region = catalogue.region_of_zone(zone)
    interface = _interface(cloud, project, region, body.get("networkInterfaces") or [])
    resource = _resource(call, ref, machine_type)
    _authorize_parts(call, resource, interface, disk)
    with cloud.store.lock:
        if cloud.store.get(records.KIND, ref.key):
            raise errors.already_exists(ref.path)
        if disks.exists(cloud, project, zone, disk.name):
            raise errors.already_exists(disks.path(project, zone, disk.name))
        internal = addresses.take_internal(cloud, project, region, interface.internal, interface.field)
        resource["disks"] = [_attached(project, zone, disk)]
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
        }
        operation = operations.create(cloud, ref.target(record), "insert", call.principal)
        records.save(cloud, record | {"busy": operation["name"]})
        made = disks.new_boot_disk(
            project,
            zone,
            disk.name,
            size_gb=disk.size_gb,
            disk_type=disk.disk_type,
            image=disk.image,
            labels=disk.labels,
        )
        disks.store(cloud, project, zone, made, guest=record["guest"], user=resource["selfLink"])
    return operations.run(cloud, operation, lambda progress: _provision(cloud, ref, progress))


def _authorize_parts(call: Call, resource: dict[str, Any], interface: Interface, disk: BootDisk) -> None:
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
            disks.remove(cloud, ref.project, ref.zone, links.last(attached["source"]))
        guest_view.forget_attributes(cloud, ref)
        cloud.store.delete(records.KIND, ref.key)
        operations.notify(cloud)


def _boot_disk(cloud: Cloud, project: str, zone: str, body: dict[str, Any]) -> BootDisk:
    given = body.get("disks") or []
    if not given:
        raise errors.invalid("resource.disks", "", "At least one disk, the boot disk, must be specified.")
    if not given[0].get("boot"):
        text = "Boot disk must be the first disk attached to the instance."
        raise errors.invalid("resource.disks[0].boot", "false", text)
    if len(given) > 1 or given[0].get("type", "PERSISTENT") != "PERSISTENT":
        raise errors.not_rehearsed("giving a VM more than one disk, or a scratch disk")
    if given[0].get("source"):
        raise errors.not_rehearsed("booting from an existing disk")
    parameters = given[0].get("initializeParams") or {}
    where = "resource.disks[0].initializeParams"
    if not parameters.get("sourceImage"):
        text = "A boot disk needs a source image."
        raise errors.invalid(f"{where}.sourceImage", parameters.get("sourceImage", ""), text)
    image = images.of_reference(cloud, parameters["sourceImage"], project, f"{where}.sourceImage")
    disk_type = "pd-standard"
    if parameters.get("diskType"):
        disk_type = catalogue.disk_type_named(parameters["diskType"], project, zone, f"{where}.diskType")
    given_size = parameters.get("diskSizeGb") or given[0].get("diskSizeGb")
    size = int(given_size) if given_size is not None else images.SIZE_GB
    if size < images.SIZE_GB:
        text = f"Requested disk size cannot be smaller than the image size ({images.SIZE_GB} GB)"
        raise errors.invalid(f"{where}.diskSizeGb", size, text)
    if size > 65536:
        raise errors.invalid(f"{where}.diskSizeGb", size, "Disk size cannot be greater than 65536 GB.")
    name = parameters.get("diskName") or body["name"]
    return BootDisk(
        name=validation.check_name(name, f"{where}.diskName"),
        device_name=given[0].get("deviceName") or "persistent-disk-0",
        size_gb=size,
        disk_type=disk_type,
        auto_delete=bool(given[0].get("autoDelete", False)),
        image=image,
        labels=validation.check_labels(parameters.get("labels"), f"{where}.labels"),
    )


def _attached(project: str, zone: str, disk: BootDisk) -> dict[str, Any]:
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "source": links.link(disks.path(project, zone, disk.name)),
        "deviceName": disk.device_name,
        "index": 0,
        "boot": True,
        "autoDelete": disk.auto_delete,
        "licenses": [disk.image.license],
        "interface": "SCSI",
        "guestOsFeatures": images.OS_FEATURES,
        "diskSizeGb": str(disk.size_gb),
        "architecture": "X86_64",
    }


def _interface(cloud: Cloud, project: str, region: str, given: list[dict[str, Any]]) -> Interface:
    if not given:
        raise errors.invalid("resource.networkInterfaces", "", "At least one network interface is required.")
    if len(given) > 1:
        raise errors.not_rehearsed("giving a VM more than one network interface")
    where = "resource.networkInterfaces[0]"
    wanted = given[0]
    if wanted.get("network"):
        networks.check_network(wanted["network"], project, f"{where}.network")
    if wanted.get("subnetwork"):
        networks.check_subnetwork(wanted["subnetwork"], project, region, f"{where}.subnetwork")
    checked = Interface(
        {
            "kind": "compute#networkInterface",
            "name": "nic0",
            "network": links.link(f"projects/{project}/global/networks/{networks.DEFAULT}"),
            "subnetwork": links.link(f"projects/{project}/regions/{region}/subnetworks/{networks.DEFAULT}"),
            "stackType": "IPV4_ONLY",
            "fingerprint": fingerprints.of([project, region, wanted]),
        }
    )
    checked.internal = wanted.get("networkIP") or ""
    access = wanted.get("accessConfigs") or []
    if len(access) > 1:
        raise errors.invalid(f"{where}.accessConfigs", "", "At most one access config currently supported.")
    if access:
        checked.wants_external = True
        checked.static = access[0].get("natIP") or None
        if checked.static:
            addresses.check_static(cloud, project, region, checked.static, f"{where}.accessConfigs[0].natIP")
        checked.resource["accessConfigs"] = [
            {
                "kind": "compute#accessConfig",
                "type": access[0].get("type", "ONE_TO_ONE_NAT"),
                # The client's own spelling: some compare it with what they asked for.
                "name": access[0].get("name", "External NAT"),
                "networkTier": access[0].get("networkTier", "PREMIUM"),
            }
        ]
    return checked


def _resource(call: Call, ref: Ref, machine_type: str) -> dict[str, Any]:
    """Return the Instance without its disks and interfaces."""
    body, project = call.body, ref.project
    if body.get("guestAccelerators"):
        raise errors.not_rehearsed("giving a VM a GPU")
    zone_path = f"projects/{project}/zones/{ref.zone}"
    items = validation.check_metadata((body.get("metadata") or {}).get("items"))
    options.check_os_login(call, items)
    labels = validation.check_labels(body.get("labels"))
    tags = validation.check_tags((body.get("tags") or {}).get("items") or [])
    resource: dict[str, Any] = {
        "kind": "compute#instance",
        "id": fingerprints.new_id(),
        "creationTimestamp": clock.timestamp(),
        "name": ref.name,
        "machineType": links.link(f"{zone_path}/machineTypes/{machine_type}"),
        "status": "PROVISIONING",
        "zone": links.link(zone_path),
        "selfLink": links.link(ref.path),
        "cpuPlatform": catalogue.CPU_PLATFORM,
        "canIpForward": False,
        "metadata": projects.metadata(items),
        "labelFingerprint": fingerprints.of(labels),
        "tags": {"fingerprint": fingerprints.of(tags)} | ({"items": tags} if tags else {}),
        "scheduling": validation.check_scheduling(body.get("scheduling")),
        "deletionProtection": bool(body.get("deletionProtection", False)),
        "startRestricted": False,
        "shieldedInstanceConfig": options.shielded(body.get("shieldedInstanceConfig")),
        "shieldedInstanceIntegrityPolicy": {"updateAutoLearnPolicy": True},
        "resourceStatus": {},
    }
    resource |= {name: body[name] for name in _ECHOED if body.get(name) is not None}
    if labels:
        resource["labels"] = labels
    accounts = options.service_accounts(call, body.get("serviceAccounts") or [])
    if accounts:
        resource["serviceAccounts"] = accounts
    policies = resource_policies.check_attachable(
        call.cloud, project, ref.zone, [], body.get("resourcePolicies") or [], "resource.resourcePolicies"
    )
    if policies:
        resource["resourcePolicies"] = policies
    resource["fingerprint"] = fingerprints.of([resource["id"], body])
    return resource
