# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects: kept by fake-gcs-server. It ignores most preconditions that Google honours, so all are checked here."""

from __future__ import annotations

import email.parser
import json
from typing import TypedDict
from urllib.parse import parse_qsl, quote, unquote, urlencode

from werkzeug.wrappers import Response

from rehearsal.errors import ApiError, Body, not_implemented
from rehearsal.services.iam.identity import Caller
from rehearsal.services.storage.object_metadata import as_google_writes, remember_change, remember_components
from rehearsal.services.storage.server import (
    BUCKETS,
    HOST,
    ask_server,
    bucket_lock,
    bucket_resource,
    check_preconditions,
    condition_not_met,
    known_bucket,
)
from rehearsal.store import Documents
from rehearsal.wire.calls import PUBLIC, Call, CheckedInside, method, raw_route

CONDITIONS = ("ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch")


class Session(TypedDict):
    """A resumable upload that has begun: where to, on which preconditions, and on whose behalf."""

    bucket: str
    object: str
    conditions: Body
    principal: str


SESSIONS: Documents[Session] = Documents("storage.uploads")


def object_resource(call: Call) -> str:
    """Return the resource that an object's permission is checked on: the bucket's policy, and conditions on the name."""
    return f"{bucket_resource(call)}/objects/{call.params['object']}"


def _is_odd(name: str) -> bool:
    return not {"", ".", ".."}.isdisjoint(name.removesuffix("/").split("/"))


def _check_name(name: str) -> None:
    """Raise ApiError 405 for names that the storage server, which keeps objects as files, would take for others."""
    if _is_odd(name):
        raise not_implemented(f"an object with an empty segment in its name, or `.` or `..`: {name}")


def upload_resource(call: Call) -> str:
    """Return the resource that an upload is to become."""
    return f"{bucket_resource(call)}/objects/{call.params.get('name') or _named_in_body(call)}"


@method(
    "storage.objects.get", permission="storage.objects.get", also=("storage.objects.list",), resource=object_resource
)
def get_object(call: Call) -> Response:
    """Return an object's metadata, or with alt=media its bytes."""
    return read(call, call.params["bucket"], call.params["object"])


@raw_route(
    HOST + r"|www\.googleapis\.com",
    "GET",
    r"/download/storage/v1/b/([^/]+)/o/([^/]+)",
    method_id="storage.objects.get",
    permission=CheckedInside("storage.objects.get", "storage.objects.list"),
)
def download_object(call: Call) -> Response:
    """Return an object's bytes."""
    bucket, name = _raw_object(call, "storage.objects.get")
    call.params = _query(call)
    return read(call, bucket, name)


@method("storage.objects.list", permission="storage.objects.list", resource=bucket_resource)
def list_objects(call: Call) -> Response:
    """List a bucket's objects."""
    known_bucket(call)
    return _forward(call)


@method(
    "storage.objects.insert",
    permission="storage.objects.create",
    also=("storage.objects.delete",),
    resource=upload_resource,
)
def insert_object(call: Call) -> Response:
    """Upload an object: media, multipart, or the start of a resumable session."""
    known_bucket(call)
    bucket = call.params["bucket"]
    name = call.params.get("name") or _named_in_body(call)
    if not name:
        raise ApiError(400, "required", "Required parameter: name")
    _check_name(name)
    with bucket_lock(call, bucket):
        check_conditions(call, bucket, name, call.params, overwriting=True)
        response = _forward(call)
    if _query(call).get("uploadType") == "resumable" and response.status_code == 200:
        session = dict(parse_qsl(response.headers["Location"].partition("?")[2]))["upload_id"]
        conditions = {key: call.params[key] for key in CONDITIONS if key in call.params}
        started: Session = {"bucket": bucket, "object": name, "conditions": conditions, "principal": call.principal}
        SESSIONS.put(call.cloud.store, session, started)
        response.set_data(b"")
    return response


