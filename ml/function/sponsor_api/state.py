# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the service: which release answers, how old it is, and how certain it is that it is the live one."""

from __future__ import annotations

import datetime
import functools
import json
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

#: After how many seconds a scheduled run should have brought a release, or found that nothing is new; 0 where there is no schedule.
MAX_AGE_SECONDS = environment_seconds("MODEL_MAX_AGE_SECONDS", 0, most=10 * 366 * 86_400)
#: The outcome of the last run that left everything up to date; the training writes it (ml/publish/run_outcome.py).
LAST_GOOD = "runs/up-to-date.json"

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


def schedule(release: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return whether scheduled runs come; None where there is no schedule.

    A release that is younger than the schedule allows is proof enough. Where nothing was new there is none, so the last run's outcome is
    looked at then.
    """
    if not MAX_AGE_SECONDS:
        return None
    as_of = (release or {}).get("created")
    age = _age(as_of or "")
    if age is None or age > MAX_AGE_SECONDS:
        checked = _last_good()
        checked_age = _age(checked or "")
        if checked_age is not None and (age is None or checked_age < age):
            as_of, age = checked, checked_age
    return {
        "max_age_seconds": round(MAX_AGE_SECONDS),
        "up_to_date_as_of": as_of,
        "overdue": age is None or age > MAX_AGE_SECONDS,
    }


def _last_good() -> str | None:
    try:
        return str(json.loads(_read(LAST_GOOD))["ended"])
    except (ReleaseError, ValueError, KeyError, TypeError):
        return None


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
        return max(0, int(time.time() - datetime.datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp()))
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
