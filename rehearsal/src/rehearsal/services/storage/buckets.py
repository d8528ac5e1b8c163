# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets: kept here, since the storage server knows little more of them than their names."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.wrappers import Response

from rehearsal.cloud import Cloud
from rehearsal.errors import ApiError, Body
from rehearsal.services.iam import organisation
from rehearsal.services.storage.server import (
    BUCKETS,
    ask_server,
    bucket_lock,
    bucket_resource,
    check_preconditions,
    etag,
    known_bucket,
    timestamp,
)
from rehearsal.wire.calls import SIGNED_IN, Call, method

REGIONS = (
    "US-CENTRAL1", "US-WEST1", "US-EAST1", "US-EAST4", "EUROPE-WEST1", "EUROPE-WEST3", "EUROPE-NORTH1", "ASIA-EAST1",
)  # fmt: skip
MULTI_REGIONS = ("US", "EU", "ASIA")
# What a new bucket's policy says: the project's basic roles reach objects through it alone,
# https://cloud.google.com/storage/docs/access-control/iam-roles#basic-roles-modifiable.
CONVENIENCE_BINDINGS = {
    "roles/storage.legacyBucketOwner": ("projectEditor", "projectOwner"),
    "roles/storage.legacyBucketReader": ("projectViewer",),
    "roles/storage.legacyObjectOwner": ("projectEditor", "projectOwner"),
    "roles/storage.legacyObjectReader": ("projectViewer",),
}
WEEK_SECONDS = "604800"
FOREIGN_BUCKET = "taken-by-another-project"


@method("storage.buckets.insert", permission="storage.buckets.create")
def insert_bucket(call: Call) -> Body:
    """Create a bucket; names are shared by all projects."""
    body = dict(call.body)
    name = str(body.get("name", ""))
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", name):
        raise ApiError(400, "invalid", f"Invalid bucket name: '{name}'")
    if re.search(r"^goog|google|g00gle|^\d+(\.\d+){3}$", name):
        raise ApiError(400, "invalid", f"The specified bucket name is not valid: '{name}'")
    location = str(body.get("location") or "US").upper()
    if location not in REGIONS + MULTI_REGIONS:
        raise ApiError(400, "invalid", "The specified location constraint is not valid.")
    organisation.check_location(call.cloud.store, location, f"projects/_/buckets/{name}")
    with call.cloud.store.lock:
        taken = BUCKETS.get(call.cloud.store, name)
        if taken and taken["project"] != call.project:
            raise ApiError(
                409, "conflict",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the "
                "system. Please select a different name and try again.",
            )  # fmt: skip
        if taken:
            raise ApiError(
                409, "conflict", "Your previous request to create the named bucket succeeded and you already own it."
            )
        return create(call.cloud, call.project, name, location, body)


def create(cloud: Cloud, project: str, name: str, location: str, body: Body) -> Body:
    """Make a bucket whose name nobody has; return its resource."""
    resource = _new_bucket(cloud, project, name, location, body)
    BUCKETS.put(cloud.store, name, {"project": project, "resource": resource})
    bindings = [
        {"role": role, "members": [f"{kind}:{project}" for kind in kinds]}
        for role, kinds in CONVENIENCE_BINDINGS.items()
    ]
    cloud.identity.set_policy(f"buckets/{name}", {"bindings": bindings})
    ask_server(cloud, "POST", f"/storage/v1/b?project={project}", json.dumps({"name": name}).encode())
    return resource


def _new_bucket(cloud: Cloud, project: str, name: str, location: str, body: Body) -> Body:
    now = timestamp()
    retention = str(body.get("softDeletePolicy", {}).get("retentionDurationSeconds", WEEK_SECONDS))
    multi = location in MULTI_REGIONS
    resource = {
        **body,
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": cloud.identity.project_number(project),
        "generation": str(int(datetime.now(UTC).timestamp() * 1_000_000)),
        "metageneration": "1",
        "etag": etag(1),
        "location": location,
        "locationType": "multi-region" if multi else "region",
        "satisfiesPZI": True,
        "storageClass": body.get("storageClass", "STANDARD"),
        "timeCreated": now,
        "updated": now,
        "softDeletePolicy": {"retentionDurationSeconds": retention, "effectiveTime": now},
    } | ({"rpo": "DEFAULT"} if multi else {})
    _complete(resource, set(body) | {"iamConfiguration"}, now)
    return resource


def _complete(resource: Body, changed: set[str], now: str) -> None:
    """Add what Google adds to the members that were written."""
    _write_int64(resource)
    if "iamConfiguration" in changed:
        access = resource.setdefault("iamConfiguration", {})
        before = access.get("uniformBucketLevelAccess", {})
        uniform: Body = {"enabled": before.get("enabled", False)}
        if uniform["enabled"]:
            lock = datetime.fromisoformat(now) + timedelta(days=90)
            uniform["lockedTime"] = before.get("lockedTime") or lock.isoformat(timespec="milliseconds").replace(
                "+00:00", "Z"
            )
        access |= {"bucketPolicyOnly": uniform, "uniformBucketLevelAccess": dict(uniform)}
        access.setdefault("publicAccessPrevention", "inherited")
    for name in ("softDeletePolicy", "retentionPolicy"):
        if name in changed and resource.get(name):
            resource[name]["effectiveTime"] = now
    if "autoclass" in changed and resource.get("autoclass", {}).get("enabled"):
        resource["autoclass"] |= {"toggleTime": now, "terminalStorageClassUpdateTime": now}
        resource["autoclass"].setdefault("terminalStorageClass", "NEARLINE")


