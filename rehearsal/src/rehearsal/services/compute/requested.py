# SPDX-License-Identifier: GPL-3.0-or-later
"""What the body of compute.instances.insert asks for: checked, and as the parts of the Instance that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import (
    addresses,
    catalogue,
    disks,
    errors,
    fingerprints,
    images,
    links,
    networks,
    options,
    projects,
    resource_policies,
    validation,
)
from rehearsal.services.compute.records import INSTANCES, Ref
from rehearsal.wire.calls import Call

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


def boot_disk(cloud: Cloud, project: str, zone: str, body: dict[str, Any]) -> BootDisk:
    """Check and return the boot disk; raises the error that Google answers."""
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
        disk_type = catalogue.type_named(parameters["diskType"], project, zone, f"{where}.diskType", "diskTypes")
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


def attached(project: str, zone: str, disk: BootDisk) -> dict[str, Any]:
    """Return the disk as a part of the Instance."""
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "source": links.link(disks.DISKS.path(project, zone, disk.name)),
        "deviceName": disk.device_name,
        "index": 0,
        "boot": True,
        "autoDelete": disk.auto_delete,
        "licenses": [disk.image.license],
        "interface": "SCSI",
        "guestOsFeatures": images.OS_FEATURES,
        "shieldedInstanceInitialState": images.SECURE_BOOT,
        "diskSizeGb": str(disk.size_gb),
        "architecture": "X86_64",
    }


def interface(cloud: Cloud, project: str, region: str, given: list[dict[str, Any]]) -> Interface:
    """Check and return the network interface; raises the error that Google answers."""
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
            "network": links.link(networks.NETWORKS.path(project, "", networks.DEFAULT)),
            "subnetwork": links.link(networks.SUBNETWORKS.path(project, region, networks.DEFAULT)),
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


def resource(call: Call, ref: Ref, machine_type: str) -> dict[str, Any]:
    """Return the Instance without its disks and interfaces."""
    body, project = call.body, ref.project
    if body.get("guestAccelerators"):
        raise errors.not_rehearsed("giving a VM a GPU")
    zone_path = f"projects/{project}/zones/{ref.zone}"
    items = validation.check_metadata((body.get("metadata") or {}).get("items"))
    options.check_metadata(call, items)
    labels = validation.check_labels(body.get("labels"))
    tags = validation.check_tags((body.get("tags") or {}).get("items") or [])
    resource = INSTANCES.head(project, ref.zone, ref.name) | {
        "machineType": links.link(f"{zone_path}/machineTypes/{machine_type}"),
        "status": "PROVISIONING",
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
        "satisfiesPzi": True,
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
