# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Storage v1: buckets are kept here, objects by fake-gcs-server behind it.

The server ignores most preconditions that Google honours, so all of them are checked here, under one lock a bucket.
"""

from __future__ import annotations

import base64
import email.parser
import http.client
import json
import re
import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from werkzeug.wrappers import Response

from rehearsal.cloud import Cloud
from rehearsal.object_metadata import as_google_has_it, remember_change
from rehearsal.registry import ApiError, Body, Call, method, on_start, raw_route

HOST = "storage.googleapis.com"
CONDITIONS = ("ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch")
REGIONS = (
    "US-CENTRAL1",
    "US-WEST1",
    "US-EAST1",
    "US-EAST4",
    "EUROPE-WEST1",
    "EUROPE-WEST3",
    "EUROPE-NORTH1",
    "ASIA-EAST1",
)
MULTI_REGIONS = ("US", "EU", "ASIA")
WEEK_SECONDS = "604800"
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "date", "keep-alive"}
FOREIGN_BUCKET = "taken-by-another-project"

_locks: dict[str, threading.RLock] = defaultdict(threading.RLock)


def bucket_resource(call: Call) -> str:
    """Return the resource that a bucket's or an object's permission is checked on."""
    return f"buckets/{call.params['bucket']}"


def object_resource(call: Call) -> str:
    """Return the resource that an object's permission is checked on: the bucket's policy, and conditions on the name."""
    return f"buckets/{call.params['bucket']}/objects/{call.params['object']}"


def upload_resource(call: Call) -> str:
    """Return the resource that an upload is to become."""
    return f"buckets/{call.params['bucket']}/objects/{call.params.get('name') or _named_in_body(call)}"


# Buckets


@method("storage.buckets.insert", permission="storage.buckets.create")
def insert_bucket(call: Call) -> Body:
    """Create a bucket; names are shared by all projects."""
    body = dict(call.body)
    name = str(body.get("name", ""))
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", name):
        raise ApiError(400, "invalid", f"Invalid bucket name: '{name}'")
    location = str(body.get("location") or "US").upper()
    if location not in REGIONS + MULTI_REGIONS:
        raise ApiError(400, "invalid", "The specified location constraint is not valid.")
    with call.cloud.store.lock:
        taken = call.cloud.store.get("buckets", name)
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
        resource = _new_bucket(call.cloud, call.project, name, location, body)
        call.cloud.store.put("buckets", name, {"project": call.project, "resource": resource})
    _server(call.cloud, "POST", f"/storage/v1/b?project={call.project}", json.dumps({"name": name}).encode())
    return resource


def _new_bucket(cloud: Cloud, project: str, name: str, location: str, body: Body) -> Body:
    now = _timestamp()
    uniform = body.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled", False)
    retention = str(body.get("softDeletePolicy", {}).get("retentionDurationSeconds", WEEK_SECONDS))
    return {
        **body,
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": cloud.identity.project_number(project),
        "generation": str(int(datetime.now(UTC).timestamp() * 1_000_000)),
        "metageneration": "1",
        "etag": _etag(1),
        "location": location,
        "locationType": "multi-region" if location in MULTI_REGIONS else "region",
        "storageClass": body.get("storageClass", "STANDARD"),
        "timeCreated": now,
        "updated": now,
        "softDeletePolicy": {"retentionDurationSeconds": retention, "effectiveTime": now},
        "iamConfiguration": {
            "bucketPolicyOnly": {"enabled": uniform},
            "uniformBucketLevelAccess": {"enabled": uniform},
            "publicAccessPrevention": body.get("iamConfiguration", {}).get("publicAccessPrevention", "inherited"),
        },
    }


@method("storage.buckets.get", permission="storage.buckets.get", resource=bucket_resource)
def get_bucket(call: Call) -> Body:
    """Return one bucket."""
    resource: Body = _bucket(call)["resource"]
    return resource


@method("storage.buckets.list", permission="storage.buckets.list")
def list_buckets(call: Call) -> Body:
    """List the project's buckets."""
    prefix = call.params.get("prefix", "")
    found = [
        known["resource"]
        for name, known in call.cloud.store.list("buckets", prefix)
        if known["project"] == call.project
    ]
    return {"kind": "storage#buckets", "items": found}


@method(
    "storage.buckets.patch", "storage.buckets.update", permission="storage.buckets.update", resource=bucket_resource
)
def patch_bucket(call: Call) -> Body:
    """Change a bucket by JSON merge patch, where null removes a member."""
    with call.cloud.store.lock:
        known = _bucket(call)
        resource: Body = known["resource"]
        _check_metageneration(call.params, int(resource["metageneration"]))
        _merge(resource, call.body)
        resource["metageneration"] = str(int(resource["metageneration"]) + 1)
        resource["etag"], resource["updated"] = _etag(int(resource["metageneration"])), _timestamp()
        if "softDeletePolicy" in call.body:
            resource["softDeletePolicy"]["effectiveTime"] = resource["updated"]
        call.cloud.store.put("buckets", call.params["bucket"], known)
    return resource


