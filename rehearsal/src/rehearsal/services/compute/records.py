# SPDX-License-Identifier: GPL-3.0-or-later
"""The stored form of an instance, and the rule that only one operation works on an instance at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

from rehearsal.services.compute import catalogue, errors, operations, projects, validation
from rehearsal.services.compute.kinds import StoredKind
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.operations import OperationError
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


class Record(TypedDict):
    """What is stored of an instance.

    `resource` is the Instance that clients see, `guest` and `family` name its guest and what that boots, `image` is the
    image's path. `busy` names the operation that has the instance, `deleting` the one that deletes it. `deadline` is
    when its run time ends (seconds since the epoch), `memory` the bytes that its guest was last given.
    """

    project: str
    zone: str
    name: str
    resource: Resource
    guest: str
    family: str
    image: str
    internalIp: str
    externalIp: str | None
    staticIp: str | None
    wantsExternal: bool
    deadline: float | None
    memory: int
    busy: str | None
    deleting: NotRequired[str]


def effective(cloud: Cloud, record: Record, key: str) -> str:
    """Return a metadata value: the instance's own, else the project's, else an empty string."""
    own = validation.metadata_value(record["resource"]["metadata"].get("items"), key)
    if own is None:
        own = validation.metadata_value(projects.common_items(cloud, record["project"]), key)
    return own or ""


def _shown(cloud: Cloud, record: Record) -> Resource:
    resource = record["resource"]
    os_login = effective(cloud, record, "enable-oslogin").upper() == "TRUE"
    told = {"enableOsloginMetadataValue": os_login, "vmDnsSettingMetadataValue": "ZonalOnly"}
    resource["resourceStatus"]["effectiveInstanceMetadata"] = told
    if resource["status"] != "RUNNING":
        resource["cpuPlatform"] = catalogue.NO_CPU_PLATFORM
    return resource


INSTANCES: StoredKind[Record] = StoredKind("instances", "instance", "zone", _shown)
INSTANCES.serve("compute.instances.get", "compute.instances.list", "compute.instances.aggregatedList")


@dataclass(frozen=True)
class Ref:
    """Which instance."""

    project: str
    zone: str
    name: str

    @property
    def key(self) -> str:
        """The key in the store."""
        return INSTANCES.key(self.project, self.zone, self.name)

    @property
    def path(self) -> str:
        """The resource's path from `projects/` on."""
        return INSTANCES.path(self.project, self.zone, self.name)

    def target(self, record: Record) -> operations.Target:
        """Return what an operation on the instance is about."""
        return INSTANCES.target(self.project, self.zone, record["resource"])


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
    record = INSTANCES.records.get(cloud.store, ref.key)
    if record is None:
        raise errors.not_found(ref.path)
    return record


def save(cloud: Cloud, record: Record) -> None:
    """Store the record and wake whatever waits for a change."""
    INSTANCES.records.put(cloud.store, ref_of_record(record).key, record)
    operations.notify(cloud)


@contextmanager
def editing(cloud: Cloud, ref: Ref) -> Iterator[Record]:
    """Yield the record and store it afterwards, with nobody else in between; nothing is stored on an exception."""
    with cloud.store.lock:
        record = load(cloud, ref)
        yield record
        save(cloud, record)


def of_guest(cloud: Cloud, guest: str) -> Record | None:
    """Return the record of a guest, None when no instance has it."""
    return next((record for record in INSTANCES.all(cloud) if record["guest"] == guest), None)


def claim(cloud: Cloud, ref: Ref, operation: str) -> Record:
    """Wait until no other operation has the instance, then give it to this one; return the record.

    Raises OperationError when the instance is gone by then.
    """
    with cloud.store.changed:
        while True:
            record = INSTANCES.records.get(cloud.store, ref.key)
            if record is None:
                text = f"The resource '{ref.path}' was not found"
                raise OperationError("RESOURCE_NOT_FOUND", text, 404, "NOT FOUND")
            if record["busy"] in (None, operation):
                record["busy"] = operation
                save(cloud, record)
                return record
            cloud.store.changed.wait()


def release(cloud: Cloud, ref: Ref, operation: str) -> None:
    """Let the next operation have the instance, if it still exists."""
    with cloud.store.lock:
        record = INSTANCES.records.get(cloud.store, ref.key)
        if record is not None and record["busy"] == operation:
            record["busy"] = None
            save(cloud, record)
