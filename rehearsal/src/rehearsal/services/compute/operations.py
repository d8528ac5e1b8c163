# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of an operation: PENDING, RUNNING, DONE.

Every step is written to the store before anyone can see its effect, so a control plane that dies leaves operations that
the next one can end honestly. Work runs in one background thread an operation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from rehearsal.services.compute import clock, errors, fingerprints, links
from rehearsal.store import Documents

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

Document = dict[str, Any]
LONGEST_WAIT = 120.0
KEPT_SECONDS = 14 * 24 * 3600
SYSTEM = "system"

_log = logging.getLogger(__name__)


class Record(TypedDict):
    """A stored operation: where it is found, and what clients see of it."""

    project: str
    scope: str
    resource: Document


OPERATIONS: Documents[Record] = Documents("compute.operations")


class OperationError(Exception):
    """Ends an operation with an error, as Google reports what only shows while it works.

    `code` is the kind (`QUOTA_EXCEEDED`), `http_status` and `http_message` go beside it, `details` into `errorDetails`.
    """

    def __init__(
        self, code: str, message: str, http_status: int, http_message: str, details: list[Document] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.http_status, self.http_message = http_status, http_message
        self.details = details or []


@dataclass(frozen=True)
class Target:
    """The resource that an operation works on; `scope` is `zones/Z`, `regions/R` or `global`."""

    project: str
    scope: str
    path: str
    id: str


class Progress:
    """What work uses to say how far it is."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._cloud, self._name = cloud, name

    def __call__(self, percent: int, message: str = "") -> None:
        """Show `percent` (0-99) and, when given, a message in the operation."""
        changes: Document = {"progress": max(0, min(99, percent))}
        if message:
            changes["statusMessage"] = message
        _change(self._cloud, self._name, changes)


Work = Callable[[Progress], None]


def create(cloud: Cloud, target: Target, operation_type: str, user: str) -> Document:
    """Store a PENDING operation; return it as clients see it."""
    now = clock.now()
    prefix = "systemevent" if user == SYSTEM else "operation"
    unique = fingerprints.new_id()
    name = f"{prefix}-{int(now * 1000)}-{int(now * 1_000_000):x}-{int(unique):016x}"
    name = f"{name[:-8]}-{name[-8:]}"
    path = f"projects/{target.project}/{target.scope}/operations/{name}"
    resource: Document = {
        "kind": "compute#operation",
        "id": unique,
        "name": name,
        "operationType": operation_type,
        "targetLink": links.link(target.path),
        "targetId": target.id,
        "status": "PENDING",
        "user": user,
        "progress": 0,
        "insertTime": clock.timestamp(now),
        "selfLink": links.link(path),
    }
    place, _, short = target.scope.partition("/")
    if short:
        resource[place.removesuffix("s")] = links.link(f"projects/{target.project}/{target.scope}")
    OPERATIONS.put(cloud.store, name, {"project": target.project, "scope": target.scope, "resource": resource})
    return resource


def run(cloud: Cloud, operation: Document, work: Work) -> Document:
    """Do the work in the background; return the operation as it is now."""
    cloud.background(_execute, cloud, operation["name"], work)
    return operation


def done(cloud: Cloud, target: Target, operation_type: str, user: str) -> Document:
    """Store an operation for what has happened; it still runs in the answer, as Google's do, and ends at once."""
    operation = create(cloud, target, operation_type, user)
    running = _change(cloud, operation["name"], {"status": "RUNNING", "startTime": operation["insertTime"]})
    run(cloud, operation, lambda progress: None)
    return running


def _execute(cloud: Cloud, name: str, work: Work) -> None:
    _change(cloud, name, {"status": "RUNNING", "startTime": clock.timestamp()})
    try:
        work(Progress(cloud, name))
    except OperationError as error:
        _finish(cloud, name, error)
    except Exception as error:
        # Whatever went wrong, somebody waits for this operation: it must end, and say why.
        _log.exception("operation %s failed", name)
        _finish(cloud, name, internal_error(str(error) or type(error).__name__))
    else:
        _finish(cloud, name, None)


def internal_error(why: str) -> OperationError:
    """Return the error for a failure of the rehearsal itself."""
    return OperationError("INTERNAL_ERROR", f"Internal error: {why}", 500, "INTERNAL SERVER ERROR")


def _finish(cloud: Cloud, name: str, error: OperationError | None) -> Document:
    now = clock.timestamp()
    changes: Document = {"status": "DONE", "progress": 100, "endTime": now}
    if error:
        entry: Document = {"code": error.code, "message": error.message}
        if error.details:
            entry["errorDetails"] = error.details
        changes |= {
            "error": {"errors": [entry]},
            "httpErrorStatusCode": error.http_status,
            "httpErrorMessage": error.http_message,
        }
    return _change(cloud, name, changes)


def _change(cloud: Cloud, name: str, changes: Document) -> Document:
    with cloud.store.lock:
        document = OPERATIONS.get(cloud.store, name)
        if document is None:
            return {}
        resource = document["resource"]
        resource.update(changes)
        if changes.get("status") == "DONE":
            resource.setdefault("startTime", resource["insertTime"])
            resource.pop("statusMessage", None)
        OPERATIONS.put(cloud.store, name, document)
    notify(cloud)
    return resource


def notify(cloud: Cloud) -> None:
    """Wake everything that waits for a change of an operation or of an instance."""
    with cloud.store.changed:
        cloud.store.changed.notify_all()


def get(cloud: Cloud, project: str, scope: str, name: str) -> Document:
    """Return the operation.

    Raises ApiError 404 when the project and scope have no operation of that name.
    """
    document = OPERATIONS.get(cloud.store, name)
    if document is None or (document["project"], document["scope"]) != (project, scope):
        raise errors.not_found(f"projects/{project}/{scope}/operations/{name}")
    return document["resource"]


def wait(cloud: Cloud, project: str, scope: str, name: str, seconds: float = LONGEST_WAIT) -> Document:
    """Return the operation once it is DONE, or as it is after `seconds`."""
    deadline = time.monotonic() + seconds
    with cloud.store.changed:
        while True:
            operation = get(cloud, project, scope, name)
            remaining = deadline - time.monotonic()
            if operation["status"] == "DONE" or remaining <= 0:
                return operation
            cloud.store.changed.wait(remaining)


def in_scope(cloud: Cloud, project: str, scope: str | None = None) -> dict[str, list[Document]]:
    """Return the project's operations by scope; of one scope only, when given."""
    found: dict[str, list[Document]] = {}
    for _, document in OPERATIONS.list(cloud.store):
        if document["project"] == project and scope in (None, document["scope"]):
            found.setdefault(document["scope"], []).append(document["resource"])
    return found


def end_interrupted(cloud: Cloud) -> list[Document]:
    """End what the last control plane left unfinished, forget what is too old to matter; return what was ended."""
    interrupted = []
    for name, document in OPERATIONS.list(cloud.store):
        resource = document["resource"]
        if resource["status"] != "DONE":
            why = "the rehearsal cloud was restarted while this operation ran; send the request again"
            interrupted.append(_finish(cloud, name, internal_error(why)))
        elif clock.now() - clock.parse(resource["insertTime"]) > KEPT_SECONDS:
            OPERATIONS.delete(cloud.store, name)
    return interrupted