@method("storage.buckets.get", permission="storage.buckets.get", resource=bucket_resource)
def get_bucket(call: Call) -> Body:
    """Return one bucket."""
    return known_bucket(call)["resource"]


@method("storage.buckets.list", permission="storage.buckets.list")
def list_buckets(call: Call) -> Body:
    """List the project's buckets."""
    prefix = call.params.get("prefix", "")
    found = [
        known["resource"] for name, known in BUCKETS.list(call.cloud.store, prefix) if known["project"] == call.project
    ]
    return {"kind": "storage#buckets", "items": found}


@method(
    "storage.buckets.patch", "storage.buckets.update", permission="storage.buckets.update", resource=bucket_resource
)
def patch_bucket(call: Call) -> Body:
    """Change a bucket by JSON merge patch, where null removes a member."""
    with call.cloud.store.lock:
        known = known_bucket(call)
        resource = known["resource"]
        check_preconditions(call.params, "Metageneration", int(resource["metageneration"]))
        _merge(resource, call.body)
        resource["metageneration"] = str(int(resource["metageneration"]) + 1)
        resource["etag"], resource["updated"] = etag(int(resource["metageneration"])), timestamp()
        _complete(resource, set(call.body), resource["updated"])
        BUCKETS.put(call.cloud.store, call.params["bucket"], known)
    return resource


@method("storage.buckets.delete", permission="storage.buckets.delete", resource=bucket_resource)
def delete_bucket(call: Call) -> Response:
    """Delete an empty bucket."""
    name = call.params["bucket"]
    known = known_bucket(call)
    check_preconditions(call.params, "Metageneration", int(known["resource"]["metageneration"]))
    with bucket_lock(call, name):
        listing = ask_server(call.cloud, "GET", f"/storage/v1/b/{name}/o?maxResults=1")
        if json.loads(listing.get_data() or b"{}").get("items"):
            raise ApiError(409, "conflict", "The bucket you tried to delete is not empty.")
        ask_server(call.cloud, "DELETE", f"/storage/v1/b/{name}")
        BUCKETS.delete(call.cloud.store, name)
        call.cloud.identity.delete_policy(f"buckets/{name}")
    return Response(status=204)


@method("storage.buckets.getIamPolicy", permission="storage.buckets.getIamPolicy", resource=bucket_resource)
def get_bucket_policy(call: Call) -> Body:
    """Return the bucket's IAM policy."""
    known_bucket(call)
    return _policy_answer(call, call.cloud.identity.get_policy(bucket_resource(call)))


@method("storage.buckets.setIamPolicy", permission="storage.buckets.setIamPolicy", resource=bucket_resource)
def set_bucket_policy(call: Call) -> Body:
    """Replace the bucket's IAM policy; a stale etag is refused."""
    known = known_bucket(call)
    uniform = known["resource"].get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled")
    if not uniform and any(binding.get("condition") for binding in call.body.get("bindings", [])):
        raise ApiError(400, "invalid", "Conditions need uniform bucket-level access on the bucket.")
    policy: Body = {name: member for name, member in call.body.items() if name in ("bindings", "etag", "version")}
    return _policy_answer(call, call.cloud.identity.set_policy(bucket_resource(call), policy))


@method("storage.buckets.testIamPermissions", permission=SIGNED_IN)
def test_bucket_permissions(call: Call) -> Body:
    """Return those of the asked permissions that the caller has."""
    known_bucket(call)
    identity, resource = call.cloud.identity, bucket_resource(call)
    asked = call.params.get("permissions", [])
    held = [permission for permission in asked if identity.allowed(call.principal, permission, call.project, resource)]
    return {"kind": "storage#testIamPermissionsResponse", "permissions": held}


def _policy_answer(call: Call, policy: Body) -> Body:
    name = call.params["bucket"]
    bindings = policy.get("bindings", [])
    answer = {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{name}", "version": policy.get("version", 1)}
    return answer | {"etag": policy.get("etag", ""), "bindings": bindings}


@method("storage.buckets.getStorageLayout", permission="storage.buckets.get", resource=bucket_resource)
def get_storage_layout(call: Call) -> Body:
    """Return where and how the bucket keeps its objects; gcloud asks before it deletes."""
    resource = known_bucket(call)["resource"]
    layout = {name: resource[name] for name in ("location", "locationType")}
    return {"kind": "storage#storageLayout", "bucket": call.params["bucket"], **layout}


@method("storage.managedFolders.list", permission="storage.managedFolders.list", resource=bucket_resource)
def list_managed_folders(call: Call) -> Body:
    """Return no folder: gcloud asks before it deletes what lies below a prefix."""
    known_bucket(call)
    return {"kind": "storage#managedFolders"}


def _write_int64(resource: Body) -> None:
    """Google takes these as numbers too (its own Python client sends them so), and answers with strings."""
    for member, name in (("softDeletePolicy", "retentionDurationSeconds"), ("retentionPolicy", "retentionPeriod")):
        if name in resource.get(member, {}):
            resource[member][name] = str(resource[member][name])


def _merge(target: Body, patch: Body) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value


def own_a_bucket_elsewhere(cloud: Cloud) -> None:
    """Let another project own a bucket, so that a name that is taken can be met."""
    if BUCKETS.get(cloud.store, FOREIGN_BUCKET) is None:
        resource: dict[str, Any] = _new_bucket(cloud, "foreign-project", FOREIGN_BUCKET, "US-CENTRAL1", {})
        BUCKETS.put(cloud.store, FOREIGN_BUCKET, {"project": "foreign-project", "resource": resource})
