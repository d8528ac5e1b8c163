# SPDX-License-Identifier: GPL-3.0-or-later
"""A function's source archive: uploaded to a signed URL, or lying in a bucket; and the signed URL to fetch it back.

Archives lie below the rehearsal's home, in `functions/sources`, named by their SHA-256.
"""

from __future__ import annotations

import hashlib
import http.client
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict
from urllib.parse import quote, unquote, urlencode

from werkzeug.wrappers import Response

from rehearsal.errors import ApiError
from rehearsal.services.functions import buckets
from rehearsal.services.functions.names import check_region, from_resource
from rehearsal.services.functions.records import FUNCTIONS
from rehearsal.services.iam import refusals
from rehearsal.services.storage.server import BUCKETS, xml_error
from rehearsal.store import Documents
from rehearsal.wire.calls import PUBLIC, Call, method, raw_route

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


class Upload(TypedDict):
    """What a signed URL gives access to, until `expires` (seconds since the epoch); `digest` is the archive's SHA-256."""

    signature: str
    expires: int
    project: str
    digest: NotRequired[str]
    generation: NotRequired[str]


UPLOADS: Documents[Upload] = Documents("functions.uploads")
DOWNLOADS: Documents[Upload] = Documents("functions.downloads")
HOST = r"storage\.googleapis\.com"
UPLOAD_BUCKET = r"gcf-v2-uploads-\d+\.(?P<region>[a-z0-9-]+)\.cloudfunctions\.appspot\.com"
SOURCE_BUCKET = r"gcf-v2-sources-\d+-[a-z0-9-]+"
VALID_SECONDS = 1800
MEGABYTE = 10**6
# https://cloud.google.com/functions/quotas: sources of 100 MB compressed, 500 MB unpacked.
MAX_ARCHIVE_BYTES = 100 * MEGABYTE
ZIP = "application/zip"


class SourceError(Exception):
    """The source archive cannot be had; the message says why in one line."""


def folder(cloud: Cloud) -> Path:
    """Return where archives are kept."""
    return cloud.settings.home / "functions" / "sources"


def archive(cloud: Cloud, digest: str) -> Path:
    """Return the path of an archive."""
    return folder(cloud) / f"{digest}.zip"


