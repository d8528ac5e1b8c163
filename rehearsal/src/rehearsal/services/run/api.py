# SPDX-License-Identifier: GPL-3.0-or-later
"""run v1 and v2: the Cloud Run service beneath each function, and its policy, which decides who may call the function.

Both versions share method ids; they differ in how a service is written.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.artifactregistry.images import REPOSITORY, package_of
from rehearsal.services.functions import records
from rehearsal.services.functions.instances import PORT
from rehearsal.services.functions.names import FunctionName, check_region, from_key, from_resource
from rehearsal.services.functions.revisions import Revision
from rehearsal.services.iam.resources import api_version, granted
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

# A function that serves, and the revision that does.
Running = tuple[records.Record, Revision]


def _require(call: Call, name: FunctionName) -> Running:
    found = records.FUNCTIONS.get(call.cloud.store, name.key)
    if found is None or found["serving"] is None:
        message = (
            f"Resource '{name.id}' of kind 'SERVICE' in region '{name.region}' in project '{name.project}' "
            "does not exist."
        )
        raise ApiError(404, "notFound", message)
    return found, found["serving"]


def _named(call: Call, field: str, permission: str) -> tuple[FunctionName, Running]:
    """Return the service once the caller is known to hold `permission` on it."""
    name = from_resource(call, call.params[field])
    call.cloud.identity.authorize(call.principal, permission, name.project, name.service)
    return name, _require(call, name)


def _running(call: Call, project: str) -> list[tuple[FunctionName, Running]]:
    found = records.FUNCTIONS.list(call.cloud.store, f"{project}/")
    return [(from_key(key), (record, record["serving"])) for key, record in found if record["serving"]]


def _uid(name: FunctionName) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name.service))


def _labels(resource: dict[str, Any]) -> dict[str, str]:
    own = {"goog-managed-by": "cloudfunctions", "goog-cloudfunctions-runtime": resource["buildConfig"]["runtime"]}
    _, _, _, region, _, function = resource["name"].split("/")
    drz = {"goog-drz-cloudfunctions-id": function, "goog-drz-cloudfunctions-location": region}
    return {**resource.get("labels", {}), **own, **drz}


def _knative(call: Call, name: FunctionName, running: Running) -> dict[str, Any]:
    record, revision = running
    resource = record["resource"]
    number = call.cloud.identity.project_number(name.project)
    service = resource["serviceConfig"]
    made, changed = (resource[name][:-4] + "Z" for name in ("createTime", "updateTime"))  # with microseconds
    ready = {"status": "True", "lastTransitionTime": changed}
    agent = f"service-{number}@gcf-admin-robot.iam.gserviceaccount.com"
    addresses = name.addresses(number)
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name.id,
            "namespace": number,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{number}/services/{name.id}",
            "uid": _uid(name),
            "resourceVersion": base64.b64encode(changed.encode()).decode(),
            "generation": record["revisions"],
            "creationTimestamp": made,
            "labels": {**_labels(resource), "cloud.googleapis.com/location": name.region},
            "annotations": {
                "serving.knative.dev/creator": agent,
                "serving.knative.dev/lastModifier": agent,
                "run.googleapis.com/client-name": "cloudfunctions",
                "run.googleapis.com/custom-audiences": json.dumps([name.url]),
                "run.googleapis.com/ingress": "all",
                "run.googleapis.com/ingress-status": "all",
                "run.googleapis.com/operation-id": _uid(name),
                "run.googleapis.com/urls": json.dumps([addresses[1], addresses[2], addresses[0]]),
            },
        },
        "spec": {
            "template": {
                "metadata": {"name": revision["name"], "annotations": _revision_annotations(service)},
                "spec": _revision_spec(name, resource),
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


def _revision_annotations(service: dict[str, Any]) -> dict[str, str]:
    return {
        "run.googleapis.com/client-name": "cloudfunctions",
        "autoscaling.knative.dev/maxScale": str(service["maxInstanceCount"]),
    }


def _revision_spec(name: FunctionName, resource: dict[str, Any]) -> dict[str, Any]:
    service = resource["serviceConfig"]
    probe = {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1, "tcpSocket": {"port": PORT}}
    return {
        "containerConcurrency": service["maxInstanceRequestConcurrency"],
        "timeoutSeconds": service["timeoutSeconds"],
        "serviceAccountName": service["serviceAccountEmail"],
        "containers": [one | {"startupProbe": probe} for one in _containers(name, resource)],
    }


def _service(call: Call, name: FunctionName, running: Running) -> dict[str, Any]:
    record, revision = running
    resource = record["resource"]
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
            "containers": _containers(name, resource),
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
        "urls": list(name.addresses(call.cloud.identity.project_number(name.project))),
        "reconciling": False,
    }


def _image(name: FunctionName) -> str:
    repository = f"{name.region}-docker.pkg.dev/{name.project}/{REPOSITORY}"
    return f"{repository}/{package_of(name.project, name.region, name.id)}:version_1"


def _containers(name: FunctionName, resource: dict[str, Any]) -> list[dict[str, Any]]:
    service = resource["serviceConfig"]
    target = {"FUNCTION_TARGET": resource["buildConfig"]["entryPoint"]}
    variables = sorted((target | service["environmentVariables"]).items())
    return [
        {
            "name": "worker",
            "image": _image(name),
            "ports": [{"name": "http1", "containerPort": PORT}],
            "env": [{"name": key, "value": value} for key, value in variables],
            "resources": {"limits": {"cpu": service["availableCpu"], "memory": service["availableMemory"]}},
        }
    ]


def _written(call: Call, name: FunctionName, running: Running) -> dict[str, Any]:
    return _service(call, name, running) if api_version(call) == "v2" else _knative(call, name, running)


@method("run.projects.locations.services.get", permission=CheckedInside("run.services.get"))
def get(call: Call) -> dict[str, Any]:
    """Return the service beneath a function."""
    name, running = _named(call, "name", "run.services.get")
    return _written(call, name, running)


@method("run.projects.locations.services.list", permission=CheckedInside("run.services.list"))
def list_services(call: Call) -> dict[str, Any]:
    """Return the services of a region, or of all (`-`), on one page."""
    region = call.params["parent"].split("/")[3]
    project = call.cloud.identity.require_project(call.project)["projectId"]
    call.cloud.identity.authorize(call.principal, "run.services.list", project)
    if region != "-":
        check_region(region)
    found = [_written(call, name, running) for name, running in _running(call, project) if region in ("-", name.region)]
    if api_version(call) == "v2":
        return {"services": found} if found else {}
    return _listed("ServiceList", found)


@method("run.namespaces.services.get", permission=CheckedInside("run.services.get"))
def get_in_namespace(call: Call) -> dict[str, Any]:
    """Return a service by project alone: the first region that has one of that name."""
    service = call.params["name"].rpartition("/")[2]
    for name, running in _in_namespace(call, "run.services.get"):
        if name.id == service:
            return _knative(call, name, running)
    raise ApiError(404, "notFound", f"Resource '{service}' of kind 'SERVICE' does not exist.")


def _in_namespace(call: Call, permission: str) -> list[tuple[FunctionName, Running]]:
    """Return the services of a project, or of the region whose host is asked, or the one that a label selects."""
    project = call.cloud.identity.require_project((call.params.get("parent") or call.params["name"]).split("/")[1])
    call.cloud.identity.authorize(call.principal, permission, project["projectId"])
    region = call.host.removesuffix("run.googleapis.com").rstrip("-")
    selected = re.search(r"serving\.knative\.dev/service\s*=\s*([a-z0-9-]+)", call.params.get("labelSelector", ""))
    chosen = selected[1] if selected else ""
    found = _running(call, project["projectId"])
    return [(n, r) for n, r in found if region in ("", n.region) and chosen in ("", n.id)]


def _listed(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "serving.knative.dev/v1", "kind": kind, "metadata": {}, "items": items}


@method("run.namespaces.services.list", permission=CheckedInside("run.services.list"))
def list_in_namespace(call: Call) -> dict[str, Any]:
    """Return the services of a project, in the way of Knative, which gcloud uses."""
    return _listed("ServiceList", [_knative(call, *found) for found in _in_namespace(call, "run.services.list")])


def _revision(call: Call, name: FunctionName, running: Running) -> dict[str, Any]:
    record, revision = running
    number, resource = call.cloud.identity.project_number(name.project), record["resource"]
    labels = {"serving.knative.dev/service": name.id, "serving.knative.dev/configuration": name.id}
    ready = {"status": "True", "lastTransitionTime": revision["created"]}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": revision["name"],
            "namespace": number,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{number}/revisions/{revision['name']}",
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, revision["name"])),
            "generation": 1,
            "creationTimestamp": revision["created"],
            "labels": {**_labels(resource), **labels, "cloud.googleapis.com/location": name.region},
            "annotations": _revision_annotations(resource["serviceConfig"]),
        },
        "spec": _revision_spec(name, resource),
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": kind, **ready} for kind in ("Ready", "Active", "ContainerHealthy")],
        },
    }


@method("run.namespaces.revisions.list", permission=CheckedInside("run.revisions.list"))
def list_revisions(call: Call) -> dict[str, Any]:
    """Return the revisions that serve: those before them are gone here."""
    return _listed("RevisionList", [_revision(call, *found) for found in _in_namespace(call, "run.revisions.list")])


@method("run.namespaces.revisions.get", permission=CheckedInside("run.revisions.get"))
def get_revision(call: Call) -> dict[str, Any]:
    """Return a revision that serves."""
    wanted = call.params["name"].rpartition("/")[2]
    for name, running in _in_namespace(call, "run.revisions.get"):
        if running[1]["name"] == wanted:
            return _revision(call, name, running)
    raise ApiError(404, "notFound", f"Revision '{wanted}' does not exist.")


@method("run.projects.locations.services.getIamPolicy", permission=CheckedInside("run.services.getIamPolicy"))
def get_policy(call: Call) -> dict[str, Any]:
    """Return who may call and administer the service."""
    name, _ = _named(call, "resource", "run.services.getIamPolicy")
    return call.cloud.identity.get_policy(name.service)


@method("run.projects.locations.services.setIamPolicy", permission=CheckedInside("run.services.setIamPolicy"))
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the service's policy; `allUsers` with roles/run.invoker makes the function public."""
    name, _ = _named(call, "resource", "run.services.setIamPolicy")
    return call.cloud.identity.set_policy(name.service, call.body.get("policy", {}))


@method("run.projects.locations.services.testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Return which permissions the caller holds on the service."""
    name = from_resource(call, call.params["resource"])
    return granted(call, name.project, name.service)
