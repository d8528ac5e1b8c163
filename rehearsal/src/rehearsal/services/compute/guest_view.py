# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest sees of itself through the metadata server, and the attributes that it publishes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.machine.metadata.view import MetadataView
from rehearsal.services.compute import links, projects, records
from rehearsal.services.compute.networks import RANGES
from rehearsal.services.compute.records import Record, Ref
from rehearsal.store import Documents

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

ATTRIBUTES: Documents[dict[str, str]] = Documents("compute.guestAttributes")


def register(cloud: Cloud, record: Record) -> None:
    """Answer the guest's metadata requests from its record, which is read anew for each of them."""
    ref = records.ref_of_record(record)
    accounts = record["resource"].get("serviceAccounts") or [None]

    def instance() -> dict[str, Any]:
        current = records.INSTANCES.records.get(cloud.store, ref.key)
        return describe(cloud, current) if current else {}

    view = MetadataView(
        project_id=ref.project,
        project_number=cloud.identity.project_number(ref.project),
        instance=instance,
        project_attributes=lambda: attributes(projects.common_items(cloud, ref.project)),
        service_account=accounts[0],
        put_guest_attribute=lambda namespace, key, value: put_attribute(cloud, ref, namespace, key, value),
        get_guest_attributes=lambda: guest_attributes(cloud, ref),
    )
    cloud.metadata.register(record["internalIp"], view)


def attributes(items: list[dict[str, str]]) -> dict[str, str]:
    """Return metadata items as a mapping."""
    return {item["key"]: item["value"] for item in items}


def describe(cloud: Cloud, record: Record) -> dict[str, Any]:
    """Return the `instance/` tree, in the metadata server's spelling."""
    resource = record["resource"]
    number = cloud.identity.project_number(record["project"])
    region = record["zone"].rpartition("-")[0]
    subnet = RANGES[region]
    access = [
        {"externalIp": config.get("natIP", ""), "type": config["type"]}
        for interface in resource["networkInterfaces"]
        for config in interface.get("accessConfigs", [])
    ]
    scheduling = resource["scheduling"]
    return {
        "id": int(resource["id"]),
        "name": resource["name"],
        "hostname": resource.get("hostname") or f"{resource['name']}.{record['zone']}.c.{record['project']}.internal",
        "description": resource.get("description", ""),
        "zone": f"projects/{number}/zones/{record['zone']}",
        "machineType": f"projects/{number}/machineTypes/{links.last(resource['machineType'])}",
        "cpuPlatform": resource["cpuPlatform"],
        "image": record["image"],
        "tags": resource["tags"].get("items", []),
        "attributes": attributes(resource["metadata"].get("items", [])),
        "disks": [
            {
                "deviceName": disk["deviceName"],
                "index": disk["index"],
                "interface": "SCSI",
                "mode": disk["mode"],
                "type": "PERSISTENT",
            }
            for disk in resource["disks"]
        ],
        "networkInterfaces": [
            {
                "accessConfigs": access,
                "dnsServers": ["169.254.169.254"],
                "forwardedIps": [],
                "gateway": str(subnet[1]),
                "ip": record["internalIp"],
                "ipAliases": [],
                "mtu": 1460,
                "network": f"projects/{number}/networks/default",
                "subnetmask": "255.255.255.255",
                "targetInstanceIps": [],
            }
        ],
        "scheduling": {
            "automaticRestart": str(scheduling["automaticRestart"]).upper(),
            "onHostMaintenance": scheduling["onHostMaintenance"],
            "preemptible": str(scheduling["preemptible"]).upper(),
        },
        "maintenanceEvent": "NONE",
        "preempted": "FALSE",
        "remainingCpuTime": -1,
        "virtualClock": {"driftToken": "0"},
    }


def attributes_enabled(cloud: Cloud, record: Record) -> bool:
    """Whether `enable-guest-attributes` is TRUE, in any case."""
    return records.effective(cloud, record, "enable-guest-attributes").strip().upper() == "TRUE"


def _check_enabled(cloud: Cloud, ref: Ref) -> None:
    record = records.INSTANCES.records.get(cloud.store, ref.key)
    if record is None or not attributes_enabled(cloud, record):
        raise PermissionError("Guest attributes endpoint access is disabled.")


def put_attribute(cloud: Cloud, ref: Ref, namespace: str, key: str, value: str) -> None:
    """Store an attribute that the guest publishes.

    Raises PermissionError unless guest attributes are enabled.
    """
    _check_enabled(cloud, ref)
    entry = {"namespace": namespace, "key": key, "value": value}
    ATTRIBUTES.put(cloud.store, f"{ref.key}/{namespace}/{key}", entry)


def stored_attributes(cloud: Cloud, ref: Ref) -> list[dict[str, str]]:
    """Return the attributes as `{"namespace", "key", "value"}`, in order."""
    return [entry for _, entry in ATTRIBUTES.list(cloud.store, f"{ref.key}/")]


def guest_attributes(cloud: Cloud, ref: Ref) -> dict[str, dict[str, str]]:
    """Return the attributes as the metadata server nests them: by namespace, by key.

    Raises PermissionError unless guest attributes are enabled.
    """
    _check_enabled(cloud, ref)
    nested: dict[str, dict[str, str]] = {}
    for entry in stored_attributes(cloud, ref):
        nested.setdefault(entry["namespace"], {})[entry["key"]] = entry["value"]
    return nested


def forget_attributes(cloud: Cloud, ref: Ref) -> None:
    """Forget what the guest published."""
    for key, _ in ATTRIBUTES.list(cloud.store, f"{ref.key}/"):
        ATTRIBUTES.delete(cloud.store, key)