@method("storage.buckets.delete", permission="storage.buckets.delete", resource=bucket_resource)
def delete_bucket(call: Call) -> Response:
    """Delete an empty bucket."""
    name = call.params["bucket"]
    known = _bucket(call)
    _check_metageneration(call.params, int(known["resource"]["metageneration"]))
    with _locks[name]:
        listing = _server(call.cloud, "GET", f"/storage/v1/b/{name}/o?maxResults=1")
        if json.loads(listing.get_data() or b"{}").get("items"):
            raise ApiError(409, "conflict", "The bucket you tried to delete is not empty.")
        _server(call.cloud, "DELETE", f"/storage/v1/b/{name}")
        call.cloud.store.delete("buckets", name)
        call.cloud.identity.delete_policy(f"buckets/{name}")
    return Response(status=204)


@method("storage.buckets.getIamPolicy", permission="storage.buckets.getIamPolicy", resource=bucket_resource)
def get_bucket_policy(call: Call) -> Body:
    """Return the bucket's IAM policy."""
    _bucket(call)
    return _policy_answer(call, call.cloud.identity.get_policy(bucket_resource(call)))


@method("storage.buckets.setIamPolicy", permission="storage.buckets.setIamPolicy", resource=bucket_resource)
def set_bucket_policy(call: Call) -> Body:
    """Replace the bucket's IAM policy; a stale etag is refused."""
    known = _bucket(call)
    uniform = known["resource"].get("iamConfiguration", {}).get("uniformBucketLevelAccess", {}).get("enabled")
    if not uniform and any(binding.get("condition") for binding in call.body.get("bindings", [])):
        raise ApiError(400, "invalid", "Conditions need uniform bucket-level access on the bucket.")
    policy: Body = {name: member for name, member in call.body.items() if name in ("bindings", "etag", "version")}
    return _policy_answer(call, call.cloud.identity.set_policy(bucket_resource(call), policy))


@method("storage.buckets.testIamPermissions")
def test_bucket_permissions(call: Call) -> Body:
    """Return those of the asked permissions that the caller has."""
    _bucket(call)
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
    resource = _bucket(call)["resource"]
    layout = {name: resource[name] for name in ("location", "locationType")}
    return {"kind": "storage#storageLayout", "bucket": call.params["bucket"], **layout}


# Objects


@method("storage.objects.get", permission="storage.objects.get", resource=object_resource)
def get_object(call: Call) -> Response:
    """Return an object's metadata, or with alt=media its bytes."""
    _bucket(call)
    return _read(call, call.params["bucket"], call.params["object"])


@raw_route(
    HOST + r"|www\.googleapis\.com", "GET", r"/download/storage/v1/b/([^/]+)/o/([^/]+)", method_id="storage.objects.get"
)
def download_object(call: Call) -> Response:
    """Return an object's bytes."""
    bucket, name = _raw_object(call, "storage.objects.get")
    call.params = _query(call)
    return _read(call, bucket, name)


@method("storage.objects.list", permission="storage.objects.list", resource=bucket_resource)
def list_objects(call: Call) -> Response:
    """List a bucket's objects."""
    _bucket(call)
    return _forward(call)


@method("storage.objects.insert", permission="storage.objects.create", resource=upload_resource)
def insert_object(call: Call) -> Response:
    """Upload an object: media, multipart, or the start of a resumable session."""
    _bucket(call)
    bucket = call.params["bucket"]
    name = call.params.get("name") or _named_in_body(call)
    if not name:
        raise ApiError(400, "required", "Required parameter: name")
    with _locks[bucket]:
        _check_conditions(call, bucket, name, call.params, overwriting=True)
        response = _forward(call)
    if _query(call).get("uploadType") == "resumable" and response.status_code == 200:
        session = dict(parse_qsl(response.headers["Location"].partition("?")[2]))["upload_id"]
        conditions = {key: call.params[key] for key in CONDITIONS if key in call.params}
        document = {"bucket": bucket, "object": name, "conditions": conditions, "principal": call.principal}
        call.cloud.store.put("storage.uploads", session, document)
        response.set_data(b"")
    return response


