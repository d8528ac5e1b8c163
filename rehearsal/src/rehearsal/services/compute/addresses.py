# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.addresses, and the allocation of internal and external addresses.

External addresses come from 198.51.100.0/24 (a documentation range), one after the other: a VM that stops and starts
gets another one, as on Google. An internal address is the lowest free one of the region's subnetwork; it stays with
the VM.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rehearsal.errors import ApiError
from rehearsal.services.compute import (
    catalogue,
    errors,
    fingerprints,
    limits,
    networks,
    operations,
    records,
    validation,
)
from rehearsal.services.compute.kinds import StoredKind
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.operations import OperationError
from rehearsal.store import Documents
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

POINTERS: Documents[dict[str, int]] = Documents("compute.pointers")
EXTERNAL = ipaddress.IPv4Network("198.51.100.0/24")
# The network's and the bridge's own address; Google reserves two at the end of each range as well.
RESERVED_AT_START, RESERVED_AT_END = 2, 2


def take_external(cloud: Cloud) -> str:
    """Return the next free external address. Call with the store's lock held until the address is stored.

    Raises OperationError when all are taken.
    """
    taken = _external_in_use(cloud)
    hosts: list[str] = [str(host) for host in EXTERNAL.hosts()]
    pointer = (POINTERS.get(cloud.store, "external") or {"next": 0})["next"]
    for step in range(len(hosts)):
        position = (pointer + step) % len(hosts)
        if hosts[position] not in taken:
            POINTERS.put(cloud.store, "external", {"next": position + 1})
            return hosts[position]
    raise OperationError("IP_SPACE_EXHAUSTED", f"IP space of '{EXTERNAL}' is exhausted.", 503, "SERVICE UNAVAILABLE")


def _external_in_use(cloud: Cloud) -> set[str]:
    instances = {record["externalIp"] for record in records.INSTANCES.all(cloud)}
    static = {address["address"] for address in ADDRESSES.all(cloud)}
    return {address for address in instances | static if address}


def take_internal(cloud: Cloud, project: str, region: str, wanted: str = "", field: str = "") -> str:
    """Return an internal address of the region: `wanted` if given, else the lowest free one. Hold the store's lock.

    Raises ApiError 400 when `wanted` is outside the range or taken, or when none is left.
    """
    subnet = networks.RANGES[region]
    usable = [str(host) for host in subnet][RESERVED_AT_START:-RESERVED_AT_END]
    # Projects share one bridge here, so no two VMs of any project may have the same address.
    taken = {record["internalIp"] for record in records.INSTANCES.all(cloud)}
    if wanted:
        if wanted not in usable:
            text = f"Requested internal IP address is outside the subnetwork's range {subnet}."
            raise errors.invalid(field, wanted, text)
        if wanted in taken:
            text = f"IP '{wanted}' is already being used by another resource."
            raise ApiError(400, "resourceInUseByAnotherResource", text)
        return wanted
    for address in usable:
        if address not in taken:
            return address
    path = networks.SUBNETWORKS.path(project, region, networks.DEFAULT)
    raise ApiError(400, "ipSpaceExhausted", f"IP space of '{path}' is exhausted.")


def check_static(cloud: Cloud, project: str, region: str, address: str, field: str) -> None:
    """Raise ApiError 400 unless the external address is reserved in the region and free."""
    if all(static["address"] != address for static in ADDRESSES.all(cloud, project, region)):
        text = f"The specified external IP address '{address}' was not found in region '{region}'."
        raise errors.invalid(field, address, text)
    if _users(cloud, address):
        raise ApiError(400, "resourceInUseByAnotherResource", f"External IP address: {address} is already in-use.")


def _users(cloud: Cloud, address: str) -> list[str]:
    return [
        record["resource"]["selfLink"]
        for record in records.INSTANCES.all(cloud)
        if address in (record["externalIp"], record["staticIp"])
    ]


def _shown(cloud: Cloud, static: Resource) -> Resource:
    users = _users(cloud, static["address"])
    return static | ({"status": "IN_USE", "users": users} if users else {"status": "RESERVED"})


ADDRESSES: StoredKind[Resource] = StoredKind("addresses", "address", "region", _shown, "global")
ADDRESSES.serve("compute.addresses.get", "compute.addresses.list", "compute.addresses.aggregatedList")


@mutation("compute.addresses.insert", "compute.addresses.create")
def insert(call: Call) -> Resource:
    """Reserve an external address."""
    region = catalogue.region_of(call)
    name = validation.check_name(call.body.get("name"))
    labels = validation.check_labels(call.body.get("labels"))
    if call.body.get("addressType", "EXTERNAL") != "EXTERNAL" or call.body.get("address"):
        raise errors.not_rehearsed("reserving an internal address, or an address of your choice")
    used = limits.usage(call.cloud, call.project, region)["STATIC_ADDRESSES"]
    allowed = limits.limit(call.cloud, region, "STATIC_ADDRESSES")
    if used >= allowed:
        text = f"Quota 'STATIC_ADDRESSES' exceeded.  Limit: {allowed} in region {region}."
        raise ApiError(403, "quotaExceeded", text)
    with call.cloud.store.lock:
        ADDRESSES.check_new(call.cloud, call.project, region, name)
        static = ADDRESSES.head(call.project, region, name) | {
            "description": call.body.get("description", ""),
            "address": take_external(call.cloud),
            "addressType": "EXTERNAL",
            "networkTier": call.body.get("networkTier", "PREMIUM"),
            "labelFingerprint": fingerprints.of(labels),
        }
        static |= {"labels": labels} if labels else {}
        return ADDRESSES.create(call, region, static)


@mutation("compute.addresses.delete", "compute.addresses.delete")
def delete(call: Call) -> Resource:
    """Release a static address that no VM uses."""
    region = catalogue.region_of(call)
    with call.cloud.store.lock:
        static = ADDRESSES.load(call, region)
        target = ADDRESSES.remove(call, region, static, _users(call.cloud, static["address"]))
        return operations.done(call.cloud, target, "delete", call.principal)
