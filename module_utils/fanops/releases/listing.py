# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases in a bucket as the controller sees them. ``core`` is ``ml/core``: ``core/releases.py`` says what a release is."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, TypedDict

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import SHARED_OPTIONS
from ansible.module_utils.fanops.core import releases
from ansible.module_utils.fanops.core.releases import POINTER, Pointer, Promotion, ReleaseError, ReleaseNotFoundError

#: The options of every module that looks into the bucket of the releases.
BUCKET_OPTIONS: dict[str, Any] = {
    **SHARED_OPTIONS,
    "bucket": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 60},
}

MANIFESTS, BLOBS = "manifests/", "blobs/"
REMEDY = "Publish a good release again."

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ReleaseFacts(TypedDict):
    """What is known of one release; sizes in bytes, accuracy 0 to 1. None: not promoted, or not recorded."""

    release: str
    version: int | None
    live: bool
    promoted: str | None
    action: str | None
    reason: str | None
    forced: bool | None
    created: str
    fingerprint: str | None
    code: str | None
    data: str | None
    samples: int | None
    accuracy: float | None
    size_bytes: int
    serving_bytes: int | None


class Bucket:
    """The objects of the bucket of the releases."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name

    def url(self, path: str) -> str:
        """The object's address in the JSON API."""
        return f"https://storage.googleapis.com/storage/v1/b/{segment(self.name)}/o/{segment(path)}"

    def look(self, path: str) -> dict[str, Any] | None:
        """The object's metadata; None when it does not exist."""
        return self.client.find(self.url(path), attempting=f"look at gs://{self.name}/{path}")

    def read(self, path: str, generation: str | None = None) -> bytes | None:
        """The object's content, of one generation where one is given; None when it does not exist."""
        attempting = f"read gs://{self.name}/{path}"
        if generation is None:
            return self.client.download(self.name, path, attempting=attempting)
        params = {"alt": "media", "generation": generation}
        try:
            return bytes(self.client.send("GET", self.url(path), attempting=attempting, params=params).content)
        except GoogleApiError as error:
            if error.status == 404:
                return None
            raise

    def need(self, path: str) -> bytes:
        """The object's content; ReleaseNotFoundError when it does not exist."""
        data = self.read(path)
        if data is None:
            raise ReleaseNotFoundError(f"{path} does not exist")
        return data

    def list(self, prefix: str) -> list[dict[str, Any]]:
        """The metadata of the objects whose names begin with ``prefix``; empty when there is no bucket yet."""
        url = f"https://storage.googleapis.com/storage/v1/b/{segment(self.name)}/o"
        attempting = f"list gs://{self.name}/{prefix}"
        try:
            pages = list(self.client.pages(url, attempting=attempting, params={"prefix": prefix}))
        except GoogleApiError as error:
            if error.status == 404:
                return []
            raise
        return [item for page in pages for item in page.get("items", [])]

    def replace(self, path: str, content: bytes, generation: str) -> None:
        """Replace the object if it still has ``generation`` ("0": if it does not exist); 412 if not.

        Not repeated here: after a lost answer the caller has to look what became of it.
        """
        boundary = uuid.uuid4().hex
        described = {"name": path, "cacheControl": "no-store", "contentType": "application/json"}
        lines = [
            f"--{boundary}", "Content-Type: application/json; charset=UTF-8", "", json.dumps(described),
            f"--{boundary}", "Content-Type: application/json", "", "",
        ]  # fmt: skip
        body = "\r\n".join(lines).encode() + content + f"\r\n--{boundary}--\r\n".encode()
        self.client.send(
            "POST", f"https://storage.googleapis.com/upload/storage/v1/b/{segment(self.name)}/o",
            attempting=f"replace gs://{self.name}/{path}",
            params={"uploadType": "multipart", "name": path, "ifGenerationMatch": generation},
            content=(body, f"multipart/related; boundary={boundary}"),
        )  # fmt: skip

    def touch(self, path: str, found: dict[str, Any], now: str) -> None:
        """Mark an object as in use from ``now`` on, so that pruning lets it be; an error if it was deleted meanwhile."""
        self.client.call(
            "PATCH", self.url(path), attempting=f"mark gs://{self.name}/{path} as used",
            params={"ifGenerationMatch": found["generation"]}, body={"metadata": {"used": now}},
        )  # fmt: skip

    def copy(
        self,
        source: str,
        target: str,
        generation: str,
        metadata: dict[str, str],
        into: Bucket | None = None,
        content_type: str = "application/octet-stream",
    ) -> None:
        """Copy an object on Google's side, also ``into`` another bucket, if the target still has ``generation`` ("0": does not exist)."""
        bucket = into or self
        body = {"contentType": content_type, "cacheControl": "no-store", "metadata": metadata}
        url = f"{self.url(source)}/rewriteTo/b/{segment(bucket.name)}/o/{segment(target)}"
        attempting = f"copy gs://{self.name}/{source} to gs://{bucket.name}/{target}"
        params: dict[str, Any] = {"ifGenerationMatch": generation}
        while True:
            answer = self.client.call("POST", url, attempting=attempting, params=params, body=body)
            if answer.get("done", True):
                return
            params["rewriteToken"] = answer["rewriteToken"]

    def delete(self, found: dict[str, Any]) -> bool:
        """Delete an object if it is still what was ``found``; False if it was replaced or marked as used since."""
        conditions = {"ifGenerationMatch": found["generation"], "ifMetagenerationMatch": found["metageneration"]}
        attempting = f"delete gs://{self.name}/{found['name']}"
        try:
            self.client.call("DELETE", self.url(found["name"]), attempting=attempting, params=conditions)
        except GoogleApiError as error:
            if error.status not in (404, 412):
                raise
            return error.status == 404
        return True


