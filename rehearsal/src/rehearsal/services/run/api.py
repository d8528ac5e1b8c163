# SPDX-License-Identifier: GPL-3.0-or-later
"""run v1 and v2: the Cloud Run service beneath each function, and its policy, which decides who may call the function.

Both versions share method ids; they differ in how a service is written.
"""

from __future__ import annotations

import uuid
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.functions import records
from rehearsal.services.functions.instances import PORT
from rehearsal.services.functions.names import FunctionName, check_region, from_key, from_resource
from rehearsal.services.iam.resources import api_version, granted
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

S = "run.projects.locations.services."
P = "run.services."


def _require(call: Call, name: FunctionName) -> records.Record:
    found = call.cloud.store.get(records.KIND, name.key)
    if found is None or found["serving"] is None:
        message = (
            f"Resource '{name.id}' of kind 'SERVICE' in region '{name.region}' in project '{name.project}' "
            "does not exist."
        )
        raise ApiError(404, "notFound", message)
    return found


def _named(call: Call, field: str, permission: str) -> tuple[FunctionName, records.Record]:
    """Return the service once the caller is known to hold `permission` on it."""
    name = from_resource(call, call.params[field])
    call.cloud.identity.authorize(call.principal, permission, name.project, name.service)
    return name, _require(call, name)


def _uid(name: FunctionName) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name.service))


def _labels(resource: dict[str, Any]) -> dict[str, str]:
    return {**resource.get("labels", {}), "goog-managed-by": "cloudfunctions"}


def _knative(call: Call, name: FunctionName, record: records.Record) -> dict[str, Any]:
    resource, revision = record["resource"], record["serving"]
    number = call.cloud.identity.project_number(name.project)
    service = resource["serviceConfig"]
    ready = {"status": "True", "lastTransitionTime": resource["updateTime"]}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name.id,
            "namespace": number,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{number}/services/{name.id}",
            "uid": _uid(name),
            "generation": record["revisions"],
            "creationTimestamp": resource["createTime"],
            "labels": {**_labels(resource), "cloud.googleapis.com/location": name.region},
            "annotations": {"run.googleapis.com/ingress": "all"},
        },
        "spec": {
            "template": {
                "metadata": {"name": revision["name"]},
                "spec": {
                    "containerConcurrency": service["maxInstanceRequestConcurrency"],
                    "timeoutSeconds": service["timeoutSeconds"],
                    "serviceAccountName": service["serviceAccountEmail"],
                    "containers": [
                        {
                            "image": _image(name),
                            "ports": [{"name": "http1", "containerPort": PORT}],
                            "env": _environment(service),
                            "resources": {"limits": _limits(service)},
                        }
                    ],
                },
            },
            "traffic": [{"percent": 100, "latestRevision": True}],
        },
        "status": {
            "observedGeneration": record["revisions"],
            "conditions": [{"type": kind, **ready} for kind in ("Ready", "ConfigurationsReady", "RoutesReady")],
            "latestReadyRevisionName": revision["name"],
            "latestCreatedRevisionName": revision["name"],
            "traffic": [{"revisionName": revision["name"], "percent": 100, "latestRevision": True}],
            "url": service["uri"],
            "address": {"url": service["uri"]},
        },
    }


