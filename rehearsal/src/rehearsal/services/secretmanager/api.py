# SPDX-License-Identifier: GPL-3.0-or-later
"""secretmanager v1: global secrets and their versions.

Store kind `secretmanager.secrets`, key `PROJECT/SECRET`: `{"resource": Secret, "versions": [{"resource": SecretVersion, "data": base64}]}`,
the oldest version first. Names carry the project's number, as Google's do, whatever the request named it by.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from datetime import UTC, datetime
from typing import Any, NamedTuple

import google_crc32c

from rehearsal.errors import ApiError, not_implemented
from rehearsal.services.iam.resources import granted, project_of
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

KIND = "secretmanager.secrets"
P = "secretmanager.projects.secrets."
SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
LARGEST_PAYLOAD = 64 * 1024
# What a secret may be given here, and what of it may be changed afterwards.
KEPT = ("replication", "labels", "annotations")
CHANGEABLE = ("labels", "annotations")


class Name(NamedTuple):
    """A secret, and a version of it ("" where none is named)."""

    project: str
    id: str
    version: str

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.project}/{self.id}"

    @property
    def policy(self) -> str:
        """What its policy is called."""
        return f"projects/{self.project}/secrets/{self.id}"


def _authorized(call: Call, field: str, permission: str) -> Name:
    """Return what the request names, once the caller is known to hold `permission` on the secret."""
    parts = call.params[field].split("/")
    name = Name(project_of(call, parts[1]), parts[3], parts[5] if len(parts) > 5 else "")
    call.cloud.identity.authorize(call.principal, permission, name.project, name.policy)
    return name


def _full(call: Call, name: Name) -> str:
    return f"projects/{call.cloud.identity.project_number(name.project)}/secrets/{name.id}"


def _record(call: Call, name: Name, missing: str = "not found.") -> dict[str, Any]:
    record = call.cloud.store.get(KIND, name.key)
    if record is None:
        raise ApiError(404, "notFound", f"Secret [{_full(call, name)}] {missing}")
    return record


def _version(call: Call, name: Name, record: dict[str, Any]) -> dict[str, Any]:
    """Return the version that is named; "latest" is the one that was made last, whatever its state."""
    versions: list[dict[str, Any]] = record["versions"]
    if name.version == "latest":
        if not versions:
            raise ApiError(404, "notFound", f"Secret [{_full(call, name)}] not found or has no versions.")
        return versions[-1]
    if not name.version.isdigit() or not 0 < int(name.version) <= len(versions):
        raise ApiError(404, "notFound", f"Secret Version [{_full(call, name)}/versions/{name.version}] not found.")
    return versions[int(name.version) - 1]


def _etag() -> str:
    return f'"{secrets.token_hex(7)}"'


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _invalid(message: str) -> ApiError:
    return ApiError(400, "badRequest", message)


def _check_etag(given: str, current: str) -> None:
    if given and given != current:
        text = f"The etag provided [{given}] does not match the current etag [{current}]."
        raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")


@method(f"{P}create", permission=CheckedInside("secretmanager.secrets.create"))
def create(call: Call) -> dict[str, Any]:
    """Create a secret without a version; Google replicates it by itself here."""
    project = project_of(call, call.params["parent"].split("/")[1])
    call.cloud.identity.authorize(call.principal, "secretmanager.secrets.create", project)
    name = Name(project, call.params.get("secretId", ""), "")
    if not SECRET_ID.fullmatch(name.id):
        raise _invalid(f"The provided Secret ID [{name.id}] does not match the expected format [[a-zA-Z_0-9]+].")
    if "replication" not in call.body:
        raise _invalid("Secret.replication must be provided.")
    if set(call.body) - {*KEPT, "name", "etag"} or "automatic" not in call.body["replication"]:
        raise not_implemented("secrets with their own replicas, keys, expiry, rotation, aliases or topics")
    with call.cloud.store.lock:
        if call.cloud.store.get(KIND, name.key) is not None:
            raise ApiError(409, "alreadyExists", f"Secret [{_full(call, name)}] already exists.")
        resource = {"name": _full(call, name), "createTime": _now(), "etag": _etag()}
        resource |= {field: call.body[field] for field in KEPT if call.body.get(field) or field == "replication"}
        call.cloud.store.put(KIND, name.key, {"resource": resource, "versions": []})
    return resource


@method(f"{P}get", permission=CheckedInside("secretmanager.secrets.get"))
def get(call: Call) -> dict[str, Any]:
    """Describe a secret."""
    resource: dict[str, Any] = _record(call, _authorized(call, "name", "secretmanager.secrets.get"))["resource"]
    return resource


@method(f"{P}list", permission=CheckedInside("secretmanager.secrets.list"))
def list_secrets(call: Call) -> dict[str, Any]:
    """List the project's secrets, in pages."""
    project = project_of(call, call.params["parent"].split("/")[1])
    call.cloud.identity.authorize(call.principal, "secretmanager.secrets.list", project)
    return _page(call, "secrets", [record["resource"] for _, record in call.cloud.store.list(KIND, f"{project}/")])


