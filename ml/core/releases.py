# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is in the bucket, and how to read one safely. Standard library only; writing is in ``ml.publish.publisher``.

    blobs/sha256/<digest>/…        a file of a release, create-only
    manifests/<sha256>.json        lists the files with size and digest, create-only, named by its own digest
    current.json                   the pointer: names the live manifest; replaced by compare-and-swap
    model.joblib, …                mirrors at the root for people and older clients; nothing here reads them

A reader goes pointer → manifest → bytes, and every step names the digest of the next, so what it gets is one release or
an error, never a mixture. Nothing is deserialised before its digest was checked: a flipped bit in a model can crash the
process, not only raise an exception.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

POINTER = "current.json"
SCHEMA = 1
HISTORY = 20  # promotions that the pointer remembers
MAX_FILE_BYTES = 256 * 2**20  # what a reader is ready to take into memory

_SHA256 = re.compile(r"[0-9a-f]{64}")

Read = Callable[[str], bytes]


class ReleaseError(Exception):
    """A release that must not be used: damaged, incomplete, or of a schema that this code does not know."""


class ReleaseNotFoundError(ReleaseError):
    """There is no release in the bucket, or an object that one names is missing."""


@dataclass(frozen=True)
class Promotion:
    """One entry of the pointer's history: which release was live as which version."""

    version: int
    manifest: str  # SHA-256 of the manifest
    write_id: str  # names the one write that made it
    updated: str  # UTC, ISO 8601
    action: str = "publish"  # or promote, rollback
    reason: str = ""  # why, in words; what the quality gate said if it was forced
    forced: bool = False  # promoted although the quality gate said no


@dataclass(frozen=True)
class Pointer(Promotion):
    """The pointer object: the live promotion, and those before it, latest first."""

    fingerprint: str = ""  # of the run that trained the live release
    previous: str | None = None  # SHA-256 of the manifest that was live before
    history: tuple[Promotion, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the JSON document of the pointer."""
        return canonical_json({"schema": SCHEMA, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Pointer:
        """Read a pointer; raise ReleaseError if it is not one."""
        document = _parse(data, POINTER)
        try:
            pointer = cls(
                **_promotion(document),
                fingerprint=document["fingerprint"],
                previous=document.get("previous"),
                history=tuple(Promotion(**_promotion(entry)) for entry in document.get("history", ())),
            )
        except (KeyError, TypeError) as error:
            raise ReleaseError(f"{POINTER} is not a pointer: {type(error).__name__} {error}") from error
        if not isinstance(pointer.version, int) or not _SHA256.fullmatch(str(pointer.manifest)):
            raise ReleaseError(f"{POINTER} names version {pointer.version!r} and manifest {pointer.manifest!r}")
        return pointer

    def promotions(self) -> tuple[Promotion, ...]:
        """Return the live promotion and those before it, latest first."""
        return (Promotion(**_promotion(asdict(self))), *self.history)


@dataclass(frozen=True)
class Release:
    """A release whose manifest and files were verified. ``files`` holds the bytes of those that were asked for."""

    pointer: Pointer
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def version(self) -> int:
        """The version that the pointer gave to the release."""
        return self.pointer.version

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the identity of the release."""
        return self.pointer.manifest


@dataclass(frozen=True)
class Candidate:
    """A trained model that is not promoted yet: its files, and the facts that its manifest states."""

    files: Mapping[str, bytes]
    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the run that trained it."""
        return str(self.facts["fingerprint"]["fingerprint"])

    @property
    def accuracy(self) -> float:
        """Accuracy (0-1) on the held-out rows."""
        return float(self.facts["metrics"]["accuracy"])


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hex."""
    return hashlib.sha256(data).hexdigest()


def blob_path(digest: str, name: str) -> str:
    """Return where the file ``name`` with this SHA-256 lives in the bucket."""
    return f"blobs/sha256/{digest}/{name}"


def manifest_path(digest: str) -> str:
    """Return where the manifest with this SHA-256 lives in the bucket."""
    return f"manifests/{digest}.json"


def canonical_json(document: Any) -> bytes:
    """Return ``document`` as JSON with sorted keys, readable for people, the same bytes every time."""
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def read_pointer(read: Read) -> Pointer:
    """Read the pointer; raise ReleaseNotFoundError if nothing was ever released here."""
    try:
        return Pointer.from_bytes(read(POINTER))
    except ReleaseNotFoundError as error:
        raise ReleaseNotFoundError(f"no release yet: {error}") from error


def learned_own_data(source: str) -> bool:
    """Say whether the ``source`` that a manifest records is somebody's own data, and not synthetic rows."""
    return bool(source) and not re.fullmatch(r"[0-9,]+ synthetic rows", source)


def read_manifest(read: Read, digest: str) -> dict[str, Any]:
    """Read the manifest with this SHA-256, and refuse bytes that do not have it."""
    path = manifest_path(digest)
    data = read(path)
    if sha256(data) != digest:
        raise ReleaseError(f"{path} has SHA-256 {sha256(data)}, not the one that it is named by; it was not used")
    document = _parse(data, path)
    if not isinstance(document.get("files"), dict):
        raise ReleaseError(f"{path} lists no files")
    return document


def read_file(read: Read, manifest: Mapping[str, Any], name: str) -> bytes:
    """Read one file of a release, and refuse bytes whose size or SHA-256 is not the manifest's."""
    entry = manifest["files"].get(name)
    if not isinstance(entry, dict) or not _SHA256.fullmatch(str(entry.get("sha256"))):
        raise ReleaseError(f"the release has no file {name}; it has {', '.join(sorted(manifest['files'])) or 'none'}")
    size = entry.get("size")
    if not isinstance(size, int) or size > MAX_FILE_BYTES:
        raise ReleaseError(f"{name} is said to have {size} bytes, more than the {MAX_FILE_BYTES} that a reader accepts")
    path = str(entry.get("path") or blob_path(entry["sha256"], name))
    if not path.startswith(blob_path(entry["sha256"], "")):
        raise ReleaseError(f"the manifest names {path} for {name}, which is not where a file of that SHA-256 lives")
    data = read(path)
    if len(data) != size or sha256(data) != entry["sha256"]:
        raise ReleaseError(
            f"{path} is damaged: {len(data)} bytes with SHA-256 {sha256(data)}, expected {size} bytes; it was not used"
        )
    return data


def load_release(read: Read, names: tuple[str, ...] = ("model.onnx",), pointer: Pointer | None = None) -> Release:
    """Return the live release (or the one that ``pointer`` names) with the bytes of the files ``names``.

    ``read(path)`` returns the bytes of an object, and raises ReleaseNotFoundError if there is none.
    """
    pointer = pointer or read_pointer(read)
    manifest = read_manifest(read, pointer.manifest)
    return Release(pointer, manifest, {name: read_file(read, manifest, name) for name in names})


def _promotion(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a promotion; those that an older release of this code did not write get their default."""
    optional = {name: document[name] for name in ("action", "reason", "forced") if name in document}
    return {name: document[name] for name in ("version", "manifest", "write_id", "updated")} | optional


def _parse(data: bytes, path: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise ReleaseError(f"{path} has schema {found!r}, this code reads {SCHEMA}; deploy the function again")
    return document
