# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML API, as far as signed URLs and google-cloud-storage's transfer manager use it: objects, and uploads in parts.

https://cloud.google.com/storage/docs/xml-api/overview and https://cloud.google.com/storage/docs/authentication/canonical-requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import google_crc32c
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from werkzeug.wrappers import Response

from rehearsal.errors import ApiError, not_implemented
from rehearsal.services.iam.identity import Caller
from rehearsal.services.storage import objects
from rehearsal.services.storage.server import HOST, ask_server, bucket_lock, known_bucket, xml_error
from rehearsal.store import Documents
from rehearsal.wire.calls import PUBLIC, Call, raw_route

LONGEST_SECONDS = 7 * 86_400
CODES = {401: "AuthenticationRequired", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}


class Parts(TypedDict):
    """An upload in parts that has begun: what it is to become, and with which metadata."""

    bucket: str
    object: str
    metadata: dict[str, object]


UPLOADS: Documents[Parts] = Documents("storage.parts")


@raw_route(
    HOST,
    None,
    r"/(?!(?:storage|upload|download|resumable|batch)/)([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])/(.+)",
    method_id="storage.xml",
    permission=PUBLIC,
    also=("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"),
)
def answer(call: Call) -> Response:
    """Answer a request for an object, which a token or a signature in the URL allows."""
    assert call.match is not None  # noqa: S101 - a raw route always has its match
    bucket, name = (unquote(part) for part in call.match.groups())
    query = dict(parse_qsl(call.target.partition("?")[2], keep_blank_values=True))
    try:
        _sign_in(call, query)
        call.params = {"bucket": bucket}
        call.project = known_bucket(call)["project"]
        verb = (
            f"{call.request.method} {next((key for key in ('uploads', 'partNumber', 'uploadId') if key in query), '')}"
        )
        if verb.strip() not in ACTIONS:
            raise not_implemented(f"{verb} of the XML API")
        permission, act = ACTIONS[verb.strip()]
        call.cloud.identity.authorize(call.principal, permission, call.project, f"buckets/{bucket}/objects/{name}")
        return act(call, bucket, name, query)
    except ApiError as error:
        return xml_error(error.code, CODES.get(error.code, error.reason), escape(error.message))


# Who asks


def _sign_in(call: Call, query: dict[str, str]) -> None:
    """Find out who asks: by a signature of version 4 or 2 in the query, or by a token. Raises ApiError 401, 403."""
    if "X-Goog-Signature" in query:
        email = query["X-Goog-Credential"].partition("/")[0]
        begun = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        until = begun + min(int(query["X-Goog-Expires"]), LONGEST_SECONDS)
        text, signature = _version_4(call, query), bytes.fromhex(query["X-Goog-Signature"])
    elif "GoogleAccessId" in query:
        email, until = query["GoogleAccessId"], int(query["Expires"])
        text, signature = _version_2(call, query), base64.b64decode(query["Signature"])
    else:
        call.caller = call.cloud.identity.authenticate(call.request)
        return
    accounts = call.cloud.identity.accounts
    if until < time.time():
        raise ApiError(400, "ExpiredToken", "The provided token has expired.")
    known = accounts.keys(email) if accounts.usable(email) else []
    if not any(_signed(key["certificate"], signature, text.encode()) for _, key in known if not key.get("disabled")):
        raise ApiError(403, "SignatureDoesNotMatch", "Access denied.")
    call.caller = Caller(email, None)


def _signed(certificate: str, signature: bytes, data: bytes) -> bool:
    public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return True
    except InvalidSignature:
        pass
    return False


