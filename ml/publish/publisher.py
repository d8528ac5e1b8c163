# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a candidate: create-only files and manifest, a quality gate, then one compare-and-swap of the pointer.

Until the swap nothing that serves can see the candidate; after it everything is there. A publisher that dies anywhere
leaves the old release live and can simply be run again. See ``ml.core.releases`` for the layout.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml.bucket import Bucket, BucketError, ConflictError, crc32c
from ml.core.gate import Compare, Limits, Proof, judge, memory_refusals
from ml.core.releases import (
    HISTORY,
    POINTER,
    SCHEMA,
    Candidate,
    Pointer,
    Release,
    ReleaseError,
    blob_path,
    canonical_json,
    load_release,
    manifest_path,
    sha256,
)
from ml.publish.proof import prove as prove_in_children

MIRRORS = ("model.joblib", "model_columns.joblib")
REUSE_SECONDS = 3600.0  # an object this young is spared by every pruning
_ATTEMPTS = 5

Prove = Callable[[Mapping[str, bytes], Mapping[str, Any]], Proof]


class RefusedError(Exception):
    """The quality gate refused the candidate; the live release was left alone."""


class InconclusiveError(Exception):
    """Whether the pointer was swapped could not be found out."""


class Readback(enum.Enum):
    """What reading the pointer again says about a swap whose outcome is unknown."""

    COMMITTED = "committed"  # ours is in the history
    LOST = "lost"  # another publisher took the version
    NOT_WRITTEN = "not written"  # nobody did; repeating the same swap is safe
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Outcome:
    """What a publish did. ``published`` is False if the same model was live already."""

    published: bool
    version: int
    manifest: str


def classify_readback(current: Pointer | None, mine: Pointer) -> Readback:
    """Say what became of the swap to ``mine``, given the pointer that was read afterwards (None: there is none)."""
    if current is None:
        return Readback.NOT_WRITTEN
    promotions = current.promotions()
    if any(promotion.write_id == mine.write_id for promotion in promotions):
        return Readback.COMMITTED
    if current.version < mine.version:
        return Readback.NOT_WRITTEN
    if current.version - mine.version >= len(promotions):
        return Readback.INCONCLUSIVE  # too many have followed: the history does not reach back to our version
    return Readback.LOST


def publish(
    bucket: Bucket,
    candidate: Candidate,
    *,
    force: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    compare: Compare | None = None,
    prove: Prove = prove_in_children,
    report: Callable[[str], None] = lambda message: None,
) -> Outcome:
    """Publish ``candidate`` and return what happened.

    ``compare`` asks the live release about the candidate's held-out rows. ``prove`` loads the bytes that the bucket
    returned and measures their memory.
    ``force`` promotes a candidate that the gate refuses, and records that.

    Raises RefusedError (gate), InconclusiveError (unknown outcome), ReleaseError (the live release is damaged, or the
    candidate failed its proof) or BucketError. In all of them the pointer is what it was, except for InconclusiveError.
    """
    digest, over_memory = "", list[str]()
    write_id = uuid.uuid4().hex
    for attempt in range(_ATTEMPTS):
        found = bucket.read_versioned(POINTER)
        generation = found[1] if found else 0
        current, live = _live(bucket, found[0] if found else None, force)
        if live is not None and _same(live, candidate):
            _write_mirrors(bucket, candidate, live.digest, report)
            return Outcome(False, live.version, live.digest)
        verdict = judge(candidate, live, limits, compare)
        refusals = verdict.refusals
        if verdict.breaking:
            raise RefusedError(
                f"{'; '.join(verdict.breaking)}; or accept that: --accept-schema-change, accept_schema_change=true for a playbook"
            )
        _refuse(refusals, force)
        if not digest:
            entries = _upload(bucket, candidate, write_id, report)
            proof = prove({name: _read_back(bucket, entry) for name, entry in entries.items()}, candidate.facts)
            over_memory = memory_refusals(proof, limits)
            _refuse(over_memory, force)
            digest = _write_manifest(bucket, candidate, entries, proof)
        refusals += over_memory
        pointer = Pointer(
            version=current.version + 1 if current else 1,
            manifest=digest,
            write_id=write_id,
            updated=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
            reason="; ".join(refusals or ["passed the quality gate", *verdict.notes]),
            fingerprint=candidate.fingerprint,
            previous=current.manifest if current else None,
            forced=bool(refusals),
            history=current.promotions()[:HISTORY] if current else (),
        )
        if _swap(bucket, pointer, generation):
            forced = f", forced although {pointer.reason}" if refusals else ""
            report(f"release {pointer.version} is live: manifest {digest[:12]}{forced}")
            _write_mirrors(bucket, candidate, digest, report)
            return Outcome(True, pointer.version, digest)
        report("another publisher was faster; comparing with its release")
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - apart from the others, not secret
    raise BucketError(f"cannot publish to gs://{bucket.name}: {_ATTEMPTS} other publishers were faster; try again")


