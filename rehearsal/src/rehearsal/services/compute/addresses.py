# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.addresses, and the allocation of internal and external addresses.

External addresses come from 198.51.100.0/24 (a documentation range), one after the other: a VM that stops and starts
gets another one, as on Google. An internal address is the lowest free one of the region's subnetwork; it stays with
the VM.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from rehearsal.errors import ApiError
from rehearsal.services.compute import (
    catalogue,
    clock,
    errors,
    fingerprints,
    limits,
    links,
    networks,
    operations,
    validation,
)
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.operations import OperationError
from rehearsal.wire.calls import Call, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

KIND = "compute.addresses"
EXTERNAL = ipaddress.IPv4Network("198.51.100.0/24")
# The network's and the bridge's own address; Google reserves two at the end of each range as well.
RESERVED_AT_START, RESERVED_AT_END = 2, 2


def take_external(cloud: Cloud) -> str:
    """Return the next free external address. Call with the store's lock held until the address is stored.

    Raises OperationError when all are taken.
    """
    taken = _external_in_use(cloud)
    hosts: list[str] = [str(host) for host in EXTERNAL.hosts()]
    pointer = int((cloud.store.get("compute.pointers", "external") or {"next": 0})["next"])
    for step in range(len(hosts)):
        position = (pointer + step) % len(hosts)
        if hosts[position] not in taken:
            cloud.store.put("compute.pointers", "external", {"next": position + 1})
            return hosts[position]
    raise OperationError("IP_SPACE_EXHAUSTED", f"IP space of '{EXTERNAL}' is exhausted.", 503, "SERVICE UNAVAILABLE")


def _external_in_use(cloud: Cloud) -> set[str]:
    instances = {document.get("externalIp") for _, document in cloud.store.list("compute.instances")}
    static = {address["address"] for _, address in cloud.store.list(KIND)}
    return {address for address in instances | static if address}


def take_internal(cloud: Cloud, project: str, region: str, wanted: str = "", field: str = "") -> str:
    """Return an internal address of the region: `wanted` if given, else the lowest free one. Hold the store's lock.

    Raises ApiError 400 when `wanted` is outside the range or taken, or when none is left.
    """
    subnet = networks.RANGES[region]
    usable = [str(host) for host in subnet][RESERVED_AT_START:-RESERVED_AT_END]
    # Projects share one bridge here, so no two VMs of any project may have the same address.
    taken = {document["internalIp"] for _, document in cloud.store.list("compute.instances")}
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
    path = f"projects/{project}/regions/{region}/subnetworks/{networks.DEFAULT}"
    raise ApiError(400, "ipSpaceExhausted", f"IP space of '{path}' is exhausted.")


def check_static(cloud: Cloud, project: str, region: str, address: str, field: str) -> None:
    """Raise ApiError 400 unless the external address is reserved in the region and free."""
    reserved = _by_address(cloud, project, region, address)
    if reserved is None:
        text = f"The specified external IP address '{address}' was not found in region '{region}'."
        raise errors.invalid(field, address, text)
    if _users(cloud, address):
        raise ApiError(400, "resourceInUseByAnotherResource", f"External IP address: {address} is already in-use.")


def _by_address(cloud: Cloud, project: str, region: str, address: str) -> Resource | None:
    found = cloud.store.list(KIND, f"{project}/{region}/")
    return next((static for _, static in found if static["address"] == address), None)


def _users(cloud: Cloud, address: str) -> list[str]:
    return [
        document["resource"]["selfLink"]
        for _, document in cloud.store.list("compute.instances")
        if address in (document.get("externalIp"), document.get("staticIp"))
    ]


def _resource(cloud: Cloud, static: Resource) -> Resource:
    users = _users(cloud, static["address"])
    return static | ({"status": "IN_USE", "users": users} if users else {"status": "RESERVED"})


def _path(project: str, region: str, name: str) -> str:
    return f"projects/{project}/regions/{region}/addresses/{name}"


def _existing(call: Call, region: str) -> Resource:
    name = call.params["address"]
    static = call.cloud.store.get(KIND, f"{call.project}/{region}/{name}")
    if static is None:
        raise errors.not_found(_path(call.project, region, name))
    return static


@method("compute.addresses.get", permission="compute.addresses.get")
def get(call: Call) -> Resource:
    """Return a static address."""
    return _resource(call.cloud, _existing(call, catalogue.region_of(call)))


@method("compute.addresses.list", permission="compute.addresses.list")
def list_addresses(call: Call) -> Resource:
    """List the static addresses of a region."""
    region = catalogue.region_of(call)
    path = f"projects/{call.project}/regions/{region}/addresses"
    return page(call, _in_region(call, region), kind="compute#addressList", path=path)


@method("compute.addresses.aggregatedList", permission="compute.addresses.list")
def list_all(call: Call) -> Resource:
    """List the static addresses of all regions."""
    scoped: dict[str, list[Resource]] = {"global": []}
    scoped |= {f"regions/{region}": _in_region(call, region) for region in catalogue.REGIONS}
    path = f"projects/{call.project}/aggregated/addresses"
    return aggregated(call, scoped, kind="compute#addressAggregatedList", path=path, member="addresses")


def _in_region(call: Call, region: str) -> list[Resource]:
    found = call.cloud.store.list(KIND, f"{call.project}/{region}/")
    return [_resource(call.cloud, static) for _, static in found]


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
        if call.cloud.store.get(KIND, f"{call.project}/{region}/{name}"):
            raise errors.already_exists(_path(call.project, region, name))
        static: dict[str, Any] = {
            "kind": "compute#address",
            "id": fingerprints.new_id(),
            "creationTimestamp": clock.timestamp(),
            "name": name,
            "description": call.body.get("description", ""),
            "address": take_external(call.cloud),
            "addressType": "EXTERNAL",
            "networkTier": call.body.get("networkTier", "PREMIUM"),
            "labelFingerprint": fingerprints.of(labels),
            "region": links.link(f"projects/{call.project}/regions/{region}"),
            "selfLink": links.link(_path(call.project, region, name)),
        } | ({"labels": labels} if labels else {})
        call.cloud.store.put(KIND, f"{call.project}/{region}/{name}", static)
        return operations.done(call.cloud, _target(call, region, static), "insert", call.principal)


@mutation("compute.addresses.delete", "compute.addresses.delete")
def delete(call: Call) -> Resource:
    """Release a static address that no VM uses."""
    region = catalogue.region_of(call)
    with call.cloud.store.lock:
        static = _existing(call, region)
        users = _users(call.cloud, static["address"])
        if users:
            raise errors.in_use(_path(call.project, region, static["name"]), links.path_of(users[0]))
        call.cloud.store.delete(KIND, f"{call.project}/{region}/{static['name']}")
        return operations.done(call.cloud, _target(call, region, static), "delete", call.principal)


def _target(call: Call, region: str, static: Resource) -> operations.Target:
    return operations.Target(
        call.project, f"regions/{region}", _path(call.project, region, static["name"]), static["id"]
    )
