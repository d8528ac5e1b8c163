# SPDX-License-Identifier: GPL-3.0-or-later
"""What every changing call has in common: registration, and `requestId`, which makes a retry harmless."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypedDict

from rehearsal.services.compute import clock, errors, operations
from rehearsal.store import Documents
from rehearsal.wire.calls import Call, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

REMEMBERED_SECONDS = 3600.0
Handler = Callable[[Call], dict[str, Any]]


class _Answered(TypedDict):
    """What a request with a `requestId` was answered: the operation, its scope, and when (seconds since the epoch)."""

    operation: str
    scope: str
    time: float


ANSWERED: Documents[_Answered] = Documents("compute.requestIds")


def mutation(method_id: str, permission: str, *more: str, also: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Register a handler that answers with an operation.

    `more` are permissions that Google asks for beside the first, `also` those that the handler asks for itself.

    A second call with the same `requestId`, for the same method and resource within an hour, changes nothing and gets
    the operation of the first. Raises ApiError 400 for a `requestId` that is no UUID.
    """

    def register(handler: Handler) -> Handler:
        @wraps(handler)
        def once(call: Call) -> dict[str, Any]:
            for other in more:
                call.cloud.identity.authorize(call.principal, other, call.project)
            request_id = call.params.get("requestId")
            if not request_id:
                return handler(call)
            key = _key(call, request_id)
            # Two copies of one request may arrive at the same time: the second must find what the first has stored.
            with call.cloud.locks[ANSWERED.kind]:
                known = ANSWERED.get(call.cloud.store, key)
                if known and clock.now() - known["time"] < REMEMBERED_SECONDS:
                    return operations.get(call.cloud, call.project, known["scope"], known["operation"])
                operation = handler(call)
                scope = operation["selfLink"].split(f"/projects/{call.project}/")[1].rpartition("/operations/")[0]
                entry: _Answered = {"operation": operation["name"], "scope": scope, "time": clock.now()}
                ANSWERED.put(call.cloud.store, key, entry)
                return operation

        method(method_id, permission=permission, also=(*more, *also))(once)
        return once

    return register


def _key(call: Call, request_id: str) -> str:
    try:
        parsed = uuid.UUID(request_id)
    except ValueError:
        parsed = uuid.UUID(int=0)
    if not parsed.int:
        raise errors.invalid("requestId", request_id, "Must be a valid UUID other than the zero UUID.")
    path = [str(call.params[name]) for name in sorted(call.params) if name not in ("requestId", "_other")]
    name = str(call.body.get("name", ""))
    return "/".join([call.project, call.method_id, *path, name, str(parsed)])


def forget_old(cloud: Cloud) -> None:
    """Forget the request ids that no retry can come for any more."""
    for key, entry in ANSWERED.list(cloud.store):
        if clock.now() - entry["time"] >= REMEMBERED_SECONDS:
            ANSWERED.delete(cloud.store, key)
