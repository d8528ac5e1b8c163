# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage server, which keeps the objects, and what buckets and objects have in common."""

from __future__ import annotations

import base64
import re
import threading
from datetime import UTC, datetime
from typing import TypedDict

from werkzeug.wrappers import Response

from rehearsal.cloud import Cloud
from rehearsal.errors import ApiError, Body
from rehearsal.store import Documents
from rehearsal.wire import proxy
from rehearsal.wire.calls import Call

HOST = "storage.googleapis.com"


class Bucket(TypedDict):
    """A stored bucket: whose it is, and as the API returns it."""

    project: str
    resource: Body


BUCKETS: Documents[Bucket] = Documents("buckets")


def bucket_lock(call: Call, bucket: str) -> threading.RLock:
    """Return the bucket's lock: preconditions are checked and writes made under it."""
    return call.cloud.locks[f"buckets/{bucket}"]


def bucket_resource(call: Call) -> str:
    """Return the resource that a bucket's or an object's permission is checked on.

    ApiError 404 where there is no such bucket: their names are no secret.
    """
    known_bucket(call)
    return f"buckets/{call.params['bucket']}"


def ask_server(
    cloud: Cloud, verb: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Response:
    """Send one request to the storage server, and return its answer; ApiError 503 when it does not answer."""
    sent = {"Host": HOST, "Content-Type": "application/json", **(headers or {})}
    server = ("127.0.0.1", cloud.settings.storage_port)
    try:
        response = proxy.forward(server, verb, target, body=body, headers=sent, timeout=600)
    except OSError as error:
        raise ApiError(503, "backendError", f"The storage server does not answer: {error}") from None
    if response.location:
        response.location = re.sub(r"^https?://[^/]+", f"https://{HOST}", response.location)
    return response


def known_bucket(call: Call, name: str = "") -> Bucket:
    """Return the bucket of that name, or of the call; ApiError 404 if it does not exist."""
    known = BUCKETS.get(call.cloud.store, name or call.params["bucket"])
    if known is None:
        raise ApiError(404, "notFound", "The specified bucket does not exist.")
    return known


def condition_not_met(header: str, *, reading: bool = False) -> ApiError:
    """412, or 304 for a read; `header` is the one that stands for the kind of condition: If-Match or If-None-Match."""
    text = "At least one of the pre-conditions you specified did not hold."
    code = 304 if reading and header == "If-None-Match" else 412
    return ApiError(code, "conditionNotMet", text, location=header, location_type="header")


def check_preconditions(params: Body, kind: str, found: int, *, reading: bool = False) -> None:
    """Raise 412 (304 for a read) where a precondition on the `Generation` or `Metageneration` does not hold."""
    wanted, unwanted = params.get(f"if{kind}Match"), params.get(f"if{kind}NotMatch")
    if wanted is not None and int(wanted) != found:
        raise condition_not_met("If-Match")
    if unwanted is not None and int(unwanted) == found:
        raise condition_not_met("If-None-Match", reading=reading)


def xml_error(status: int, code: str, message: str) -> Response:
    """Return an error of the XML API, which signed URLs lead to."""
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(text, status, content_type="application/xml; charset=UTF-8")


def etag(metageneration: int, generation: int = 0) -> str:
    """Return a bucket's or an object's etag: base64 of its numbers, as varints of a protocol buffer."""
    fields = (generation, metageneration) if generation else (metageneration,)
    encoded = bytearray()
    for tag, number in zip((0x08, 0x10), fields, strict=False):
        encoded.append(tag)
        while number > 0x7F:
            encoded.append(number & 0x7F | 0x80)
            number >>= 7
        encoded.append(number)
    return base64.b64encode(encoded).decode()


def timestamp() -> str:
    """Return the time as Google writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
