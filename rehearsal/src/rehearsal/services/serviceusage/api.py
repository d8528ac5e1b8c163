# SPDX-License-Identifier: GPL-3.0-or-later
"""serviceusage.v1: which APIs a project has enabled."""

from __future__ import annotations

import secrets
import time
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import refusals
from rehearsal.services.iam.accounts import Project
from rehearsal.services.iam.resources import project_named
from rehearsal.services.serviceusage.services import BILLED, KNOWN
from rehearsal.wire.calls import Call, CheckedInside, method

S = "serviceusage.services."
TYPE = "type.googleapis.com/google.api.serviceusage.v1."
OPERATIONS = "serviceusage.operations"
BATCH_LIMIT = 20
# What a service says of itself, as far as all say the same.
CONFIG: dict[str, Any] = {
    "documentation": {"summary": "An API of Google Cloud."},
    "quota": {},
    "authentication": {},
    "usage": {"requirements": ["serviceusage.googleapis.com/tos/cloud"]},
    "monitoredResources": [
        {
            "type": "serviceusage.googleapis.com/ConsumedResource",
            "displayName": "Consumed resource",
            "description": "What is consumed.",
            "labels": [{"key": "serviceusage.googleapis.com/service"}],
            "launchStage": "ALPHA",
        }
    ],
    "monitoring": {
        "consumerDestinations": [
            {
                "monitoredResource": "serviceusage.googleapis.com/ConsumedResource",
                "metrics": ["serviceusage.googleapis.com/quota/used"],
            }
        ]
    },
}
# So that clients have to wait for it, as they have to on Google.
TAKES_SECONDS = 0.2


def _answer(call: Call, project: Project, service: str) -> dict[str, Any]:
    parent = f"projects/{project['projectNumber']}"
    services = call.cloud.identity.services
    enabled = services.is_enabled(project["projectId"], service)
    return {
        "name": f"{parent}/services/{service}",
        "config": {"name": service, "title": services.title(service), **CONFIG, "endpoints": [{"name": service}]},
        "state": "ENABLED" if enabled else "DISABLED",
        "parent": parent,
    }


def _known(call: Call, project: Project, *names: str) -> None:
    missing = [name for name in names if not call.cloud.identity.services.known(name)]
    if missing:
        message = (
            f"Not found or permission denied for service(s): {', '.join(missing)}.\n"
            f"Help Token: {secrets.token_urlsafe(16)} (project {project['projectId']})"
        )
        details = [
            {
                "@type": refusals.ERROR_INFO,
                "reason": "SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED",
                "domain": "serviceusage.googleapis.com",
                "metadata": {"services": ",".join(missing)},
            }
        ]
        raise ApiError(403, "forbidden", message, details=details)


def _may_enable(call: Call, project: Project, names: list[str]) -> None:
    services = call.cloud.identity.services
    billed = [name for name in names if name in BILLED and not services.is_enabled(project["projectId"], name)]
    if billed and not services.billing_enabled():
        raise refusals.billing_not_found(project["projectNumber"], billed)


def _done(call: Call, response: dict[str, Any]) -> dict[str, Any]:
    name = f"operations/acat.p2-{call.cloud.settings.project_number}-{secrets.token_hex(16)}"
    operation = {"name": name, "metadata": {"@type": TYPE + "OperationMetadata"}}
    ended = operation | {"done": True, "response": response}
    call.cloud.store.put(OPERATIONS, name, {"ended": ended, "time": time.time() + TAKES_SECONDS})
    return operation


@method("serviceusage.services.get", permission=CheckedInside("serviceusage.services.get"))
def get(call: Call) -> dict[str, Any]:
    """Whether one service is enabled."""
    parent, _, service = call.params["name"].partition("/services/")
    project = project_named(call, parent, "serviceusage.services.get")
    _known(call, project, service)
    return _answer(call, project, service)