def _page(call: Call, member: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    if call.params.get("filter"):
        raise not_implemented("filters of Secret Manager's lists")
    begin, size = int(call.params.get("pageToken") or 0), int(call.params.get("pageSize") or 25_000)
    shown = items[begin : begin + size]
    more = {"nextPageToken": str(begin + size)} if begin + size < len(items) else {}
    return ({member: shown, "totalSize": len(items)} if items else {}) | more


@method(f"{P}patch", permission=CheckedInside("secretmanager.secrets.update"))
def patch(call: Call) -> dict[str, Any]:
    """Change labels or annotations, each as a whole."""
    name = _authorized(call, "name", "secretmanager.secrets.update")
    fields = [field for field in call.params.get("updateMask", "").split(",") if field]
    if not fields:
        raise _invalid("The update_mask must be provided.")
    if unknown := [field for field in fields if field not in CHANGEABLE]:
        raise _invalid(f"The update_mask names {', '.join(unknown)}, which cannot be changed.")
    with call.cloud.store.lock:
        record = _record(call, name)
        resource = record["resource"]
        _check_etag(call.body.get("etag", ""), resource["etag"])
        for field in fields:
            resource.pop(field, None)
            if call.body.get(field):
                resource[field] = call.body[field]
        resource["etag"] = _etag()
        call.cloud.store.put(KIND, name.key, record)
    return dict(resource)


@method(f"{P}delete", permission=CheckedInside("secretmanager.secrets.delete"))
def delete(call: Call) -> dict[str, Any]:
    """Delete a secret with its versions and its policy."""
    name = _authorized(call, "name", "secretmanager.secrets.delete")
    with call.cloud.store.lock:
        _check_etag(call.params.get("etag", ""), _record(call, name)["resource"]["etag"])
        call.cloud.store.delete(KIND, name.key)
        call.cloud.identity.delete_policy(name.policy)
    return {}


@method(f"{P}addVersion", permission=CheckedInside("secretmanager.versions.add"))
def add_version(call: Call) -> dict[str, Any]:
    """Add a version, which is enabled and the latest then."""
    name = _authorized(call, "parent", "secretmanager.versions.add")
    payload = call.body.get("payload") or {}
    try:
        data = base64.b64decode(payload.get("data", "").replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise _invalid("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed.") from None
    if not 0 < len(data) <= LARGEST_PAYLOAD:
        raise _invalid(f"Secret Payload must be between 1 and {LARGEST_PAYLOAD} bytes, got {len(data)}.")
    checksum = payload.get("dataCrc32c")
    if checksum is not None and int(checksum) != google_crc32c.value(data):
        raise _invalid("The checksum of the payload does not match its data.")
    with call.cloud.store.lock:
        record = _record(call, name)
        number = len(record["versions"]) + 1
        resource: dict[str, Any] = {
            "name": f"{_full(call, name)}/versions/{number}",
            "createTime": _now(),
            "state": "ENABLED",
            "replicationStatus": {"automatic": {}},
            "etag": _etag(),
        }
        resource |= {"clientSpecifiedPayloadChecksum": True} if checksum is not None else {}
        record["versions"].append({"resource": resource, "data": base64.b64encode(data).decode()})
        call.cloud.store.put(KIND, name.key, record)
    return resource


@method(f"{P}versions.get", permission=CheckedInside("secretmanager.versions.get"))
def get_version(call: Call) -> dict[str, Any]:
    """Describe a version, without its data."""
    name = _authorized(call, "name", "secretmanager.versions.get")
    resource: dict[str, Any] = _version(call, name, _record(call, name))["resource"]
    return resource


@method(f"{P}versions.list", permission=CheckedInside("secretmanager.versions.list"))
def list_versions(call: Call) -> dict[str, Any]:
    """List the versions, the newest first, destroyed ones too."""
    name = _authorized(call, "parent", "secretmanager.versions.list")
    return _page(call, "versions", [one["resource"] for one in reversed(_record(call, name)["versions"])])


@method(f"{P}versions.access", permission=CheckedInside("secretmanager.versions.access"))
def access_version(call: Call) -> dict[str, Any]:
    """Return the data of a version that is enabled."""
    name = _authorized(call, "name", "secretmanager.versions.access")
    version = _version(call, name, _record(call, name, "not found or has no versions."))
    resource = version["resource"]
    if resource["state"] != "ENABLED":
        text = f"Secret Version [{resource['name']}] is in {resource['state']} state."
        raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
    checksum = google_crc32c.value(base64.b64decode(version["data"]))
    return {"name": resource["name"], "payload": {"data": version["data"], "dataCrc32c": str(checksum)}}


@method(
    *(f"{P}versions.{verb}" for verb in ("enable", "disable", "destroy")),
    permission=CheckedInside(*(f"secretmanager.versions.{verb}" for verb in ("enable", "disable", "destroy"))),
)
def set_version_state(call: Call) -> dict[str, Any]:
    """Enable, disable or destroy a version; a destroyed one has no data any more and stays so."""
    verb = call.method_id.rpartition(".")[2]
    name = _authorized(call, "name", f"secretmanager.versions.{verb}")
    with call.cloud.store.lock:
        record = _record(call, name)
        version = _version(call, name, record)
        resource = version["resource"]
        _check_etag(call.body.get("etag", ""), resource["etag"])
        if resource["state"] == "DESTROYED":
            text = f"Secret Version [{resource['name']}] is in DESTROYED state."
            raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
        resource |= {
            "state": {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb],
            "etag": _etag(),
        }
        if verb == "destroy":
            resource["destroyTime"] = _now()
            version["data"] = ""
        call.cloud.store.put(KIND, name.key, record)
    return dict(resource)


@method(f"{P}getIamPolicy", permission=CheckedInside("secretmanager.secrets.getIamPolicy"))
def get_policy(call: Call) -> dict[str, Any]:
    """Return who may read and administer the secret."""
    name = _authorized(call, "resource", "secretmanager.secrets.getIamPolicy")
    _record(call, name)
    return call.cloud.identity.get_policy(name.policy)


@method(f"{P}setIamPolicy", permission=CheckedInside("secretmanager.secrets.setIamPolicy"))
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the secret's policy."""
    name = _authorized(call, "resource", "secretmanager.secrets.setIamPolicy")
    _record(call, name)
    return call.cloud.identity.set_policy(name.policy, call.body.get("policy", {}))


@method(f"{P}testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Return which permissions the caller holds on the secret."""
    parts = call.params["resource"].split("/")
    project = project_of(call, parts[1])
    return granted(call, project, f"projects/{project}/secrets/{parts[3]}")