@raw_route(
    HOST + r"|www\.googleapis\.com",
    "PUT",
    r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o",
    method_id="storage.objects.insert",
    permission=PUBLIC,
    also=("storage.objects.delete",),
)
def continue_upload(call: Call) -> Response:
    """Take the next part of a resumable upload; the session's unguessable id is the authorisation, as with Google."""
    session = SESSIONS.get(call.cloud.store, _query(call).get("upload_id", ""))
    if session is None:
        raise ApiError(404, "notFound", "The upload session was not found; it may have expired.")
    with bucket_lock(call, session["bucket"]):
        if not call.request.headers.get("Content-Range", "").startswith("bytes */"):
            call.caller = Caller(session["principal"], None)
            check_conditions(call, session["bucket"], session["object"], session["conditions"], overwriting=True)
        return _forward(call)


@method("storage.objects.delete", permission="storage.objects.delete", resource=object_resource)
def delete_object(call: Call) -> Response:
    """Delete an object."""
    return change(call, call.params["bucket"], call.params["object"])


@method(
    "storage.objects.patch", "storage.objects.update", permission="storage.objects.update", resource=object_resource
)
def patch_object(call: Call) -> Response:
    """Change an object's metadata: the generation stays, and the metageneration counts on."""
    bucket, name = call.params["bucket"], call.params["object"]
    with bucket_lock(call, bucket):
        before = check_conditions(call, bucket, name, call.params)
        changed = change(call, bucket, name)
        if before is None or changed.status_code != 200:
            return changed
        remember_change(call.cloud.store, before, _described(call, bucket, name) or before)
        return _resource(_found(call, bucket, name) or before)


def _destination(call: Call) -> str:
    _check_name(call.params["destinationObject"])
    return f"buckets/{call.params['destinationBucket']}/objects/{call.params['destinationObject']}"


@method(
    "storage.objects.rewrite",
    "storage.objects.copy",
    permission="storage.objects.create",
    also=(
        "storage.objects.delete",
        "storage.objects.get",
    ),
    resource=_destination,
)
def rewrite_object(call: Call) -> Response:
    """Copy an object on the server's side."""
    source = BUCKETS.get(call.cloud.store, call.params["sourceBucket"])
    project = source["project"] if source else call.project
    resource = f"buckets/{call.params['sourceBucket']}/objects/{call.params['sourceObject']}"
    call.cloud.identity.authorize(call.principal, "storage.objects.get", project, resource)
    return change(call, call.params["destinationBucket"], call.params["destinationObject"], overwriting=True)


@method(
    "storage.objects.compose",
    permission="storage.objects.create",
    also=("storage.objects.delete",),
    resource=_destination,
)
def compose_object(call: Call) -> Response:
    """Concatenate objects into one, which then has no MD5."""
    bucket, name = call.params["destinationBucket"], call.params["destinationObject"]
    with bucket_lock(call, bucket):
        sources = [_found(call, bucket, source["name"]) for source in call.body.get("sourceObjects", [])]
        if None in sources:
            raise ApiError(404, "notFound", f"Object not found in {bucket}: one to be composed")
        response = change(call, bucket, name, overwriting=True)
        made = _described(call, bucket, name) if response.status_code == 200 else None
        if made is None:
            return response
        remember_components(call.cloud.store, made, sum((one or {}).get("componentCount", 1) for one in sources))
        return _resource(_found(call, bucket, name) or made)


def read(call: Call, bucket: str, name: str) -> Response:
    """Return an object's metadata, or its bytes where the call asks for these."""
    media = call.params.get("alt") == "media" or _query(call).get("alt") == "media" or "/download/" in call.target
    try:
        return _found_or_refused(call, bucket, name, media)
    except ApiError as error:
        if media and error.code == 404:  # errors of a download are plain sentences
            return Response(error.message, 404, content_type="text/html; charset=UTF-8")
        raise