def read_manifest(bucket: Bucket, digest: str) -> dict[str, Any]:
    """The manifest of that SHA-256, whose content was checked against it."""
    try:
        return releases.read_manifest(bucket.need, digest)
    except ReleaseError as error:
        path = releases.manifest_path(digest)
        raise GoogleApiError(f"read gs://{bucket.name}/{path}", str(error), REMEDY) from error


def parse_pointer(bucket: Bucket, data: bytes) -> Pointer:
    """The pointer with that content."""
    try:
        return Pointer.from_bytes(data)
    except ReleaseError as error:
        raise GoogleApiError(f"read gs://{bucket.name}/{POINTER}", str(error), REMEDY) from error


def read_pointer(bucket: Bucket) -> tuple[Pointer | None, str]:
    """The pointer and its generation; (None, "0") when nothing was ever published."""
    for _ in range(10):
        found = bucket.look(POINTER)
        if found is None:
            return None, "0"
        data = bucket.read(POINTER, found["generation"])
        if data is not None:  # else it was replaced between the two calls
            return parse_pointer(bucket, data), found["generation"]
    raise GoogleApiError(f"read gs://{bucket.name}/{POINTER}", "it changes all the time", "Run again.")


def live_release(bucket: Bucket) -> dict[str, Any]:
    """{release, pointer}, both None when nothing was published."""
    data = bucket.read(POINTER)
    if data is None:
        return {"release": None, "pointer": None}
    pointer = parse_pointer(bucket, data)
    members = {name: getattr(pointer, name) for name in ("version", "fingerprint", "updated", "previous")}
    release = {**read_manifest(bucket, pointer.manifest), **members, "manifest_sha256": pointer.manifest}
    return {"release": release, "pointer": json.loads(data)}


def read_releases(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    """What ``model_release_info`` returns for its options."""
    bucket = Bucket(client, options["bucket"])
    found = live_release(bucket)
    if options["all"]:
        found["releases"] = every_release(bucket)
    if options["objects"]:
        found["objects"] = every_object(bucket)
    return found


def every_object(bucket: Bucket) -> list[dict[str, Any]]:
    """{name, size, updated} of each object, by name; empty when there is no bucket yet."""
    found = sorted(bucket.list(""), key=lambda item: str(item["name"]))
    return [{"name": item["name"], "size": int(item["size"]), "updated": item.get("updated")} for item in found]


def every_release(bucket: Bucket) -> list[ReleaseFacts]:
    """What is known of each release in the bucket: promoted ones first, latest first, then candidates."""
    pointer, _ = read_pointer(bucket)
    promoted: dict[str, Promotion] = {}
    for entry in pointer.promotions() if pointer else ():
        promoted.setdefault(entry.manifest, entry)
    digests = [item["name"].removeprefix(MANIFESTS).removesuffix(".json") for item in bucket.list(MANIFESTS)]
    found = [
        _facts(
            digest,
            read_manifest(bucket, digest),
            promoted.get(digest),
            live=pointer is not None and digest == pointer.manifest,
        )
        for digest in digests
        if _DIGEST.fullmatch(digest)
    ]
    return sorted(found, key=lambda release: (release["version"] or 0, release["created"]), reverse=True)


def _facts(digest: str, manifest: dict[str, Any], promotion: Promotion | None, *, live: bool) -> ReleaseFacts:
    fingerprint, metrics = manifest.get("fingerprint", {}), manifest.get("metrics", {})
    return {
        "release": digest,
        "version": promotion.version if promotion else None,
        "live": live,
        "promoted": promotion.updated if promotion else None,
        "action": promotion.action if promotion else None,
        "reason": promotion.reason if promotion else None,
        "forced": promotion.forced if promotion else None,
        "created": str(manifest.get("created", "")),
        "fingerprint": fingerprint.get("fingerprint"),
        "code": fingerprint.get("code"),
        "data": fingerprint.get("data"),
        "samples": manifest.get("samples"),
        "accuracy": metrics.get("accuracy"),
        "size_bytes": sum(entry.get("size", 0) for entry in manifest["files"].values()),
        "serving_bytes": manifest.get("memory", {}).get("serving_bytes"),
    }
