# SPDX-License-Identifier: GPL-3.0-or-later
"""artifactregistry.v1, as far as people look at, tidy and delete the images of functions: `gcf-artifacts` is the only repository."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import quote, unquote

from rehearsal.errors import ApiError, not_implemented
from rehearsal.services.artifactregistry.images import REPOSITORIES, REPOSITORY, Repository, Version, find, stamp
from rehearsal.services.compute.resource_policies import today
from rehearsal.services.functions.names import REGIONS
from rehearsal.services.iam.resources import project_of
from rehearsal.store import Documents
from rehearsal.wire.calls import SIGNED_IN, Call, method

L = "artifactregistry.projects.locations."
R = f"{L}repositories."
OPERATIONS: Documents[dict[str, Any]] = Documents("artifactregistry.operations")
EMPTY = "type.googleapis.com/google.protobuf.Empty"
METADATA = "type.googleapis.com/google.devtools.artifactregistry.v1.OperationMetadata"
CHANGEABLE = ("cleanupPolicies", "cleanupPolicyDryRun", "labels", "description")
MOST_POLICIES = 10


def _place(call: Call, name: str) -> tuple[str, str]:
    """Return (project, region) of a resource's name."""
    parts = name.split("/")
    return project_of(call, parts[1]), parts[3]


def _require(call: Call, name: str) -> Repository:
    """Return the repository that is named, or that what is named lies in."""
    project, region = _place(call, name)
    found = find(call.cloud.store, project, region) if name.split("/")[5] == REPOSITORY else None
    if found is None:
        raise ApiError(404, "notFound", "Requested entity was not found.")
    return found


def _shown(found: Repository) -> dict[str, Any]:
    size = sum(version["size"] for versions in found["packages"].values() for version in versions)
    return found["resource"] | {"sizeBytes": str(size)}


