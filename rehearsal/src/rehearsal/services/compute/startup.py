# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restart does to VMs, and what happens when a guest ends by itself.

For the instances, a restart of the rehearsal is what maintenance of a host is on Google: who was RUNNING keeps its
addresses, its start time and its deadline.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rehearsal.services.compute import (
    clock,
    guest_view,
    insert,
    lifecycle,
    mutations,
    operations,
    power,
    records,
    timers,
)
from rehearsal.services.compute.records import Record, Ref

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

_log = logging.getLogger(__name__)


class Compute:
    """The virtual machines of one control plane, from `start` to `stop`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._timers = timers.Timers(cloud)

    def start(self) -> None:
        """Settle what the last control plane left, start what was running, and begin to watch."""
        cloud = self._cloud
        interrupted = {operation["name"]: operation for operation in operations.end_interrupted(cloud)}
        mutations.forget_old(cloud)
        for record in records.INSTANCES.all(cloud):
            ref = records.ref_of_record(record)
            try:
                settle(cloud, ref, record, interrupted.get(record["busy"] or "", {}).get("operationType", ""))
            except Exception:
                # One VM that cannot be brought back must not keep the cloud from starting.
                _log.exception("%s could not be settled", ref.path)
        cloud.guests.on_power_off = self._guest_ended
        self._timers.start()

    def stop(self) -> None:
        """Power all guests off; their instances stay RUNNING on paper, and run again after the next start."""
        self._timers.stop()
        guests = self._cloud.guests
        running = [r["guest"] for r in records.INSTANCES.all(self._cloud) if guests.is_running(r["guest"])]
        for thread in [self._cloud.background(guests.stop, guest) for guest in running]:
            thread.join()

    def _guest_ended(self, guest: str) -> None:
        """Show an instance whose guest ended by itself as TERMINATED, with the operation that Google shows."""
        record = records.of_guest(self._cloud, guest)
        if record is not None and not self._timers.ended.is_set():
            power.begin_guest_terminate(self._cloud, records.ref_of_record(record))


def settle(cloud: Cloud, ref: Ref, record: Record, interrupted: str) -> None:
    """Bring one instance from whatever state it was left in to one that is true; `interrupted` names its operation."""
    status = record["resource"]["status"]
    if record.get("deleting"):
        _free(cloud, ref)
        lifecycle.erase(cloud, ref)
    elif interrupted == "insert":
        # As on Google: an insert that failed leaves no instance.
        insert.discard(cloud, ref)
    elif status == "RUNNING" and not (record["deadline"] and record["deadline"] <= clock.now()):
        _free(cloud, ref)
        _resume(cloud, ref)
    elif status != "TERMINATED":
        _free(cloud, ref)
        lifecycle.halt(cloud, ref)
    elif record["busy"]:
        _free(cloud, ref)


def _free(cloud: Cloud, ref: Ref) -> None:
    with records.editing(cloud, ref) as record:
        record["busy"] = None


def _resume(cloud: Cloud, ref: Ref) -> None:
    record = records.load(cloud, ref)
    guest_view.register(cloud, record)
    if cloud.guests.is_running(record["guest"]):
        return
    try:
        cloud.guests.start(record["guest"], record["externalIp"])
    except Exception:
        _log.exception("%s did not start again", ref.path)
        # What Google shows when a host took a VM with it: without it nobody would know why the VM is off.
        operations.done(cloud, ref.target(record), "compute.instances.hostError", operations.SYSTEM)
        lifecycle.halt(cloud, ref)
