# SPDX-License-Identifier: GPL-3.0-or-later
"""What starting, stopping and deleting an instance does: to its guest, its addresses, its disks and its record.

These functions run inside operations that have claimed the instance (see `records.claim`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rehearsal import trouble
from rehearsal.services.compute import (
    addresses,
    catalogue,
    clock,
    disks,
    guest_view,
    limits,
    links,
    operations,
    records,
)
from rehearsal.services.compute.operations import OperationError, Progress
from rehearsal.services.compute.records import Record, Ref

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

_log = logging.getLogger(__name__)


def boot(cloud: Cloud, ref: Ref, progress: Progress, *, first: bool = False) -> None:
    """Start the guest; the instance is RUNNING and released afterwards, or TERMINATED and the operation failed.

    `first` keeps hold of an instance that did not start: an insert that failed must remove it.

    Raises OperationError for a stock-out, an exceeded quota, or a guest that does not start.
    """
    try:
        record = records.load(cloud, ref)
        machine_type = links.last(record["resource"]["machineType"])
        limits.check_stock(cloud, ref.project, ref.zone, machine_type)
        with cloud.store.lock:
            record = records.load(cloud, ref)
            record["resource"]["status"] = "STAGING"
            if record["wantsExternal"]:
                _set_external(record, record["staticIp"] or addresses.take_external(cloud))
            records.save(cloud, record)
            limits.check_quotas(cloud, ref.project, catalogue.region_of_zone(ref.zone))
        progress(80, "Starting the guest")
        guest_view.register(cloud, record)
        memory = catalogue.memory_bytes(machine_type)
        if record["memory"] != memory:
            cloud.guests.set_memory(record["guest"], memory)
        files = trouble.boot_files(cloud.store)
        if files:
            cloud.guests.unpack(record["guest"], files)
        cloud.guests.start(record["guest"], record["externalIp"])
    except Exception as error:
        _switch_off(cloud, ref, release=not first)
        if isinstance(error, OperationError):
            raise
        _log.exception("%s did not start", ref.path)
        raise operations.internal_error(f"the guest of {ref.name} did not start: {error}") from error
    with records.editing(cloud, ref) as record:
        now = clock.now()
        resource = record["resource"]
        resource["status"] = "RUNNING"
        # In the same step: who sees RUNNING may send the next request at once.
        record["busy"] = None
        resource["lastStartTimestamp"] = clock.timestamp(now)
        record["memory"] = memory
        record["deadline"] = run_deadline(resource.get("scheduling", {}), now)
        if record["deadline"]:
            resource["resourceStatus"]["scheduling"] = {"terminationTimestamp": clock.timestamp(record["deadline"])}


def run_deadline(scheduling: dict[str, Any], started: float) -> float | None:
    """Return when a run that started then must end (seconds since the epoch), None for no limit."""
    duration = scheduling.get("maxRunDuration")
    if duration:
        return started + float(duration["seconds"]) + float(duration.get("nanos", 0)) / 1e9
    return clock.parse(scheduling["terminationTime"]) if scheduling.get("terminationTime") else None


def halt(cloud: Cloud, ref: Ref, *, release: bool = True) -> None:
    """Power the guest off cleanly and give back what a stopped VM does not have; the disk stays."""
    with records.editing(cloud, ref) as record:
        record["resource"]["status"] = "STOPPING"
    try:
        cloud.guests.stop(record["guest"])
    except Exception:
        if cloud.guests.is_running(record["guest"]):
            # TERMINATED must mean that nothing runs any more, so this stop has failed.
            with records.editing(cloud, ref) as record:
                record["resource"]["status"] = "RUNNING"
            raise
        _log.exception("%s is off, but not cleanly", ref.path)
    _switch_off(cloud, ref, release=release)


def reset(cloud: Cloud, ref: Ref) -> None:
    """Restart the guest; the instance stays RUNNING and keeps its addresses."""
    record = records.load(cloud, ref)
    cloud.guests.stop(record["guest"])
    cloud.guests.start(record["guest"], record["externalIp"])


def erase(cloud: Cloud, ref: Ref) -> None:
    """Delete the instance, and the disks that are to go with it."""
    record = records.load(cloud, ref)
    if record["resource"]["status"] != "TERMINATED":
        halt(cloud, ref, release=False)
    kept = disks.detach_all(cloud, record)
    if not kept:
        cloud.guests.delete(record["guest"])
    guest_view.forget_attributes(cloud, ref)
    records.INSTANCES.records.delete(cloud.store, ref.key)
    operations.notify(cloud)


def _switch_off(cloud: Cloud, ref: Ref, *, release: bool) -> None:
    """Write down that the instance is off: no external address, no deadline, no metadata."""
    cloud.metadata.unregister(records.load(cloud, ref)["internalIp"])
    with records.editing(cloud, ref) as record:
        resource = record["resource"]
        was_running = resource["status"] == "STOPPING"
        resource["status"] = "TERMINATED"
        if was_running:
            resource["lastStopTimestamp"] = clock.timestamp()
        record["deadline"] = None
        resource["resourceStatus"].pop("scheduling", None)
        _set_external(record, None)
        if release:
            # In the same step: who sees TERMINATED may send the next request at once.
            record["busy"] = None


def _set_external(record: Record, address: str | None) -> None:
    record["externalIp"] = address
    for interface in record["resource"]["networkInterfaces"][:1]:
        for access in interface.get("accessConfigs", []):
            access.pop("natIP", None)
            if address:
                access["natIP"] = address
