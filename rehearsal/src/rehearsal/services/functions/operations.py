# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-running operations of cloudfunctions.v2, with the stages that gcloud draws."""

from __future__ import annotations

import secrets
import time
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.functions.names import FunctionName
from rehearsal.services.functions.records import nanoseconds
from rehearsal.store import Documents, Store
from rehearsal.wire.calls import Call, method

OPERATIONS: Documents[dict[str, Any]] = Documents("functions.operations")
INTERRUPTED = "The deployment was interrupted: the rehearsal was stopped while it ran. Deploy again."
TYPE = "type.googleapis.com/google.cloud.functions.v2."
EMPTY = "type.googleapis.com/google.protobuf.Empty"
# google.rpc.Code
INVALID_ARGUMENT, PERMISSION_DENIED, INTERNAL, UNAVAILABLE = 3, 7, 13, 14


class Operation:
    """One operation. Every change is stored at once, so that whoever polls sees it."""

    def __init__(
        self,
        store: Store,
        name: FunctionName,
        verb: str,
        stages: tuple[str, ...] = (),
        wanted: dict[str, Any] | None = None,
    ) -> None:
        """Begin an operation; `verb` is create, update or delete, `wanted` the function that is to be."""
        self._store = store
        location = f"projects/{name.project}/locations/{name.region}"
        unique = f"{secrets.token_hex(7)[:13]}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
        self.name = f"{location}/operations/operation-{int(time.time() * 1000)}-{unique}"
        self._document: dict[str, Any] = {
            "name": self.name,
            "metadata": {
                "@type": TYPE + "OperationMetadata",
                "createTime": nanoseconds(),
                "target": name.resource,
                "verb": verb,
                "apiVersion": "v2",
                "cancelRequested": False,
                "operationType": f"{verb.upper()}_FUNCTION",
            },
            "done": False,
        }
        if stages:
            self._document["metadata"]["stages"] = [{"name": stage, "state": "NOT_STARTED"} for stage in stages]
        if wanted:
            kind = {"@type": TYPE + "Function"}
            self._document["metadata"]["requestResource"] = kind | {"name": name.resource} | wanted
        self._put()

    def stage(self, name: str, state: str, message: str = "", **more: Any) -> None:
        """Set a stage's state (IN_PROGRESS, COMPLETE), its message and other members (resource, resourceUri)."""
        for stage in self._document["metadata"].get("stages", []):
            if stage["name"] == name:
                stage |= {"state": state, "message": message, **more}
        self._put()

    def succeed(self, response: dict[str, Any] | None = None) -> None:
        """End the operation with the function, or with nothing after a deletion."""
        self._document["response"] = {"@type": TYPE + "Function", **response} if response else {"@type": EMPTY}
        self._end()

    def fail(self, code: int, message: str) -> None:
        """End the operation with an error (`code` as in google.rpc.Code)."""
        self._document["error"] = {"code": code, "message": message}
        self._end()

    def as_resource(self) -> dict[str, Any]:
        """Return the operation as the API shows it."""
        return OPERATIONS.get(self._store, self.name) or self._document

    def _end(self) -> None:
        self._document["done"] = True
        self._document["metadata"]["endTime"] = nanoseconds()
        self._put()

    def _put(self) -> None:
        OPERATIONS.put(self._store, self.name, self._document)


def end_interrupted(store: Store) -> None:
    """Fail the operations that a stop of the control plane cut off."""
    for name, document in OPERATIONS.list(store):
        if not document["done"]:
            document |= {"done": True, "error": {"code": UNAVAILABLE, "message": INTERRUPTED}}
            OPERATIONS.put(store, name, document)


@method("cloudfunctions.projects.locations.operations.get", permission="cloudfunctions.operations.get")
def get(call: Call) -> dict[str, Any]:
    """Return one operation."""
    found = OPERATIONS.get(call.cloud.store, call.params["name"])
    if found is None:
        raise ApiError(404, "notFound", f"Operation {call.params['name']} was not found.")
    return found


@method("cloudfunctions.projects.locations.operations.list", permission="cloudfunctions.operations.list")
def list_operations(call: Call) -> dict[str, Any]:
    """Return the operations of a location, the newest first, on one page."""
    found = [document for _, document in OPERATIONS.list(call.cloud.store, call.params["name"] + "/operations/")]
    found.sort(key=lambda document: document["metadata"]["createTime"], reverse=True)
    return {"operations": found} if found else {}