def _keep(cloud: Cloud, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    path = archive(cloud, digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        partial.write_bytes(data)
        partial.replace(path)
    return digest


@method(
    "cloudfunctions.projects.locations.functions.generateUploadUrl", permission="cloudfunctions.functions.sourceCodeSet"
)
def generate_upload_url(call: Call) -> dict[str, Any]:
    """Return a URL that takes one archive within half an hour, and where the archive will then be."""
    region = call.params["parent"].split("/")[3]
    check_region(region)
    project = call.cloud.identity.require_project(call.project)
    bucket, name = buckets.uploads(project["projectNumber"], region), f"{secrets.token_hex(16)}.zip"
    buckets.make(call.cloud, project["projectId"], bucket, region)
    permit = _permit(project["projectId"])
    UPLOADS.put(call.cloud.store, f"{bucket}/{name}", permit)
    return {
        "uploadUrl": _signed(project["projectNumber"], bucket, name, permit),
        "storageSource": {"bucket": bucket, "object": name},
    }


def _permit(project: str) -> Upload:
    expires = int(time.time()) + VALID_SECONDS
    return {"signature": secrets.token_urlsafe(96), "expires": expires, "project": project}


def _signed(number: str, bucket: str, name: str, permit: Upload) -> str:
    agent = f"service-{number}@gcf-admin-robot.iam.gserviceaccount.com"
    query = urlencode({"GoogleAccessId": agent, "Expires": permit["expires"], "Signature": permit["signature"]})
    return f"https://storage.googleapis.com/{bucket}/{quote(name)}?{query}"


def _signature_holds(call: Call, document: Upload | None) -> bool:
    if document is None:
        return False
    given = call.request.args.get("Signature", "")
    return secrets.compare_digest(given.encode(), document["signature"].encode()) and document["expires"] > time.time()


@raw_route(
    HOST,
    "PUT",
    rf"/(?P<bucket>{UPLOAD_BUCKET})/(?P<object>[^/]+)",
    method_id="cloudfunctions.upload",
    permission=PUBLIC,
)
def upload(call: Call) -> Response:
    """Take an archive; the URL's signature is the permission, and covers the content type."""
    assert call.match is not None  # noqa: S101 - a raw route always has one
    key = f"{call.match['bucket']}/{unquote(call.match['object'])}"
    document = UPLOADS.get(call.cloud.store, key)
    if document is None or not _signature_holds(call, document) or call.request.mimetype != ZIP:
        message = "The request signature we calculated does not match the signature you provided, or it has expired."
        return xml_error(403, "SignatureDoesNotMatch", message)
    data = call.request.get_data()
    if len(data) > MAX_ARCHIVE_BYTES:
        return xml_error(400, "EntityTooLarge", f"The archive has {len(data)} bytes; {MAX_ARCHIVE_BYTES} are allowed.")
    document["digest"], document["generation"] = _keep(call.cloud, data), str(time.time_ns() // 1000)
    UPLOADS.put(call.cloud.store, key, document)
    bucket, _, name = key.partition("/")
    buckets.store(call.cloud, document["project"], bucket, call.match["region"], name, data)
    return Response(status=200, headers={"x-goog-generation": document["generation"]})


@method(
    "cloudfunctions.projects.locations.functions.generateDownloadUrl",
    permission="cloudfunctions.functions.sourceCodeGet",
)
def generate_download_url(call: Call) -> dict[str, Any]:
    """Return a URL under which the deployed source can be fetched for half an hour."""
    name = from_resource(call, call.params["name"])
    found = FUNCTIONS.get(call.cloud.store, name.key)
    if found is None or not found["serving"]:
        raise ApiError(404, "notFound", f"Resource '{name.resource}' was not found")
    source = found["resource"]["buildConfig"]["source"]["storageSource"]
    permit = _permit(name.project)
    permit["digest"] = found["serving"]["source"]
    DOWNLOADS.put(call.cloud.store, f"{source['bucket']}/{source['object']}", permit)
    number = call.cloud.identity.project_number(name.project)
    return {"downloadUrl": _signed(number, source["bucket"], source["object"], permit)}


@raw_route(
    HOST, "GET", rf"/(?P<bucket>{SOURCE_BUCKET})/(?P<object>.+)", method_id="cloudfunctions.download", permission=PUBLIC
)
def download(call: Call) -> Response:
    """Hand out a deployed archive; the URL's signature is the permission."""
    assert call.match is not None  # noqa: S101 - a raw route always has one
    key = f"{call.match['bucket']}/{unquote(call.match['object'])}"
    document = DOWNLOADS.get(call.cloud.store, key)
    if document is None or not _signature_holds(call, document):
        return xml_error(403, "SignatureDoesNotMatch", "The URL's signature does not match, or it has expired.")
    return Response(archive(call.cloud, document["digest"]).read_bytes(), content_type=ZIP)


def resolve(cloud: Cloud, project: str, source: dict[str, Any]) -> tuple[str, str]:
    """Return (SHA-256, generation) of the archive that a storageSource names, kept here from now on.

    Raises SourceError when the archive does not exist, or when Google's functions agent may not read it.
    """
    bucket, name = source.get("bucket", ""), source.get("object", "")
    document = UPLOADS.get(cloud.store, f"{bucket}/{name}")
    if document is not None and document["project"] == project:
        if "digest" not in document:
            raise SourceError(f"nothing was uploaded to gs://{bucket}/{name}; PUT the archive to the upload URL first")
        return document["digest"], document["generation"]
    return _from_bucket(cloud, project, bucket, name, source.get("generation", ""))


def _from_bucket(cloud: Cloud, project: str, bucket: str, name: str, generation: str) -> tuple[str, str]:
    owner = BUCKETS.get(cloud.store, bucket)
    agent = f"service-{cloud.identity.project_number(project)}@gcf-admin-robot.iam.gserviceaccount.com"
    if owner is None:
        raise SourceError(f"the bucket {bucket} of the source gs://{bucket}/{name} does not exist")
    if not cloud.identity.may(agent, "storage.objects.get", owner["project"], f"buckets/{bucket}"):
        raise SourceError(str(refusals.denied(agent, "storage.objects.get", owner["project"], f"buckets/{bucket}")))
    target = f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}?alt=media"
    if generation:
        target += f"&generation={generation}"
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.storage_port, timeout=120)
    try:
        connection.request("GET", target, headers={"Host": "storage.googleapis.com"})
        answer = connection.getresponse()
        data = answer.read()
    except OSError as error:
        raise SourceError(f"the storage server does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise SourceError(f"the source gs://{bucket}/{name} does not exist")
    if len(data) > MAX_ARCHIVE_BYTES:
        raise SourceError(f"the archive has {len(data)} bytes; {MAX_ARCHIVE_BYTES} are allowed")
    return _keep(cloud, data), answer.getheader("X-Goog-Generation") or generation or "1"