def _found_or_refused(call: Call, bucket: str, name: str, media: bool) -> Response:
    known_bucket(call, bucket)
    with bucket_lock(call, bucket):
        current = check_conditions(call, bucket, name, call.params)
        if current is None:
            # Who may not list a bucket does not learn which objects it has.
            call.cloud.identity.authorize(call.principal, "storage.objects.list", call.project, f"buckets/{bucket}")
            raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
        _check_generation(call, current)
        tags = call.request.if_match, call.request.if_none_match
        if tags[0] and current["etag"] not in tags[0]:
            raise condition_not_met("If-Match")
        if tags[1] and current["etag"] in tags[1]:
            raise condition_not_met("If-None-Match", reading=True)
        response = _forward(call)
        if media and response.status_code < 300:
            response.headers["ETag"] = current["etag"]
            told = ("generation", "metageneration", "storageClass", "size", "contentEncoding")
            names = (
                "generation",
                "metageneration",
                "storage-class",
                "stored-content-length",
                "stored-content-encoding",
            )
            for member, header in zip(told, names, strict=True):
                response.headers[f"X-Goog-{header}"] = current.get(member, "identity")
        return response


def _resource(resource: Body) -> Response:
    return Response(
        json.dumps(resource), content_type="application/json; charset=UTF-8", headers={"ETag": resource["etag"]}
    )


def change(call: Call, bucket: str, name: str, *, overwriting: bool = False) -> Response:
    """Send a change of an object on, once its preconditions hold."""
    known_bucket(call, bucket)
    with bucket_lock(call, bucket):
        current = check_conditions(call, bucket, name, call.params, overwriting=overwriting)
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


def check_conditions(call: Call, bucket: str, name: str, params: Body, *, overwriting: bool = False) -> Body | None:
    """Return the object as it is now; raise 412 (304 for a read) where a precondition does not hold."""
    current = _found(call, bucket, name)
    for kind in ("Generation", "Metageneration"):
        found = int(current[kind.lower()]) if current else 0
        check_preconditions(params, kind, found, reading=call.request.method == "GET")
    if overwriting and current is not None:
        # Replacing an object takes the permission to delete it, as with Google.
        owner = BUCKETS.get(call.cloud.store, bucket)
        project = owner["project"] if owner else call.project
        resource = f"buckets/{bucket}/objects/{name}"
        call.cloud.identity.authorize(call.principal, "storage.objects.delete", project, resource)
    return current


def _found(call: Call, bucket: str, name: str) -> Body | None:
    """Return an object's resource, or None."""
    described = _described(call, bucket, name)
    return as_google_writes(call.cloud.store, described) if described else None


# The storage server


def _described(call: Call, bucket: str, name: str) -> Body | None:
    answer = ask_server(call.cloud, "GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")
    found: Body | None = json.loads(answer.get_data()) if answer.status_code == 200 else None
    # A file may be found by another name than the object's.
    return None if _is_odd(name) else found


def _forward(call: Call) -> Response:
    """Send the call on as it came, less the preconditions and the generation, which were checked here."""
    target = call.target
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
        in (
            "accept-encoding",
            "content-type",
            "content-range",
            "range",
            "x-upload-content-type",
            "x-goog-hash",
            "x-goog-upload-protocol",
        )
    }
    target = path + ("?" + urlencode(kept) if kept else "")
    response = ask_server(call.cloud, call.request.method, target, call.request.get_data(), headers)
    if response.status_code == 404:
        raise ApiError(404, "notFound", f"No such object: {unquote(path.partition('/b/')[2]).replace('/o/', '/', 1)}")
    if call.request.method == "DELETE" and response.status_code == 200:
        return Response(status=204)
    if response.mimetype == "application/json" and "alt=media" not in query:
        content = json.loads(response.get_data() or b"{}")
        for item in [content, *content.get("items", []), content.get("resource", {})]:
            as_google_writes(call.cloud.store, item)
        if content.get("kind") == "storage#rewriteResponse" and content.get("done"):
            content.pop("rewriteToken", None)
        response.set_data(json.dumps(content).encode())
        if content.get("etag"):
            response.headers["ETag"] = content["etag"]
    return response


def _raw_object(call: Call, permission: str) -> tuple[str, str]:
    assert call.match is not None  # noqa: S101 - a raw route always has its match
    bucket, name = (unquote(part) for part in call.match.groups())
    call.params = {"bucket": bucket}
    project = known_bucket(call)["project"]
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
    return dict(parse_qsl(call.target.partition("?")[2]))
