# SPDX-License-Identifier: GPL-3.0-or-later
"""The stored form of an instance, and the rule that only one operation works on an instance at a time.

A record is `{"project", "zone", "name", "resource", "guest", "family", "internalIp", "externalIp", "staticIp",
"wantsExternal", "busy", "deadline", "memory"}`: `resource` is the Instance that clients see, `busy` the name of the
operation that has the instance, `deadline` when its run time ends (seconds since the epoch), `memory` the bytes that
its guest was last given; the others name the guest, its image family and its addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import catalogue, errors, operations
from rehearsal.services.compute.operations import OperationError
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

KIND = "compute.instances"
Record = dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """Which instance."""

    project: str
    zone: str
    name: str

    @property
    def key(self) -> str:
        """The key in the store."""
        return f"{self.project}/{self.zone}/{self.name}"

    @property
    def path(self) -> str:
        """The resource's path from `projects/` on."""
        return f"projects/{self.project}/zones/{self.zone}/instances/{self.name}"

    def target(self, record: Record) -> operations.Target:
        """Return what an operation on the instance is about."""
        return operations.Target(self.project, f"zones/{self.zone}", self.path, record["resource"]["id"])


def ref_of(call: Call) -> Ref:
    """Return the instance that a call names.

    Raises ApiError 400 for an unknown zone.
    """
    return Ref(call.project, catalogue.zone_of(call), call.params.get("instance") or call.params["resource"])


def ref_of_record(record: Record) -> Ref:
    """Return which instance the record is of."""
    return Ref(record["project"], record["zone"], record["name"])


def load(cloud: Cloud, ref: Ref) -> Record:
    """Return the record.

    Raises ApiError 404 when there is no such instance.
    """
    record = cloud.store.get(KIND, ref.key)
    if record is None:
        raise errors.not_found(ref.path)
    return record


def save(cloud: Cloud, record: Record) -> None:
    """Store the record and wake whatever waits for a change."""
    cloud.store.put(KIND, ref_of_record(record).key, record)
    operations.notify(cloud)


@contextmanager
def editing(cloud: Cloud, ref: Ref) -> Iterator[Record]:
    """Yield the record and store it afterwards, with nobody else in between; nothing is stored on an exception."""
    with cloud.store.lock:
        record = load(cloud, ref)
        yield record
        save(cloud, record)


def everything(cloud: Cloud, project: str = "", zone: str = "") -> list[Record]:
    """Return the records of all projects, of a project, or of a zone of a project."""
    prefix = f"{project}/{zone}/" if zone else f"{project}/" if project else ""
    return [record for _, record in cloud.store.list(KIND, prefix)]


def of_guest(cloud: Cloud, guest: str) -> Record | None:
    """Return the record of a guest, None when no instance has it."""
    return next((record for record in everything(cloud) if record["guest"] == guest), None)


def claim(cloud: Cloud, ref: Ref, operation: str) -> Record:
    """Wait until no other operation has the instance, then give it to this one; return the record.

    Raises OperationError when the instance is gone by then.
    """
    condition = operations.changed(cloud)
    with condition:
        while True:
            record = cloud.store.get(KIND, ref.key)
            if record is None:
                text = f"The resource '{ref.path}' was not found"
                raise OperationError("RESOURCE_NOT_FOUND", text, 404, "NOT FOUND")
            if record["busy"] in (None, operation):
                record["busy"] = operation
                save(cloud, record)
                return record
            condition.wait()


def release(cloud: Cloud, ref: Ref, operation: str) -> None:
    """Let the next operation have the instance, if it still exists."""
    with cloud.store.lock:
        record = cloud.store.get(KIND, ref.key)
        if record is not None and record["busy"] == operation:
            record["busy"] = None
            save(cloud, record)
