# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.disks. A VM's boot disk is its guest's file system; a disk that outlives its VM keeps the guest's files.

A stored disk is `{"resource", "guest"}`: `guest` names the powered-off guest whose files it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import catalogue, clock, errors, fingerprints, images, links, operations
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.services.compute.mutations import mutation
from rehearsal.wire.calls import Call, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

KIND = "compute.disks"


def path(project: str, zone: str, name: str) -> str:
    """Return the path of a disk from `projects/` on."""
    return f"projects/{project}/zones/{zone}/disks/{name}"


def new_boot_disk(
    project: str, zone: str, name: str, *, size_gb: int, disk_type: str, image: images.BootImage, labels: dict[str, str]
) -> Resource:
    """Return the Disk that a VM boots from."""
    scope = f"projects/{project}/zones/{zone}"
    disk: Resource = {
        "kind": "compute#disk",
        "id": fingerprints.new_id(),
        "creationTimestamp": clock.timestamp(),
        "name": name,
        "sizeGb": str(size_gb),
        "zone": links.link(scope),
        "status": "READY",
        "selfLink": links.link(path(project, zone, name)),
        "sourceImage": links.link(image.path),
        "sourceImageId": fingerprints.stable_id(image.path),
        "type": links.link(f"{scope}/diskTypes/{disk_type}"),
        "licenses": [image.license],
        "guestOsFeatures": images.OS_FEATURES,
        "architecture": "X86_64",
        "lastAttachTimestamp": clock.timestamp(),
        "labelFingerprint": fingerprints.of(labels),
        "physicalBlockSizeBytes": "4096",
        "enableConfidentialCompute": False,
    }
    return disk | ({"labels": labels} if labels else {})


def store(cloud: Cloud, project: str, zone: str, disk: Resource, *, guest: str, user: str) -> None:
    """Write down a disk that a VM (`user`, its URL) uses."""
    cloud.store.put(KIND, f"{project}/{zone}/{disk['name']}", {"resource": disk | {"users": [user]}, "guest": guest})


def exists(cloud: Cloud, project: str, zone: str, name: str) -> bool:
    """Whether the zone has a disk of that name."""
    return cloud.store.get(KIND, f"{project}/{zone}/{name}") is not None


def detach_all(cloud: Cloud, record: dict[str, Any]) -> bool:
    """Delete the VM's autoDelete disks, leave the others without a user; return whether any is left."""
    kept = False
    for attached in record["resource"]["disks"]:
        key = f"{record['project']}/{record['zone']}/{links.last(attached['source'])}"
        with cloud.store.lock:
            document = cloud.store.get(KIND, key)
            if document is None:
                continue
            if attached["autoDelete"]:
                cloud.store.delete(KIND, key)
                continue
            kept = True
            document["resource"].pop("users", None)
            document["resource"]["lastDetachTimestamp"] = clock.timestamp()
            cloud.store.put(KIND, key, document)
    return kept


def remove(cloud: Cloud, project: str, zone: str, name: str) -> None:
    """Forget a disk whose VM never came to be."""
    cloud.store.delete(KIND, f"{project}/{zone}/{name}")


def _existing(call: Call, zone: str) -> dict[str, Any]:
    name = call.params["disk"]
    document = call.cloud.store.get(KIND, f"{call.project}/{zone}/{name}")
    if document is None:
        raise errors.not_found(path(call.project, zone, name))
    return document


def _in_zone(call: Call, zone: str) -> list[Resource]:
    return [document["resource"] for _, document in call.cloud.store.list(KIND, f"{call.project}/{zone}/")]


@method("compute.disks.get", permission="compute.disks.get")
def get(call: Call) -> Resource:
    """Return a disk."""
    disk: Resource = _existing(call, catalogue.zone_of(call))["resource"]
    return disk


@method("compute.disks.list", permission="compute.disks.list")
def list_disks(call: Call) -> Resource:
    """List the disks of a zone."""
    zone = catalogue.zone_of(call)
    collection = f"projects/{call.project}/zones/{zone}/disks"
    return page(call, _in_zone(call, zone), kind="compute#diskList", path=collection)


@method("compute.disks.aggregatedList", permission="compute.disks.list")
def list_all(call: Call) -> Resource:
    """List the disks of all zones."""
    scoped = {f"zones/{zone}": _in_zone(call, zone) for zone in catalogue.ZONES}
    collection = f"projects/{call.project}/aggregated/disks"
    return aggregated(call, scoped, kind="compute#diskAggregatedList", path=collection, member="disks")


@mutation("compute.disks.delete", "compute.disks.delete")
def delete(call: Call) -> Resource:
    """Delete a disk that no VM uses, and with it the files of the VM that it was the boot disk of."""
    zone = catalogue.zone_of(call)
    with call.cloud.store.lock:
        document = _existing(call, zone)
        disk, guest = document["resource"], document["guest"]
        where = path(call.project, zone, disk["name"])
        if disk.get("users"):
            raise errors.in_use(where, links.path_of(disk["users"][0]))
        call.cloud.store.delete(KIND, f"{call.project}/{zone}/{disk['name']}")
        target = operations.Target(call.project, f"zones/{zone}", where, disk["id"])
        operation = operations.create(call.cloud, target, "delete", call.principal)
    return operations.run(call.cloud, operation, lambda progress: call.cloud.guests.delete(guest))
