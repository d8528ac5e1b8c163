# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances.start, stop, reset, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import clock, errors, lifecycle, operations, records
from rehearsal.services.compute.mutations import mutation
from rehearsal.services.compute.operations import Progress
from rehearsal.services.compute.records import Record, Ref
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


def _run(
    cloud: Cloud, ref: Ref, operation: dict[str, Any], act: operations.Work, *, runs: bool = False
) -> dict[str, Any]:
    """Act in the background once no other operation has the instance; `runs`: the guest is to run afterwards."""

    def work(progress: Progress) -> None:
        records.claim(cloud, ref, operation["name"])
        try:
            act(progress)
        finally:
            records.release(cloud, ref, operation["name"])
            if runs:
                notice_early_end(cloud, ref)

    return operations.run(cloud, operation, work)


@mutation("compute.instances.start", "compute.instances.start")
def start(call: Call) -> dict[str, Any]:
    """Start a stopped VM; on a running one the operation succeeds and changes nothing."""
    return begin_start(call.cloud, records.ref_of(call), "start", call.principal)


def begin_start(cloud: Cloud, ref: Ref, operation_type: str, user: str) -> dict[str, Any]:
    """Start an operation that boots the VM.

    Raises ApiError 400 while another operation has it.
    """
    with cloud.store.lock:
        record = records.load(cloud, ref)
        if record["busy"]:
            raise errors.not_ready(ref.path)
        if record["resource"]["status"] == "RUNNING":
            return operations.done(cloud, ref.target(record), operation_type, user)
        check_time_left(record)
        operation = operations.create(cloud, ref.target(record), operation_type, user)
        record["resource"]["status"] = "PROVISIONING"
        record["busy"] = operation["name"]
        records.save(cloud, record)

    return _run(cloud, ref, operation, lambda progress: lifecycle.boot(cloud, ref, progress), runs=True)


def notice_early_end(cloud: Cloud, ref: Ref) -> None:
    """Catch a guest that ended while an operation still had the instance, when its end was not yet news."""
    record = records.INSTANCES.records.get(cloud.store, ref.key)
    if record and record["resource"]["status"] == "RUNNING" and not cloud.guests.is_running(record["guest"]):
        begin_guest_terminate(cloud, ref)


def begin_guest_terminate(cloud: Cloud, ref: Ref) -> None:
    """Start the operation by which Google shows that a guest powered itself off, unless another has the VM."""
    with cloud.store.lock:
        record = records.INSTANCES.records.get(cloud.store, ref.key)
        if record is None or record["busy"] or record["resource"]["status"] != "RUNNING":
            return
        begin_stop(cloud, ref, "compute.instances.guestTerminate", operations.SYSTEM)


def check_time_left(record: Record) -> None:
    """Raise ApiError 400 when the VM's termination time has passed: it would stop at once."""
    until = record["resource"]["scheduling"].get("terminationTime")
    if until and clock.parse(until) <= clock.now():
        raise errors.invalid_usage(f"The termination time {until} of the instance has passed; set another one first")


@mutation("compute.instances.stop", "compute.instances.stop")
def stop(call: Call) -> dict[str, Any]:
    """Power a VM off; on a stopped one the operation succeeds and changes nothing."""
    return begin_stop(call.cloud, records.ref_of(call), "stop", call.principal)


def begin_stop(cloud: Cloud, ref: Ref, operation_type: str, user: str) -> dict[str, Any]:
    """Start an operation that powers the VM off, after whatever other operation has it."""
    with cloud.store.lock:
        record = records.load(cloud, ref)
        if record["resource"]["status"] == "TERMINATED" and not record["busy"]:
            return operations.done(cloud, ref.target(record), operation_type, user)
        operation = operations.create(cloud, ref.target(record), operation_type, user)
        if not record["busy"]:
            record["resource"]["status"] = "STOPPING"
            record["busy"] = operation["name"]
            records.save(cloud, record)

    def halt(_progress: Progress) -> None:
        if records.load(cloud, ref)["resource"]["status"] != "TERMINATED":
            lifecycle.halt(cloud, ref)

    return _run(cloud, ref, operation, halt)


@mutation("compute.instances.reset", "compute.instances.reset")
def reset(call: Call) -> dict[str, Any]:
    """Restart a running VM."""
    cloud, ref = call.cloud, records.ref_of(call)
    with cloud.store.lock:
        record = records.load(cloud, ref)
        if record["busy"] or record["resource"]["status"] != "RUNNING":
            raise errors.not_ready(ref.path)
        operation = operations.create(cloud, ref.target(record), "reset", call.principal)
        record["busy"] = operation["name"]
        records.save(cloud, record)

    return _run(cloud, ref, operation, lambda _progress: lifecycle.reset(cloud, ref), runs=True)


@mutation("compute.instances.delete", "compute.instances.delete")
def delete(call: Call) -> dict[str, Any]:
    """Delete a VM, and with it the disks that are marked autoDelete."""
    ref = records.ref_of(call)
    record = records.load(call.cloud, ref)
    if record["resource"]["deletionProtection"]:
        raise errors.invalid_usage("Resource cannot be deleted if it's protected against deletion.")
    return begin_delete(call.cloud, ref, call.principal)


def begin_delete(cloud: Cloud, ref: Ref, user: str) -> dict[str, Any]:
    """Start an operation that deletes the VM, after whatever other operation has it."""
    with cloud.store.lock:
        record = records.load(cloud, ref)
        operation = operations.create(cloud, ref.target(record), "delete", user)
        # Written down, so that a control plane that dies half-way finishes the deletion when it comes back.
        record["deleting"] = operation["name"]
        if not record["busy"]:
            record["busy"] = operation["name"]
            if record["resource"]["status"] != "TERMINATED":
                record["resource"]["status"] = "STOPPING"
        records.save(cloud, record)

    return _run(cloud, ref, operation, lambda _progress: lifecycle.erase(cloud, ref))
