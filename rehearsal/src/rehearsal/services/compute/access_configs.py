# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances.addAccessConfig and deleteAccessConfig: a VM gets or loses its external address, running or not."""

from __future__ import annotations

from typing import Any

from rehearsal.services.compute import addresses, errors, fingerprints, operations, records
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.records import Record
from rehearsal.wire.calls import Call


@mutation("compute.instances.addAccessConfig", "compute.instances.addAccessConfig", "compute.subnetworks.useExternalIp")
def add_access_config(call: Call) -> dict[str, Any]:
    """Give the VM an ephemeral external address; a running guest has it at once."""
    if call.body.get("natIP"):
        raise errors.not_rehearsed("adding a reserved address to a VM that exists")
    access = {
        "kind": "compute#accessConfig",
        "type": "ONE_TO_ONE_NAT",
        "name": "External NAT",
        "networkTier": "PREMIUM",
    }
    return _change(call, "addAccessConfig", access | call.body)


@mutation("compute.instances.deleteAccessConfig", "compute.instances.deleteAccessConfig")
def delete_access_config(call: Call) -> dict[str, Any]:
    """Take the VM's external address away; a reserved one stays reserved."""
    return _change(call, "deleteAccessConfig", None)


def _change(call: Call, verb: str, access: dict[str, Any] | None) -> dict[str, Any]:
    cloud, ref = call.cloud, records.ref_of(call)
    with records.editing(cloud, ref) as record:
        if record["busy"]:
            raise errors.not_ready(ref.path)
        interface = _interface(call, record, present=access is None)
        running = record["resource"]["status"] == "RUNNING"
        address = addresses.take_external(cloud) if access and running else None
        record["wantsExternal"], record["staticIp"], record["externalIp"] = access is not None, None, address
        if access:
            interface["accessConfigs"] = [access | ({"natIP": address} if address else {})]
        else:
            del interface["accessConfigs"]
        record["resource"]["fingerprint"] = fingerprints.of([record["resource"]["id"], fingerprints.new_id()])
        if running:
            cloud.guests.start(record["guest"], address)  # a guest that runs only gets its address changed
        return operations.done(cloud, ref.target(record), verb, call.principal)


def _interface(call: Call, record: Record, *, present: bool) -> dict[str, Any]:
    """Return the network interface that the call names; 400 where its access config is there already, or is not."""
    named = call.params.get("networkInterface", "")
    interface: dict[str, Any] | None = next(
        (known for known in record["resource"]["networkInterfaces"] if known["name"] == named), None
    )
    if interface is None:
        raise errors.invalid("networkInterface", named, "The instance has no such network interface.")
    known = [access["name"] for access in interface.get("accessConfigs", [])]
    if not present and known:
        raise errors.invalid("accessConfigs", "", "At most one access config currently supported.")
    if present and call.params.get("accessConfig") not in known:
        raise errors.invalid(
            "accessConfig", call.params.get("accessConfig"), "The interface has no such access config."
        )
    return interface