def _version_4(call: Call, query: dict[str, str]) -> str:
    def quoted(text: str) -> str:
        return quote(text, safe="-_.~")

    names = query["X-Goog-SignedHeaders"].split(";")
    given = {name: call.request.headers.get(name, "") for name in names} | {"host": call.host}
    request = "\n".join(
        [
            call.request.method,
            call.target.partition("?")[0],
            "&".join(sorted(f"{quoted(k)}={quoted(v)}" for k, v in query.items() if k != "X-Goog-Signature")),
            *(f"{name}:{given[name].strip()}" for name in names),
            "",
            query["X-Goog-SignedHeaders"],
            call.request.headers.get("X-Goog-Content-SHA256", "UNSIGNED-PAYLOAD"),
        ]
    )
    scope = query["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(request.encode()).hexdigest()
    return "\n".join([query["X-Goog-Algorithm"], query["X-Goog-Date"], scope, digest])


def _version_2(call: Call, query: dict[str, str]) -> str:
    headers = call.request.headers
    extra = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-goog-"))
    lines = [call.request.method, headers.get("Content-MD5", ""), headers.get("Content-Type", ""), query["Expires"]]
    return "\n".join([*lines, *(f"{name}:{value}" for name, value in extra), call.target.partition("?")[0]])


# What is asked for


def _get(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    call.target = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    found = objects.read(call, bucket, name)
    if found.status_code == 404:
        raise ApiError(404, "notFound", "The specified key does not exist.")
    return found


def _put(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    return _store(call, bucket, name, _metadata(call, name), call.request.get_data())


def _delete(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    call.target = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    return objects.change(call, bucket, name)


def _metadata(call: Call, name: str) -> dict[str, object]:
    headers = call.request.headers
    own = {key.lower()[12:]: value for key, value in headers.items() if key.lower().startswith("x-goog-meta-")}
    kept = {"contentType": "Content-Type", "contentEncoding": "Content-Encoding", "cacheControl": "Cache-Control"}
    described = {member: headers[header] for member, header in kept.items() if header in headers}
    return {"name": name, **described} | ({"metadata": own} if own else {})


def _store(call: Call, bucket: str, name: str, metadata: dict[str, object], data: bytes) -> Response:
    wanted = call.request.headers.get("x-goog-if-generation-match")
    cut = secrets.token_hex(16)
    kind = metadata.get("contentType", "application/octet-stream")
    head = f"--{cut}\r\nContent-Type: application/json\r\n\r\n{json.dumps(metadata)}\r\n--{cut}\r\nContent-Type: {kind}\r\n\r\n"
    with bucket_lock(call, bucket):
        conditions = {} if wanted is None else {"ifGenerationMatch": wanted}
        objects.check_conditions(call, bucket, name, conditions, overwriting=True)
        target = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        headers = {"Content-Type": f"multipart/related; boundary={cut}"}
        made = ask_server(call.cloud, "POST", target, head.encode() + data + f"\r\n--{cut}--\r\n".encode(), headers)
    resource = json.loads(made.get_data())
    told = {"x-goog-generation": resource["generation"], "x-goog-metageneration": "1"}
    told["x-goog-hash"] = f"crc32c={resource['crc32c']},md5={resource['md5Hash']}"
    return Response(status=200, headers={"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"', **told})


def _folder(call: Call, upload: str) -> Path:
    return call.cloud.settings.home / "storage-parts" / upload


def _begin(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    upload = secrets.token_hex(24)
    _folder(call, upload).mkdir(parents=True)
    parts: Parts = {"bucket": bucket, "object": name, "metadata": _metadata(call, name)}
    UPLOADS.put(call.cloud.store, upload, parts)
    return _xml("InitiateMultipartUploadResult", Bucket=bucket, Key=name, UploadId=upload)


def _known(call: Call, bucket: str, name: str, query: dict[str, str]) -> tuple[str, Parts]:
    found = UPLOADS.get(call.cloud.store, query["uploadId"])
    if found is None or (found["bucket"], found["object"]) != (bucket, name):
        raise ApiError(404, "NoSuchUpload", "The specified multipart upload does not exist.")
    return query["uploadId"], found


def _part(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    upload, _ = _known(call, bucket, name, query)
    data = call.request.get_data()
    (_folder(call, upload) / str(int(query["partNumber"]))).write_bytes(data)
    digest = hashlib.md5(data, usedforsecurity=False)
    sums = (google_crc32c.Checksum(data).digest(), digest.digest())
    told = ",".join(
        f"{kind}={base64.b64encode(one).decode()}" for kind, one in zip(("crc32c", "md5"), sums, strict=True)
    )
    return Response(status=200, headers={"ETag": f'"{digest.hexdigest()}"', "x-goog-hash": told})


def _complete(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    upload, parts = _known(call, bucket, name, query)
    listed = ElementTree.fromstring(call.request.get_data())  # noqa: S314 - our own clients write it
    numbers = [int(node.text or 0) for node in listed.iter() if node.tag.rpartition("}")[2] == "PartNumber"]
    files = [_folder(call, upload) / str(number) for number in sorted(numbers)]
    if not files or not all(file.exists() for file in files):
        raise ApiError(400, "InvalidPart", "One or more of the specified parts could not be found.")
    stored = _store(call, bucket, name, parts["metadata"], b"".join(file.read_bytes() for file in files))
    _forget(call, upload)
    location = f"https://{HOST}/{bucket}/{quote(name)}"
    ended = _xml(
        "CompleteMultipartUploadResult", Location=location, Bucket=bucket, Key=name, ETag=stored.headers["ETag"]
    )
    ended.headers.extend((key, value) for key, value in stored.headers.items() if key.startswith("x-goog-"))
    return ended


def _abort(call: Call, bucket: str, name: str, query: dict[str, str]) -> Response:
    _forget(call, _known(call, bucket, name, query)[0])
    return Response(status=204)


def _forget(call: Call, upload: str) -> None:
    UPLOADS.delete(call.cloud.store, upload)
    shutil.rmtree(_folder(call, upload))


def _xml(root: str, **members: str) -> Response:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    text = f"<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{inner}</{root}>"
    return Response(text, content_type="application/xml; charset=UTF-8")


Action = Callable[[Call, str, str, dict[str, str]], Response]
ACTIONS: dict[str, tuple[str, Action]] = {
    "GET": ("storage.objects.get", _get),
    "PUT": ("storage.objects.create", _put),
    "DELETE": ("storage.objects.delete", _delete),
    "POST uploads": ("storage.objects.create", _begin),
    "PUT partNumber": ("storage.objects.create", _part),
    "POST uploadId": ("storage.objects.create", _complete),
    "DELETE uploadId": ("storage.objects.create", _abort),
}
