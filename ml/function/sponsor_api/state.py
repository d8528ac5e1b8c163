# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the service: which release answers, how old it is, and how certain it is that it is the live one."""

from __future__ import annotations

import datetime
import functools
import os
import time
from typing import Any

from ml.core.releases import Release, ReleaseError
from ml.core.schema import DEFAULT, Schema
from ml.core.serving import Model
from sponsor_api.answers import Answers
from sponsor_api.bucket_reader import BucketReader
from sponsor_api.live import LiveModel
from sponsor_api.responses import HttpProblem, environment_seconds, log


@functools.cache
def _bucket() -> BucketReader:
    name = os.environ.get("MODEL_BUCKET")
    if not name:
        raise ReleaseError(
            "MODEL_BUCKET is not set; deploy the function with the name of the bucket in its environment"
        )
    return BucketReader(name)


def _read(path: str) -> bytes:
    return _bucket().read(path)


LIVE = LiveModel(_read, environment_seconds("MODEL_REFRESH_SECONDS", 60), log)

_answers: tuple[Model, Answers] | None = None


def live() -> tuple[Release, Answers]:
    """Return the release to answer with, and what builds its answers."""
    global _answers
    try:
        release, model = LIVE.get()
    except ReleaseError as error:
        detail = f"no model can be served yet: {error}; train and publish one, then try again"
        raise HttpProblem(503, "Service Unavailable", detail, {"Retry-After": "5"}) from error
    known = _answers
    if known is None or known[0] is not model:
        known = _answers = (model, Answers(model))
    return release, known[1]


def schema() -> Schema:
    """Return the schema of the release that serves, or the default while there is none."""
    try:
        return LIVE.get()[1].schema
    except ReleaseError:
        return DEFAULT


def health() -> dict[str, Any]:
    """Return which release serves, how old it is, and how certain it is that it is still the live one."""
    try:
        release, _ = LIVE.get()
    except ReleaseError as error:
        return {"status": "no release", "reason": str(error), "release": None, **_freshness()}
    created = str(release.manifest.get("created", ""))
    metrics = release.manifest.get("metrics", {})
    return {
        "status": "serving" if LIVE.error is None else "serving the last known good release",
        "reason": LIVE.error,
        "release": {
            "version": release.version,
            "manifest": release.digest,
            "created": created,
            "age_seconds": _age(created),
            "accuracy": metrics.get("accuracy"),
            "ceiling": metrics.get("ceiling"),
        },
        **_freshness(),
    }


def _freshness() -> dict[str, Any]:
    checked = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=LIVE.seconds_since_check)
    certain = LIVE.staleness_seconds
    return {
        "last_check": checked.isoformat(timespec="milliseconds"),
        "staleness_seconds": None if certain == float("inf") else round(certain, 3),
        "refresh_seconds": LIVE.refresh_seconds,
    }


def _age(created: str) -> int | None:
    try:
        return max(0, int(time.time() - datetime.datetime.fromisoformat(created).timestamp()))
    except ValueError:
        return None


def model() -> tuple[Release, dict[str, Any]]:
    """Return the release that serves, and its manifest with how it was promoted."""
    release, _ = live()
    pointer = release.pointer
    promotion = {
        name: getattr(pointer, name) for name in ("version", "updated", "action", "reason", "forced", "previous")
    }
    return release, {"manifest_sha256": release.digest, "promotion": promotion, "manifest": release.manifest}
