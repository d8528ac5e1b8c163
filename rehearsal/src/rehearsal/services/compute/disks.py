# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.disks. A VM's boot disk is its guest's file system; a disk that outlives its VM keeps the guest's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from rehearsal.services.compute import catalogue, clock, errors, fingerprints, images, links, operations, records
from rehearsal.services.compute.kinds import StoredKind
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.mutations import mutation
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


class Record(TypedDict):
    """A stored disk: what clients see of it, and the powered-off guest whose files it holds."""

    resource: Resource
    guest: str


DISKS: StoredKind[Record] = StoredKind("disks", "disk", "zone", lambda _, record: record["resource"])
DISKS.serve("compute.disks.get", "compute.disks.list", "compute.disks.aggregatedList")


def new_boot_disk(
    project: str, zone: str, name: str, *, size_gb: int, disk_type: str, image: images.BootImage, labels: dict[str, str]
) -> Resource:
    """Return the Disk that a VM boots from."""
    scope = f"projects/{project}/zones/{zone}"
    disk = DISKS.head(project, zone, name) | {
        "sizeGb": str(size_gb),
        "status": "READY",
        "sourceImage": links.link(image.path),
        "sourceImageId": fingerprints.stable_id(image.path),
        "type": links.link(f"{scope}/diskTypes/{disk_type}"),
        "licenses": [image.license],
        "licenseCodes": image.license_codes,
        "guestOsFeatures": images.OS_FEATURES,
        "architecture": "X86_64",
        "lastAttachTimestamp": clock.timestamp(),
        "labelFingerprint": fingerprints.of(labels),
        "physicalBlockSizeBytes": "4096",
        "enableConfidentialCompute": False,
    }
    return disk | ({"labels": labels} if labels else {})


def _show_size(cloud: Cloud, vm: str, disk: Resource) -> None:
    found = records.INSTANCES.records.get(cloud.store, vm)
    if found is not None:
        for attached in found["resource"]["disks"]:
            if attached["source"] == disk["selfLink"]:
                attached["diskSizeGb"] = disk["sizeGb"]
        records.save(cloud, found)


def detach_all(cloud: Cloud, record: records.Record) -> bool:
    """Delete the VM's autoDelete disks, leave the others without a user; return whether any is left."""
    kept, project, zone = False, record["project"], record["zone"]
    for attached in record["resource"]["disks"]:
        name = links.last(attached["source"])
        with cloud.store.lock:
            disk = DISKS.find(cloud, project, zone, name)
            if disk is None:
                continue
            if attached["autoDelete"]:
                DISKS.delete(cloud, project, zone, name)
                continue
            kept = True
            disk["resource"].pop("users", None)
            disk["resource"]["lastDetachTimestamp"] = clock.timestamp()
            DISKS.put(cloud, project, zone, name, disk)
    return kept


@mutation("compute.disks.resize", "compute.disks.resize")
def resize(call: Call) -> Resource:
    """Make a disk larger; the guest's file system is this machine's, and has no size."""
    zone, wanted = catalogue.zone_of(call), int(call.body.get("sizeGb") or 0)
    with call.cloud.store.lock:
        record = DISKS.load(call, zone)
        disk = record["resource"]
        if not int(disk["sizeGb"]) <= wanted <= 65536:
            text = f"Disk size must be between {disk['sizeGb']} GB, which it has, and 65536 GB."
            raise errors.invalid("sizeGb", wanted, text)
        disk["sizeGb"] = str(wanted)
        DISKS.put(call.cloud, call.project, zone, disk["name"], record)
        for user in disk.get("users", []):
            _show_size(call.cloud, f"{call.project}/{zone}/{links.last(user)}", disk)
        return operations.done(call.cloud, DISKS.target(call.project, zone, disk), "resizeDisk", call.principal)


@mutation("compute.disks.delete", "compute.disks.delete")
def delete(call: Call) -> Resource:
    """Delete a disk that no VM uses, and with it the files of the VM that it was the boot disk of."""
    zone = catalogue.zone_of(call)
    with call.cloud.store.lock:
        record = DISKS.load(call, zone)
        disk = record["resource"]
        target = DISKS.target(call.project, zone, disk)
        if disk.get("users"):
            raise errors.in_use(target.path, links.path_of(disk["users"][0]))
        DISKS.delete(call.cloud, call.project, zone, disk["name"])
        operation = operations.create(call.cloud, target, "delete", call.principal)
    return operations.run(call.cloud, operation, lambda progress: call.cloud.guests.delete(record["guest"]))
