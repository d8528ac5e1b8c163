# SPDX-License-Identifier: GPL-3.0-or-later
"""cloudfunctions.v2: functions, their policies, runtimes and locations."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.functions import deploy, records, runtimes, uploads
from rehearsal.services.functions.names import REGIONS, FunctionName, check_id, check_region, from_key, from_resource
from rehearsal.services.functions.operations import Operation
from rehearsal.services.iam import organisation
from rehearsal.services.iam.resources import granted, may_act_as, project_of
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method, raw_route

# What a deployment goes through; without them Google refuses in the same words.
NEEDED = ("run.googleapis.com", "cloudbuild.googleapis.com", "artifactregistry.googleapis.com")


def _check_deployer(call: Call, wanted: dict[str, Any], name: FunctionName) -> None:
    organisation.check_location(call.cloud.store, name.region, name.resource)
    ingress = wanted["serviceConfig"].get("ingressSettings", "ALLOW_ALL")
    if organisation.forbids(call.cloud.store, "cloudfunctions.allowedIngressSettings", ingress):
        text = f"The request has violated one or more Org Policies: constraints/cloudfunctions.allowedIngressSettings forbids {ingress}."
        raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
    for service in NEEDED:
        call.cloud.identity.check_enabled(name.project, service)
    may_act_as(call, wanted["serviceConfig"]["serviceAccountEmail"], name.project)


@method(
    "cloudfunctions.projects.locations.functions.create",
    permission="cloudfunctions.functions.create",
    also=("iam.serviceAccounts.actAs",),
)
def create(call: Call) -> dict[str, Any]:
    """Create a function; 409 where the name is taken."""
    region = call.params["parent"].split("/")[3]
    check_region(region)
    function_id = call.params.get("functionId") or call.body.get("name", "").rpartition("/")[2]
    check_id(function_id)
    name = from_resource(call, f"{call.params['parent']}/functions/{function_id}")
    wanted = records.with_defaults(call, name, call.body)
    _check_deployer(call, wanted, name)
    store = call.cloud.store
    with store.lock:
        if records.FUNCTIONS.get(store, name.key) is not None:
            raise ApiError(409, "alreadyExists", f"Resource '{name.resource}' already exists")
        operation = Operation(store, name, "create", deploy.STAGES, call.body)
        begun = records.with_update_time({**wanted, "state": records.DEPLOYING})
        records.FUNCTIONS.put(store, name.key, {"resource": begun, "serving": None, "revisions": 0})
    call.cloud.background(deploy.deploy, call.cloud, name, wanted, operation)
    return operation.as_resource()


@method(
    "cloudfunctions.projects.locations.functions.patch",
    permission="cloudfunctions.functions.update",
    also=("iam.serviceAccounts.actAs",),
)
def patch(call: Call) -> dict[str, Any]:
    """Update a function: a new revision with what the mask names, which replaces the old one once it is ready."""
    name = from_resource(call, call.params["name"])
    store = call.cloud.store
    with store.lock:
        record = records.require(call.cloud, name)
        _check_idle(record)
        merged = records.apply_mask(record["resource"], call.body, call.params.get("updateMask", ""))
        source = merged.get("buildConfig", {}).get("source", {}).get("storageSource", {})
        if record["serving"] and source == record["resource"]["buildConfig"]["source"]["storageSource"]:
            merged["buildConfig"]["source"] = {"storageSource": _kept_source(call, name, record)}
        wanted = records.with_defaults(call, name, merged)
        _check_deployer(call, wanted, name)
        operation = Operation(store, name, "update", deploy.STAGES, merged)
        record["resource"]["state"] = records.DEPLOYING
        records.FUNCTIONS.put(store, name.key, record)
    call.cloud.background(deploy.deploy, call.cloud, name, wanted, operation)
    return operation.as_resource()


def _kept_source(call: Call, name: FunctionName, record: records.Record) -> dict[str, Any]:
    """Make the deployed archive addressable again, for an update that does not bring a new one."""
    source = record["resource"]["buildConfig"]["sourceProvenance"]["resolvedStorageSource"]
    upload: uploads.Upload = {
        "project": name.project,
        "digest": record["serving"]["source"] if record["serving"] else "",
        "generation": source["generation"],
        # Without a signature nobody can write to it.
        "signature": "",
        "expires": 0,
    }
    uploads.UPLOADS.put(call.cloud.store, f"{source['bucket']}/{source['object']}", upload)
    return {"bucket": source["bucket"], "object": source["object"]}


def _check_idle(record: records.Record) -> None:
    if record["resource"]["state"] in records.IN_PROGRESS:
        raise ApiError(409, "aborted", "unable to queue the operation", status="ABORTED")


@method("cloudfunctions.projects.locations.functions.get", permission="cloudfunctions.functions.get")
def get(call: Call) -> dict[str, Any]:
    """Return one function."""
    return records.require(call.cloud, from_resource(call, call.params["name"]))["resource"]


@method("cloudfunctions.projects.locations.functions.list", permission="cloudfunctions.functions.list")
def list_functions(call: Call) -> dict[str, Any]:
    """Return the functions of a region, or of all (`-`), on one page."""
    _, _, _, region = call.params["parent"].split("/")
    project = call.cloud.identity.require_project(call.project)["projectId"]
    if region != "-":
        check_region(region)
    found = [
        record["resource"]
        for key, record in records.FUNCTIONS.list(call.cloud.store, f"{project}/")
        if region in ("-", from_key(key).region)
    ]
    return {"functions": found} if found else {}


@method("cloudfunctions.projects.locations.functions.delete", permission="cloudfunctions.functions.delete")
def delete(call: Call) -> dict[str, Any]:
    """Delete a function with its service, its instances and its policies."""
    name = from_resource(call, call.params["name"])
    store = call.cloud.store
    with store.lock:
        record = records.require(call.cloud, name)
        _check_idle(record)
        record["resource"]["state"] = records.DELETING
        records.FUNCTIONS.put(store, name.key, record)
        operation = Operation(store, name, "delete")
    call.cloud.background(deploy.delete, call.cloud, name, operation)
    return operation.as_resource()


@method("cloudfunctions.projects.locations.functions.getIamPolicy", permission="cloudfunctions.functions.getIamPolicy")
def get_policy(call: Call) -> dict[str, Any]:
    """Return who may administer the function. Who may call it says the Cloud Run service's policy."""
    name = from_resource(call, call.params["resource"])
    records.require(call.cloud, name)
    return call.cloud.identity.get_policy(name.resource)


