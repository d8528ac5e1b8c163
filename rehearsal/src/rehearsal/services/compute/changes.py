# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances.set*: what can be changed on an instance, some of it only while it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rehearsal.services.compute import (
    catalogue,
    errors,
    fingerprints,
    links,
    operations,
    options,
    projects,
    records,
    validation,
)
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.records import Record, Ref
from rehearsal.services.iam.resources import may_act_as
from rehearsal.wire.calls import Call

METADATA_MISMATCH = "Supplied fingerprint does not match current metadata fingerprint."
LABELS_MISMATCH = "Labels fingerprint either invalid or resource labels have changed"
TAGS_MISMATCH = "Supplied fingerprint does not match current tags fingerprint."


def _change(
    call: Call, operation_type: str, apply: Callable[[dict[str, Any]], None], *, stopped: bool = False
) -> dict[str, Any]:
    """Apply a change to the resource at once; return the finished operation. `stopped`: only while TERMINATED."""
    ref = records.ref_of(call)
    with records.editing(call.cloud, ref) as record:
        if stopped:
            _require_stopped(record, ref)
        apply(record["resource"])
        record["resource"]["fingerprint"] = fingerprints.of([record["resource"]["id"], fingerprints.new_id()])
        return operations.done(call.cloud, ref.target(record), operation_type, call.principal)


def _require_stopped(record: Record, ref: Ref) -> None:
    if record["busy"]:
        raise errors.not_ready(ref.path)
    if record["resource"]["status"] != "TERMINATED":
        raise errors.invalid_usage("Instance should be in the STOPPED state.")


@mutation("compute.instances.setMachineType", "compute.instances.setMachineType")
def set_machine_type(call: Call) -> dict[str, Any]:
    """Change the machine type of a stopped VM; the guest gets the new memory when it starts."""
    zone = catalogue.zone_of(call)
    name = catalogue.type_named(call.body.get("machineType", ""), call.project, zone, "resource.machineType")
    link = links.link(f"projects/{call.project}/zones/{zone}/machineTypes/{name}")
    return _change(call, "setMachineType", lambda resource: resource.update(machineType=link), stopped=True)


@mutation("compute.instances.setMetadata", "compute.instances.setMetadata", also=("iam.serviceAccounts.actAs",))
def set_metadata(call: Call) -> dict[str, Any]:
    """Replace the VM's metadata; wakes a guest that waits for a change."""
    items = validation.check_metadata(call.body.get("items"), "metadata")
    options.check_metadata(call, items)
    for account in records.load(call.cloud, records.ref_of(call))["resource"].get("serviceAccounts", []):
        may_act_as(call, account["email"], call.project)  # metadata can run anything as it

    def apply(resource: dict[str, Any]) -> None:
        if not fingerprints.same(call.body.get("fingerprint"), resource["metadata"]["fingerprint"]):
            raise errors.condition_not_met(METADATA_MISMATCH)
        resource["metadata"] = projects.metadata(items)

    return _and_wake(call, _change(call, "setMetadata", apply))


@mutation("compute.instances.setTags", "compute.instances.setTags")
def set_tags(call: Call) -> dict[str, Any]:
    """Replace the VM's network tags."""
    items = validation.check_tags(call.body.get("items") or [], "tags.items")

    def apply(resource: dict[str, Any]) -> None:
        if not fingerprints.same(call.body.get("fingerprint"), resource["tags"]["fingerprint"]):
            raise errors.condition_not_met(TAGS_MISMATCH)
        resource["tags"] = {"fingerprint": fingerprints.of(items)} | ({"items": items} if items else {})

    return _and_wake(call, _change(call, "setTags", apply))


def _and_wake(call: Call, operation: dict[str, Any]) -> dict[str, Any]:
    # After the store's lock is released: the metadata server takes its own lock first and the store's second.
    call.cloud.metadata.changed()
    return operation


@mutation("compute.instances.setLabels", "compute.instances.setLabels")
def set_labels(call: Call) -> dict[str, Any]:
    """Replace the VM's labels."""
    labels = validation.check_labels(call.body.get("labels"), "labels")

    def apply(resource: dict[str, Any]) -> None:
        if not fingerprints.same(call.body.get("labelFingerprint"), resource["labelFingerprint"]):
            raise errors.condition_not_met(LABELS_MISMATCH)
        resource.pop("labels", None)
        resource.update({"labelFingerprint": fingerprints.of(labels)} | ({"labels": labels} if labels else {}))

    return _change(call, "setLabels", apply)


@mutation("compute.instances.setScheduling", "compute.instances.setScheduling")
def set_scheduling(call: Call) -> dict[str, Any]:
    """Change the given scheduling options of a stopped VM; one that is given as null is removed."""

    def apply(resource: dict[str, Any]) -> None:
        merged = resource["scheduling"] | call.body
        resource["scheduling"] = validation.check_scheduling(merged, "scheduling")

    return _change(call, "setScheduling", apply, stopped=True)


@mutation(
    "compute.instances.setServiceAccount", "compute.instances.setServiceAccount", also=("iam.serviceAccounts.actAs",)
)
def set_service_account(call: Call) -> dict[str, Any]:
    """Change or remove the service account of a stopped VM."""
    given = [call.body] if call.body.get("email") or call.body.get("scopes") else []
    accounts = options.service_accounts(call, given)

    def apply(resource: dict[str, Any]) -> None:
        resource.pop("serviceAccounts", None)
        if accounts:
            resource["serviceAccounts"] = accounts

    return _change(call, "setServiceAccount", apply, stopped=True)


@mutation("compute.instances.updateShieldedInstanceConfig", "compute.instances.updateShieldedInstanceConfig")
def update_shielded_instance_config(call: Call) -> dict[str, Any]:
    """Change the given shielded VM options of a stopped VM."""

    def apply(resource: dict[str, Any]) -> None:
        resource["shieldedInstanceConfig"] = options.shielded(call.body, resource["shieldedInstanceConfig"])

    return _change(call, "updateShieldedInstanceConfig", apply, stopped=True)


@mutation("compute.instances.setDeletionProtection", "compute.instances.setDeletionProtection")
def set_deletion_protection(call: Call) -> dict[str, Any]:
    """Switch deletion protection on (the default of the method) or off."""
    wanted = call.params.get("deletionProtection", True)
    return _change(call, "setDeletionProtection", lambda resource: resource.update(deletionProtection=wanted))


@mutation("compute.instances.setDiskAutoDelete", "compute.instances.setDiskAutoDelete")
def set_disk_auto_delete(call: Call) -> dict[str, Any]:
    """Say whether a disk is deleted with the VM."""
    device, wanted = call.params.get("deviceName", ""), call.params.get("autoDelete", False)

    def apply(resource: dict[str, Any]) -> None:
        for disk in resource["disks"]:
            if disk["deviceName"] == device:
                disk["autoDelete"] = wanted
                return
        raise errors.invalid("deviceName", device, "No attached disk found with that device name.")

    return _change(call, "setDiskAutoDelete", apply)