@raw_route(
    HOST + r"|www\.googleapis\.com", "PUT", r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o",
    method_id="storage.objects.insert", public=True,
)  # fmt: skip
def continue_upload(call: Call) -> Response:
    """Take the next part of a resumable upload; the session's unguessable id is the authorisation, as with Google."""
    session = call.cloud.store.get("storage.uploads", _query(call).get("upload_id", ""))
    if session is None:
        raise ApiError(404, "notFound", "The upload session was not found; it may have expired.")
    with _locks[session["bucket"]]:
        if not call.request.headers.get("Content-Range", "").startswith("bytes */"):
            call.principal = session["principal"]
            _check_conditions(call, session["bucket"], session["object"], session["conditions"], overwriting=True)
        return _forward(call)


@method("storage.objects.delete", permission="storage.objects.delete", resource=object_resource)
def delete_object(call: Call) -> Response:
    """Delete an object."""
    return _change(call, call.params["bucket"], call.params["object"])


@method(
    "storage.objects.patch", "storage.objects.update", permission="storage.objects.update", resource=object_resource
)
def patch_object(call: Call) -> Response:
    """Change an object's metadata: the generation stays, and the metageneration counts on."""
    bucket, name = call.params["bucket"], call.params["object"]
    with _locks[bucket]:
        before = _check_conditions(call, bucket, name, call.params)
        changed = _change(call, bucket, name)
        if before is None or changed.status_code != 200:
            return changed
        remember_change(call.cloud.store, before, _described(call, bucket, name) or before)
        return Response(json.dumps(_found(call, bucket, name)), mimetype="application/json")


def _destination(call: Call) -> str:
    return f"buckets/{call.params['destinationBucket']}/objects/{call.params['destinationObject']}"


@method("storage.objects.rewrite", "storage.objects.copy", permission="storage.objects.create", resource=_destination)
def rewrite_object(call: Call) -> Response:
    """Copy an object on the server's side."""
    source = call.cloud.store.get("buckets", call.params["sourceBucket"])
    project = source["project"] if source else call.project
    resource = f"buckets/{call.params['sourceBucket']}/objects/{call.params['sourceObject']}"
    call.cloud.identity.authorize(call.principal, "storage.objects.get", project, resource)
    return _change(call, call.params["destinationBucket"], call.params["destinationObject"], overwriting=True)


@method("storage.objects.compose", permission="storage.objects.create", resource=_destination)
def compose_object(call: Call) -> Response:
    """Concatenate objects into one."""
    return _change(call, call.params["destinationBucket"], call.params["destinationObject"], overwriting=True)


def _read(call: Call, bucket: str, name: str) -> Response:
    with _locks[bucket]:
        current = _check_conditions(call, bucket, name, call.params)
        if current is None:
            # Who may not list a bucket does not learn which objects it has.
            call.cloud.identity.authorize(call.principal, "storage.objects.list", call.project, f"buckets/{bucket}")
            raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
        _check_generation(call, current)
        response = _forward(call)
        if "X-Goog-Generation" in response.headers:
            response.headers["X-Goog-Generation"] = current["generation"]
        return response


def _change(call: Call, bucket: str, name: str, *, overwriting: bool = False) -> Response:
    if call.cloud.store.get("buckets", bucket) is None:
        raise ApiError(404, "notFound", "The specified bucket does not exist.")
    with _locks[bucket]:
        current = _check_conditions(call, bucket, name, call.params, overwriting=overwriting)
        if current is None and not overwriting:
            raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
        if current is not None:
            _check_generation(call, current)
        return _forward(call)


def _check_generation(call: Call, current: Body) -> None:
    """Raise 404 where another generation is asked for than the one that there is."""
    wanted = call.params.get("generation")
    if wanted and str(wanted) != current["generation"]:
        raise ApiError(404, "notFound", f"No such object: {current['bucket']}/{current['name']}#{wanted}")