@method("cloudfunctions.projects.locations.functions.setIamPolicy", permission="cloudfunctions.functions.setIamPolicy")
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the function's policy."""
    name = from_resource(call, call.params["resource"])
    records.require(call.cloud, name)
    return call.cloud.identity.set_policy(name.resource, call.body.get("policy", {}))


@method("cloudfunctions.projects.locations.functions.testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Return which permissions the caller holds on the function."""
    name = from_resource(call, call.params["resource"])
    return granted(call, name.project, name.resource)


@method("cloudfunctions.projects.locations.runtimes.list", permission="cloudfunctions.runtimes.list")
def list_runtimes(call: Call) -> dict[str, Any]:
    """Return the runtimes, with their end-of-life dates."""
    check_region(call.params["parent"].split("/")[3])
    return {"runtimes": [runtimes.as_resource(runtime) for runtime in runtimes.RUNTIMES]}


@method("cloudfunctions.projects.locations.list", permission="cloudfunctions.locations.list")
def list_locations(call: Call) -> dict[str, Any]:
    """Return the regions in which functions can be deployed."""
    return _locations(call.cloud.identity.require_project(call.project)["projectId"])


def _locations(project: str) -> dict[str, Any]:
    return {"locations": [{"name": f"projects/{project}/locations/{r}", "locationId": r} for r in REGIONS]}


# The first generation, as far as `gcloud functions list` asks for it before it lists the second.


@raw_route(
    r"cloudfunctions\.googleapis\.com",
    "GET",
    r"/v1/projects/(?P<project>[^/]+)/locations",
    method_id="cloudfunctions.v1.projects.locations.list",
    permission=CheckedInside("cloudfunctions.locations.list"),
)
def list_first_generation_locations(call: Call) -> dict[str, Any]:
    """Return the regions again: both generations have the same."""
    return _locations(_project_of_match(call, "cloudfunctions.locations.list"))


@raw_route(
    r"cloudfunctions\.googleapis\.com",
    "GET",
    r"/v1/projects/(?P<project>[^/]+)/locations/[^/]+/functions",
    method_id="cloudfunctions.v1.projects.locations.functions.list",
    permission=CheckedInside("cloudfunctions.functions.list"),
)
def list_first_generation(call: Call) -> dict[str, Any]:
    """Return no function: there are none of the first generation."""
    _project_of_match(call, "cloudfunctions.functions.list")
    return {}


def _project_of_match(call: Call, permission: str) -> str:
    assert call.match is not None  # noqa: S101 - a raw route always has one
    project = project_of(call, call.match["project"])
    call.cloud.identity.authorize(call.principal, permission, project)
    return project