@method("serviceusage.services.list", permission=CheckedInside("serviceusage.services.list"))
def list_services(call: Call) -> dict[str, Any]:
    """All services, or by filter `state:ENABLED` / `state:DISABLED`, on one page."""
    project = project_named(call, call.params["parent"], "serviceusage.services.list")
    wanted = call.params.get("filter", "").replace(" ", "")
    found = [_answer(call, project, name) for name in sorted(KNOWN)]
    if wanted:
        state = wanted.removeprefix("state:").removeprefix("state=")
        if state not in ("ENABLED", "DISABLED"):
            raise ApiError(400, "badRequest", f"Invalid filter '{wanted}': use state:ENABLED or state:DISABLED.")
        found = [service for service in found if service["state"] == state]
    return {"services": found} if found else {}


@method("serviceusage.services.batchGet", permission=CheckedInside("serviceusage.services.get"))
def batch_get(call: Call) -> dict[str, Any]:
    """Return the state of several services."""
    project = project_named(call, call.params["parent"], "serviceusage.services.get")
    names = call.params.get("names", [])
    short = [name.rpartition("/")[2] for name in ([names] if isinstance(names, str) else names)]
    _known(call, project, *short)
    return {"services": [_answer(call, project, name) for name in short]}


@method("serviceusage.services.enable", permission=CheckedInside("serviceusage.services.enable"))
def enable(call: Call) -> dict[str, Any]:
    """Enable one service; at once, where Google takes up to some minutes."""
    parent, _, service = call.params["name"].partition("/services/")
    project = project_named(call, parent, "serviceusage.services.enable")
    _known(call, project, service)
    _may_enable(call, project, [service])
    call.cloud.identity.services.enable(project["projectId"], service)
    return _done(call, {"@type": TYPE + "EnableServiceResponse", "service": _answer(call, project, service)})


@method("serviceusage.services.batchEnable", permission=CheckedInside("serviceusage.services.enable"))
def batch_enable(call: Call) -> dict[str, Any]:
    """Enable up to twenty services, all or none."""
    project = project_named(call, call.params["parent"], "serviceusage.services.enable")
    names = call.body.get("serviceIds", [])
    if len(names) > BATCH_LIMIT:
        raise ApiError(
            400, "badRequest", f"At most {BATCH_LIMIT} services can be enabled in a batch; {len(names)} were given."
        )
    _known(call, project, *names)
    _may_enable(call, project, names)
    for name in names:
        call.cloud.identity.services.enable(project["projectId"], name)
    services = [_answer(call, project, name) for name in names]
    return _done(call, {"@type": TYPE + "BatchEnableServicesResponse", "services": services})


@method("serviceusage.services.disable", permission=CheckedInside("serviceusage.services.disable"))
def disable(call: Call) -> dict[str, Any]:
    """Disable one service, and those that need it where the caller says so."""
    parent, _, service = call.params["name"].partition("/services/")
    project = project_named(call, parent, "serviceusage.services.disable")
    _known(call, project, service)
    services = call.cloud.identity.services
    dependents = services.dependents(project["projectId"], service)
    if dependents and not call.body.get("disableDependentServices"):
        raise ApiError(
            400,
            "failedPrecondition",
            f"The service {service} is depended on by the following active service(s): {','.join(dependents)}; "
            "Please specify disable_dependent_services=true if you want to proceed with disabling all services.",
            status="FAILED_PRECONDITION",
        )
    for name in (*dependents, service):
        services.disable(project["projectId"], name)
    return _done(call, {"@type": TYPE + "DisableServiceResponse", "service": _answer(call, project, service)})


@method("serviceusage.operations.get", permission="serviceusage.operations.get")
def get_operation(call: Call) -> dict[str, Any]:
    """Return the operation as it stands."""
    known = call.cloud.store.get(OPERATIONS, call.params["name"])
    if known is None:
        raise ApiError(404, "notFound", f"Operation {call.params['name']} was not found.")
    ended: dict[str, Any] = known["ended"]
    if known["time"] > time.time():
        return {key: ended[key] for key in ("name", "metadata")}
    return ended