def _service(call: Call, name: FunctionName, record: records.Record) -> dict[str, Any]:
    resource, revision = record["resource"], record["serving"]
    service = resource["serviceConfig"]
    revision_name = f"{name.service}/revisions/{revision['name']}"
    return {
        "name": name.service,
        "uid": _uid(name),
        "generation": str(record["revisions"]),
        "labels": _labels(resource),
        "createTime": resource["createTime"],
        "updateTime": resource["updateTime"],
        "ingress": "INGRESS_TRAFFIC_ALL",
        "launchStage": "GA",
        "template": {
            "revision": revision["name"],
            "scaling": {
                "minInstanceCount": service["minInstanceCount"],
                "maxInstanceCount": service["maxInstanceCount"],
            },
            "timeout": f"{service['timeoutSeconds']}s",
            "serviceAccount": service["serviceAccountEmail"],
            "maxInstanceRequestConcurrency": service["maxInstanceRequestConcurrency"],
            "containers": [
                {
                    "image": _image(name),
                    "ports": [{"name": "http1", "containerPort": PORT}],
                    "env": _environment(service),
                    "resources": {"limits": _limits(service)},
                }
            ],
        },
        "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        "observedGeneration": str(record["revisions"]),
        "terminalCondition": {
            "type": "Ready",
            "state": "CONDITION_SUCCEEDED",
            "lastTransitionTime": resource["updateTime"],
        },
        "latestReadyRevision": revision_name,
        "latestCreatedRevision": revision_name,
        "uri": service["uri"],
        "urls": [service["uri"]],
        "reconciling": False,
    }


def _image(name: FunctionName) -> str:
    repository = f"{name.region}-docker.pkg.dev/{name.project}/gcf-artifacts"
    return f"{repository}/{name.project.replace('-', '--')}__{name.region.replace('-', '--')}__{name.id}:version_1"


def _environment(service: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": key, "value": value} for key, value in sorted(service.get("environmentVariables", {}).items())]


def _limits(service: dict[str, Any]) -> dict[str, str]:
    return {"cpu": service["availableCpu"], "memory": service["availableMemory"]}


def _written(call: Call, name: FunctionName, record: records.Record) -> dict[str, Any]:
    return _service(call, name, record) if api_version(call) == "v2" else _knative(call, name, record)


@method("run.projects.locations.services.get", permission=CheckedInside("run.services.get"))
def get(call: Call) -> dict[str, Any]:
    """Return the service beneath a function."""
    name, record = _named(call, "name", P + "get")
    return _written(call, name, record)


@method("run.projects.locations.services.list", permission=CheckedInside("run.services.list"))
def list_services(call: Call) -> dict[str, Any]:
    """Return the services of a region, or of all (`-`), on one page."""
    region = call.params["parent"].split("/")[3]
    project = call.cloud.identity.require_project(call.project)["projectId"]
    call.cloud.identity.authorize(call.principal, P + "list", project)
    if region != "-":
        check_region(region)
    found = [
        _written(call, from_key(key), record)
        for key, record in call.cloud.store.list(records.KIND, f"{project}/")
        if record["serving"] and region in ("-", from_key(key).region)
    ]
    if api_version(call) == "v2":
        return {"services": found} if found else {}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": {}, "items": found}


@method("run.namespaces.services.get", permission=CheckedInside("run.services.get"))
def get_in_namespace(call: Call) -> dict[str, Any]:
    """Return a service by project alone: the first region that has one of that name."""
    _, namespace, _, service = call.params["name"].split("/")
    project = call.cloud.identity.require_project(namespace)["projectId"]
    call.cloud.identity.authorize(call.principal, P + "get", project)
    for key, record in call.cloud.store.list(records.KIND, f"{project}/"):
        if from_key(key).id == service and record["serving"]:
            return _knative(call, from_key(key), record)
    raise ApiError(404, "notFound", f"Resource '{service}' of kind 'SERVICE' in project '{project}' does not exist.")


@method("run.projects.locations.services.getIamPolicy", permission=CheckedInside("run.services.getIamPolicy"))
def get_policy(call: Call) -> dict[str, Any]:
    """Return who may call and administer the service."""
    name, _ = _named(call, "resource", P + "getIamPolicy")
    return call.cloud.identity.get_policy(name.service)


@method("run.projects.locations.services.setIamPolicy", permission=CheckedInside("run.services.setIamPolicy"))
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the service's policy; `allUsers` with roles/run.invoker makes the function public."""
    name, _ = _named(call, "resource", P + "setIamPolicy")
    return call.cloud.identity.set_policy(name.service, call.body.get("policy", {}))


@method("run.projects.locations.services.testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Return which permissions the caller holds on the service."""
    name = from_resource(call, call.params["resource"])
    return granted(call, name.project, name.service)
