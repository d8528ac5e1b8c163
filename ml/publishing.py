# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a candidate: create-only files and manifest, a quality gate, then one compare-and-swap of the pointer.

Until the swap nothing that serves can see the candidate; after it everything is there. A publisher that dies anywhere
leaves the old release live and can simply be run again. See ``ml.releases`` for the layout.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ml.bucket import Bucket, BucketError, ConflictError, crc32c
from ml.releases import (
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

MIRRORS = ("model.joblib", "model_columns.joblib")
TOLERANCE = 0.005  # accuracy that a candidate may lose against the live release: seeds differ by a tenth of that
_ATTEMPTS = 5


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
    measure: Callable[[Release], float] | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> Outcome:
    """Publish ``candidate`` and return what happened.

    ``measure`` returns the accuracy of a live release on the candidate's held-out rows; it is asked only if the live
    release was measured on other rows. ``force`` promotes a candidate that the gate refuses, and records that.

    Raises RefusedError (gate), InconclusiveError (unknown outcome), ReleaseError (the live release is damaged) or
    BucketError. In all of them the pointer is what it was, except for InconclusiveError.
    """
    manifest: bytes | None = None
    digest = ""
    write_id = uuid.uuid4().hex
    for _ in range(_ATTEMPTS):
        found = bucket.read_versioned(POINTER)
        generation = found[1] if found else 0
        live = _live_release(bucket, found[0] if found else None, force)
        if live is not None and _same(live, candidate):
            _write_mirrors(bucket, candidate, live.digest, report)
            return Outcome(False, live.version, live.digest)
        refusal = _gate(candidate, live, measure)
        if refusal and not force:
            raise RefusedError(refusal)
        if manifest is None:
            manifest = _upload(bucket, candidate, report)
            digest = sha256(manifest)
        pointer = Pointer(
            version=live.version + 1 if live else 1,
            manifest=digest,
            write_id=write_id,
            updated=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
            fingerprint=candidate.fingerprint,
            previous=live.digest if live else None,
            forced=bool(refusal),
            history=live.pointer.promotions()[:HISTORY] if live else (),
        )
        if _swap(bucket, pointer, generation):
            report(f"release {pointer.version} is live: manifest {digest[:12]}")
            _write_mirrors(bucket, candidate, digest, report)
            return Outcome(True, pointer.version, digest)
        report("another publisher was faster; comparing with its release")
    raise BucketError(f"cannot publish to gs://{bucket.name}: {_ATTEMPTS} other publishers were faster; try again")


def _live_release(bucket: Bucket, pointer: bytes | None, force: bool) -> Release | None:
    """Return the live release with its model bytes verified, or None if there is none."""
    if pointer is None:
        return None
    try:
        return load_release(bucket.read, pointer=Pointer.from_bytes(pointer))
    except ReleaseError as error:
        if force:
            return None
        raise ReleaseError(f"the live release cannot be compared with: {error}; --force replaces it") from error


def _same(live: Release, candidate: Candidate) -> bool:
    """Say whether the live release came from the same inputs and is the same model."""
    same_inputs = live.manifest.get("fingerprint", {}).get("fingerprint") == candidate.fingerprint
    return same_inputs and live.files["model.onnx"] == candidate.files["model.onnx"]


def _gate(candidate: Candidate, live: Release | None, measure: Callable[[Release], float] | None) -> str | None:
    """Return why the candidate must not replace the live release, or None if it may."""
    if live is None:
        return None
    metrics = live.manifest.get("metrics", {})
    if metrics.get("held_out") == candidate.facts["metrics"]["held_out"]:
        before = float(metrics["accuracy"])
    elif measure is not None:
        before = measure(live)
    else:
        return "the live release was measured on other held-out rows; --force promotes the candidate all the same"
    if candidate.accuracy >= before - TOLERANCE:
        return None
    return (
        f"the candidate's accuracy {candidate.accuracy:.2%} is more than {TOLERANCE:.1%} below the {before:.2%} of "
        f"live release {live.version}; train on more samples, or promote it all the same with --force"
    )


def _upload(bucket: Bucket, candidate: Candidate, report: Callable[[str], None]) -> bytes:
    """Upload the files, read them back, upload the manifest, and return its bytes."""
    entries = {}
    for name, data in candidate.files.items():
        digest = sha256(data)
        path = blob_path(digest, name)
        generation = bucket.create(path, data, "application/octet-stream")
        if bucket.read(path) != data:
            raise BucketError(f"gs://{bucket.name}/{path} does not read back as it was written; publish again")
        entries[name] = {
            "path": path,
            "size": len(data),
            "sha256": digest,
            "crc32c": crc32c(data),
            "generation": str(generation),
        }
        report(f"uploaded to gs://{bucket.name}/{path} ({len(data) / 1e6:.1f} MB)")
    manifest = canonical_json({"schema": SCHEMA, **candidate.facts, "files": entries})
    bucket.create(manifest_path(sha256(manifest)), manifest, "application/json")
    return manifest


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