def _refuse(refusals: list[str], force: bool) -> None:
    if refusals and not force:
        raise RefusedError(
            f"{'; '.join(refusals)}; or promote it all the same: --force, training_force=true for a playbook"
        )


def _live(bucket: Bucket, stored: bytes | None, force: bool) -> tuple[Pointer | None, Release | None]:
    """Return the stored pointer and its release with verified model bytes, None for what there is not.

    What is damaged is an error; if forced, it counts as missing.
    """
    pointer = None
    try:
        if stored is not None:
            pointer = Pointer.from_bytes(stored)
            return pointer, load_release(bucket.read, pointer=pointer)
    except ReleaseError as error:
        if not force:
            raise ReleaseError(f"the live release cannot be compared with: {error}; --force replaces it") from error
    return pointer, None


def _same(live: Release, candidate: Candidate) -> bool:
    """Say whether the live release came from the same inputs and is the same model."""
    same_inputs = live.manifest.get("fingerprint", {}).get("fingerprint") == candidate.fingerprint
    return same_inputs and live.files["model.onnx"] == candidate.files["model.onnx"]


def _upload(
    bucket: Bucket, candidate: Candidate, write_id: str, report: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Upload the files and return their entries in the manifest.

    A file that an old release left behind may just be being pruned, so it is not built upon: another copy is made.
    """
    entries = {}
    for name, data in candidate.files.items():
        digest = sha256(data)
        path = blob_path(digest, name)
        generation = bucket.create(path, data, "application/octet-stream", REUSE_SECONDS)
        if generation is None:
            path = blob_path(digest, f"{write_id}/{name}")
            generation = bucket.create(path, data, "application/octet-stream")
        entries[name] = {
            "path": path,
            "size": len(data),
            "sha256": digest,
            "crc32c": crc32c(data),
            "generation": str(generation),
        }
        report(f"uploaded to gs://{bucket.name}/{path} ({len(data) / 1e6:.1f} MB)")
    return entries


def _read_back(bucket: Bucket, entry: Mapping[str, Any]) -> bytes:
    """Return what the bucket now holds of a file, if it is what was sent."""
    data = bucket.read(entry["path"], int(entry["generation"]))
    if sha256(data) != entry["sha256"]:
        raise BucketError(f"gs://{bucket.name}/{entry['path']} does not read back as it was written; publish again")
    return data


def _write_manifest(
    bucket: Bucket, candidate: Candidate, entries: Mapping[str, Mapping[str, Any]], proof: Proof
) -> str:
    """Write the manifest, read it back, and return its SHA-256: the identity of the release."""
    memory = {**dataclasses.asdict(proof), "serving_bytes": proof.serving_bytes}
    manifest = canonical_json({"schema": SCHEMA, **candidate.facts, "memory": memory, "files": entries})
    digest = sha256(manifest)
    path = manifest_path(digest)
    generation = bucket.create(path, manifest, "application/json")
    if bucket.read(path, generation) != manifest:
        raise BucketError(f"gs://{bucket.name}/{path} does not read back as it was written; publish again")
    return digest


def _swap(bucket: Bucket, pointer: Pointer, generation: int) -> bool:
    """Swap the pointer; return True if ``pointer`` was committed, False if another publisher was faster."""
    failure: BucketError | None = None
    for _ in range(_ATTEMPTS):
        try:
            bucket.replace(POINTER, pointer.to_bytes(), generation)
            return True
        except BucketError as error:
            failure = error
        try:
            found = bucket.read_versioned(POINTER)
            readback = classify_readback(Pointer.from_bytes(found[0]) if found else None, pointer)
        except (BucketError, ReleaseError) as error:
            raise InconclusiveError(
                f"unknown whether release {pointer.version} is live: the swap failed ({failure}) and so did looking at "
                f"the pointer ({error}); run the same command again, it will find out"
            ) from error
        if readback is Readback.COMMITTED:
            return True
        if readback is Readback.LOST or isinstance(failure, ConflictError):
            return False
        if readback is Readback.INCONCLUSIVE:
            raise InconclusiveError(
                f"unknown whether release {pointer.version} was ever live: {HISTORY} releases have followed; "
                f"look for manifest {pointer.manifest}"
            )
    raise failure or BucketError("no attempt was made")


def _write_mirrors(bucket: Bucket, candidate: Candidate, digest: str, report: Callable[[str], None]) -> None:
    """Copy the joblib files to the root of the bucket, unless a newer release has become live."""
    for name in MIRRORS:
        found = bucket.read_versioned(POINTER)
        if found is None or Pointer.from_bytes(found[0]).manifest != digest:
            return
        try:
            written = bucket.mirror(name, candidate.files[name], "application/octet-stream", digest)
        except ConflictError:
            continue  # another publisher is writing the mirrors of its newer release
        if written:
            report(f"uploaded to gs://{bucket.name}/{name} (mirror)")