def _check_conditions(call: Call, bucket: str, name: str, params: Body, *, overwriting: bool = False) -> Body | None:
    """Return the object as it is now; raise 412 (304 for a read) where a precondition does not hold."""
    current = _found(call, bucket, name)
    for kind in ("Generation", "Metageneration"):
        found = int(current[kind.lower()]) if current else 0
        wanted, unwanted = params.get(f"if{kind}Match"), params.get(f"if{kind}NotMatch")
        if wanted is not None and int(wanted) != found:
            raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        if unwanted is not None and int(unwanted) == found:
            code = 304 if call.request.method == "GET" else 412
            raise ApiError(code, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    if overwriting and current is not None:
        # Replacing an object takes the permission to delete it, as with Google.
        owner = call.cloud.store.get("buckets", bucket)
        project = owner["project"] if owner else call.project
        resource = f"buckets/{bucket}/objects/{name}"
        call.cloud.identity.authorize(call.principal, "storage.objects.delete", project, resource)
    return current


def _found(call: Call, bucket: str, name: str) -> Body | None:
    """Return an object's resource, or None."""
    described = _described(call, bucket, name)
    return as_google_has_it(call.cloud.store, described) if described else None


# The server behind


def _described(call: Call, bucket: str, name: str) -> Body | None:
    answer = _server(call.cloud, "GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")
    found: Body | None = json.loads(answer.get_data()) if answer.status_code == 200 else None
    return found


def _forward(call: Call) -> Response:
    """Send the call on as it came, less the preconditions and the generation, which were checked here."""
    target = call.request.headers["X-Rehearsal-Target"]
    path, _, query = target.partition("?")
    kept = [
        (key, value)
        for key, value in parse_qsl(query, keep_blank_values=True)
        if key not in (*CONDITIONS, "generation")
    ]
    path = path.removeprefix("/resumable")
    headers = {
        name: value
        for name, value in call.request.headers.items()
        if name.lower()
        in ("content-type", "content-range", "range", "x-upload-content-type", "x-goog-hash", "x-goog-upload-protocol")
    }
    target = path + ("?" + urlencode(kept) if kept else "")
    response = _server(call.cloud, call.request.method, target, call.request.get_data(), headers)
    if response.status_code == 404:
        raise ApiError(404, "notFound", f"No such object: {unquote(path.partition('/b/')[2]).replace('/o/', '/', 1)}")
    if call.request.method == "DELETE" and response.status_code == 200:
        return Response(status=204)
    if response.mimetype == "application/json" and "alt=media" not in query:
        content = json.loads(response.get_data() or b"{}")
        for item in [content, *content.get("items", []), content.get("resource", {})]:
            as_google_has_it(call.cloud.store, item)
        response.set_data(json.dumps(content).encode())
    return response


def _server(cloud: Cloud, verb: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.storage_port, timeout=600)
    try:
        sent = {"Host": HOST, "Content-Type": "application/json", **(headers or {})}
        connection.request(verb, target, body=body or None, headers=sent)
        answer = connection.getresponse()
        response = Response(answer.read(), status=answer.status)
        for name, value in answer.getheaders():
            if name.lower() in HOP_HEADERS:
                continue
            if name.lower() == "location":
                value = re.sub(r"^https?://[^/]+", f"https://{HOST}", value)
            response.headers[name] = value
        return response
    except OSError as error:
        raise ApiError(503, "backendError", f"The storage server does not answer: {error}") from None
    finally:
        connection.close()


def _bucket(call: Call) -> Body:
    known = call.cloud.store.get("buckets", call.params["bucket"])
    if known is None:
        raise ApiError(404, "notFound", "The specified bucket does not exist.")
    return known


def _raw_object(call: Call, permission: str) -> tuple[str, str]:
    assert call.match is not None  # noqa: S101 - a raw route always has its match
    bucket, name = (unquote(part) for part in call.match.groups())
    call.params = {"bucket": bucket}
    project = _bucket(call)["project"]
    call.project = project
    call.cloud.identity.authorize(call.principal, permission, project, f"buckets/{bucket}/objects/{name}")
    return bucket, name


def _named_in_body(call: Call) -> str:
    """Return the object name from an upload's JSON part."""
    data = call.request.get_data()
    kind = call.request.content_type or ""
    if kind.startswith("multipart/"):
        # gcloud puts the boundary into single quotes, which werkzeug does not take for quotes.
        boundary = kind.partition("boundary=")[2].partition(";")[0].strip("'\" ").encode()
        first = data.split(b"--" + boundary, 2)[1]
        data = email.parser.BytesParser().parsebytes(first.lstrip(b"\r\n")).get_payload(decode=True)  # type: ignore[assignment]
    elif _query(call).get("uploadType") != "resumable":
        return ""
    try:
        return str(json.loads(data or b"{}").get("name", ""))
    except ValueError:
        raise ApiError(400, "parseError", "Invalid JSON payload received in the upload's metadata.") from None


def _query(call: Call) -> dict[str, str]:
    return dict(parse_qsl(call.request.headers.get("X-Rehearsal-Target", "").partition("?")[2]))


def _check_metageneration(params: Body, found: int) -> None:
    wanted, unwanted = params.get("ifMetagenerationMatch"), params.get("ifMetagenerationNotMatch")
    if (wanted is not None and int(wanted) != found) or (unwanted is not None and int(unwanted) == found):
        raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def _merge(target: Body, patch: Body) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value


def _etag(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@on_start
def own_a_bucket_elsewhere(cloud: Cloud) -> None:
    """Let another project own a bucket, so that a name that is taken can be met."""
    if cloud.store.get("buckets", FOREIGN_BUCKET) is None:
        resource: dict[str, Any] = _new_bucket(cloud, "foreign-project", FOREIGN_BUCKET, "US-CENTRAL1", {})
        cloud.store.put("buckets", FOREIGN_BUCKET, {"project": "foreign-project", "resource": resource})