def _page(call: Call, member: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    begin, size = int(call.params.get("pageToken") or 0), int(call.params.get("pageSize") or 100)
    more = {"nextPageToken": str(begin + size)} if begin + size < len(items) else {}
    return ({member: items[begin : begin + size]} if items else {}) | more


@method(f"{L}list", permission="artifactregistry.locations.list")
def list_locations(call: Call) -> dict[str, Any]:
    """Return the regions, which gcloud goes through."""
    project = call.params["name"].split("/")[1]
    return {"locations": [{"name": f"projects/{project}/locations/{one}", "locationId": one} for one in REGIONS]}


@method(f"{R}list", permission="artifactregistry.repositories.list")
def list_repositories(call: Call) -> dict[str, Any]:
    """Return the repositories of a region."""
    project, region = _place(call, call.params["parent"])
    found = find(call.cloud.store, project, region)
    return _page(call, "repositories", [_shown(found)] if found else [])


@method(f"{R}get", permission="artifactregistry.repositories.get")
def get(call: Call) -> dict[str, Any]:
    """Return a repository."""
    return _shown(_require(call, call.params["name"]))


@method(f"{R}patch", permission="artifactregistry.repositories.update")
def patch(call: Call) -> dict[str, Any]:
    """Change what the mask names: cleanup policies (all of them), whether they are tried only, labels, description."""
    fields = [field for field in call.params.get("updateMask", "").split(",") if field]
    fields = [field.replace("cleanup_policies", "cleanupPolicies") for field in fields]
    fields = [field.replace("cleanup_policy_dry_run", "cleanupPolicyDryRun") for field in fields]
    if not fields:
        raise ApiError(400, "badRequest", "update_mask is required")
    if unknown := [field for field in fields if field not in CHANGEABLE]:
        raise not_implemented(f"changing {', '.join(unknown)} of a repository")
    _check_policies(call.body.get("cleanupPolicies") or {})
    store = call.cloud.store
    with store.lock:
        found = _require(call, call.params["name"])
        for field in fields:
            found["resource"].pop(field, None)
            if call.body.get(field):
                found["resource"][field] = call.body[field]
        found["resource"]["updateTime"] = stamp(today(store))
        REPOSITORIES.put(store, "/".join(_place(call, call.params["name"])), found)
    return _shown(found)


def _check_policies(policies: dict[str, dict[str, Any]]) -> None:
    if len(policies) > MOST_POLICIES:
        raise ApiError(400, "badRequest", f"a repository has {MOST_POLICIES} cleanup policies at most")
    for key, policy in policies.items():
        action, recent = policy.get("action"), "mostRecentVersions" in policy
        if policy.get("id", key) != key:
            raise ApiError(400, "badRequest", f"cleanup policy id {policy['id']} does not match its key {key}")
        if action not in ("DELETE", "KEEP") or recent == ("condition" in policy) or (recent and action == "DELETE"):
            text = f"cleanup policy {key} needs an action, and either a condition or (to keep) most_recent_versions"
            raise ApiError(400, "badRequest", text)
        if "versionNamePrefixes" in policy.get("condition", {}):
            raise not_implemented("cleanup policies by the names of versions")


@method(f"{R}delete", permission="artifactregistry.repositories.delete")
def delete(call: Call) -> dict[str, Any]:
    """Delete a repository with its images."""
    _require(call, call.params["name"])
    REPOSITORIES.delete(call.cloud.store, "/".join(_place(call, call.params["name"])))
    return _operation(call, call.params["name"])


@method(f"{R}packages.list", permission="artifactregistry.packages.list")
def list_packages(call: Call) -> dict[str, Any]:
    """Return the packages: of a function one with its images, and one with its build's cache."""
    found = _require(call, call.params["parent"])
    items = []
    for package, versions in sorted(found["packages"].items()):
        times = [version["created"] for version in versions]
        name = f"{found['resource']['name']}/packages/{quote(package, safe='')}"
        items.append({"name": name, "createTime": stamp(min(times)), "updateTime": stamp(max(times))})
    return _page(call, "packages", items)


@method(f"{R}packages.delete", permission="artifactregistry.packages.delete")
def delete_package(call: Call) -> dict[str, Any]:
    """Delete a package with its images."""
    name = call.params["name"]
    store = call.cloud.store
    with store.lock:
        found = _require(call, name)
        if found["packages"].pop(_package(name), None) is None:
            raise ApiError(404, "notFound", f'Package "{name}" was not found.')
        REPOSITORIES.put(store, "/".join(_place(call, name)), found)
    return _operation(call, name)


def _package(name: str) -> str:
    # gcloud and the libraries send the slash of "…/cache" escaped; whoever escapes a whole segment escapes it twice.
    return unquote(unquote(name.partition("/packages/")[2].removesuffix("/versions")))


def _versions(call: Call, name: str) -> list[tuple[str, Version]]:
    found = _require(call, name)
    return [(package, one) for package, versions in sorted(found["packages"].items()) for one in versions]


@method(f"{R}packages.versions.list", permission="artifactregistry.versions.list")
def list_versions(call: Call) -> dict[str, Any]:
    """Return the images of a package."""
    parent = call.params["parent"]
    shown = [
        {
            "name": f"{parent}/versions/{version['name']}",
            "createTime": stamp(version["created"]),
            "updateTime": stamp(version["created"]),
            "metadata": {"imageSizeBytes": str(version["size"])},
        }
        for package, version in _versions(call, parent)
        if package == _package(parent)
    ]
    return _page(call, "versions", shown)


@method(f"{R}dockerImages.list", permission="artifactregistry.dockerimages.list")
def list_images(call: Call) -> dict[str, Any]:
    """Return all images of a repository with tags and sizes."""
    parent = call.params["parent"]
    registry = _require(call, parent)["resource"]["registryUri"]
    shown = [
        {
            "name": f"{parent}/dockerImages/{quote(package, safe='')}@{version['name']}",
            "uri": f"{registry}/{package}@{version['name']}",
            "tags": version["tags"],
            "imageSizeBytes": str(version["size"]),
            "uploadTime": stamp(version["created"]),
            "updateTime": stamp(version["created"]),
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        }
        for package, version in _versions(call, parent)
    ]
    return _page(call, "dockerImages", shown)


def _operation(call: Call, target: str) -> dict[str, Any]:
    """Return the operation of a deletion; it has ended when it is asked for again."""
    name = f"{'/'.join(target.split('/')[:4])}/operations/{uuid.uuid4()}"
    OPERATIONS.put(call.cloud.store, name, {"name": name, "ended": time.time()})
    return {"name": name, "metadata": {"@type": METADATA}}


@method(f"{L}operations.get", permission=SIGNED_IN)
def get_operation(call: Call) -> dict[str, Any]:
    """Return an operation."""
    name = call.params["name"]
    if OPERATIONS.get(call.cloud.store, name) is None:
        raise ApiError(404, "notFound", "Requested entity was not found.")
    return {"name": name, "done": True, "metadata": {"@type": METADATA}, "response": {"@type": EMPTY}}
