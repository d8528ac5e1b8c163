# SPDX-License-Identifier: GPL-3.0-or-later
"""gcs_bucket and model_release_info."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from rehearsal.services.storage.buckets import FOREIGN_BUCKET, own_a_bucket_elsewhere
from rehearsal.testing.client import Session
from rehearsal.wire.faults import Fault
from tests.unit.modules.conftest import PROJECT, RunModule, act

FULL: dict[str, Any] = {
    "name": "models",
    "location": "us-central1",
    "storage_class": "STANDARD",
    "labels": {"app": "fanops-m4"},
    "uniform_access": True,
    "public_access_prevention": "enforced",
    "soft_delete_seconds": 0,
}


def test_bucket_from_nothing_to_absent(run: RunModule, google: Session) -> None:
    planned = run("gcs_bucket", check=True, **FULL)
    assert planned["changed"] and google.mutations == []
    created = run("gcs_bucket", **FULL)
    assert created["changed"] and created["diff"] == planned["diff"]
    assert created["bucket"]["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    google.forget()
    assert not run("gcs_bucket", **FULL)["changed"]
    assert len(google.calls) == 1
    changed = run("gcs_bucket", **{**FULL, "soft_delete_seconds": 604800})
    assert changed["diff"] == {"before": {"soft_delete_seconds": 0}, "after": {"soft_delete_seconds": 604800}}
    assert run("gcs_bucket", name="models", state="absent")["changed"]
    assert not run("gcs_bucket", name="models", state="absent")["changed"]


UPLOAD = "https://storage.googleapis.com/upload/storage/v1/b/models/o"
OBJECTS = "storage.googleapis.com/storage/v1/b/models/o"


def store(google: Session, name: str, content: bytes) -> None:
    """Write an object, as another client does."""
    other = Session(google.cloud, google.account)
    answer = other.request("POST", UPLOAD, params={"uploadType": "media", "name": name}, data=content)
    assert answer.status_code == 200, answer.text


def stored(google: Session) -> dict[str, int]:
    """The bucket's objects with their sizes."""
    return {item["name"]: int(item["size"]) for item in act(google, "GET", OBJECTS).get("items", [])}


def test_a_bucket_with_objects_is_deleted_only_when_forced(run: RunModule, google: Session) -> None:
    run("gcs_bucket", **FULL)
    store(google, "current.json", b"{}")
    store(google, "blobs/a b", b"x")
    assert "is not empty" in run("gcs_bucket", name="models", state="absent")["msg"]
    assert run("gcs_bucket", check=True, name="models", state="absent", force=True)["changed"]
    assert len(stored(google)) == 2
    google.forget()
    google.cloud.faults.plan(Fault("storage.objects.delete", "drop"))  # repeated, it is answered with 404
    assert run("gcs_bucket", name="models", state="absent", force=True)["changed"]
    assert google.mutations == 3 * ["storage.objects.delete"] + ["storage.buckets.delete"]
    paths = [sent.url.rpartition("/")[2] for sent in google.calls if sent.verb == "DELETE"]
    assert paths == ["blobs%2Fa%20b", "blobs%2Fa%20b", "current.json", "models"]


def test_name_taken_by_another_project_is_one_clear_line(run: RunModule, google: Session) -> None:
    own_a_bucket_elsewhere(google.cloud)
    for check in (True, False):
        result = run("gcs_bucket", check=check, **{**FULL, "name": FOREIGN_BUCKET})
        assert f"bucket name {FOREIGN_BUCKET} is taken by another project. Choose another name." in result["msg"]
    assert google.mutations == []


def test_name_taken_between_look_and_create(run: RunModule, google: Session) -> None:
    google.before("POST", lambda: own_a_bucket_elsewhere(google.cloud))
    assert "taken by another project" in run("gcs_bucket", **{**FULL, "name": FOREIGN_BUCKET})["msg"]


def test_lost_answers_do_no_harm(run: RunModule, google: Session) -> None:
    for method in ("storage.buckets.insert", "storage.buckets.delete"):
        google.cloud.faults.plan(Fault(method, "drop"))
    assert run("gcs_bucket", **FULL)["changed"]
    assert run("gcs_bucket", name="models", state="absent")["bucket"] is None
    assert not google.cloud.faults.unfired()


def test_bucket_cannot_move(run: RunModule) -> None:
    run("gcs_bucket", **FULL)
    result = run("gcs_bucket", check=True, **{**FULL, "location": "europe-west1"})
    assert "cannot be moved" in result["msg"]


def test_bucket_with_objects_is_not_deleted(run: RunModule, google: Session) -> None:
    run("gcs_bucket", **FULL)
    store(google, "current.json", b"{}")
    assert "Delete its objects first" in run("gcs_bucket", name="models", state="absent")["msg"]


def publish(google: Session, **pointer: Any) -> str:
    manifest = json.dumps(
        {"schema": 1, "version": "v1", "metrics": {"accuracy": 0.9}, "files": {}, "fingerprint": "f"}
    ).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    act(google, "POST", f"storage.googleapis.com/storage/v1/b?project={PROJECT}", {"name": "models"})
    store(google, f"manifests/{digest}.json", manifest)
    store(
        google,
        "current.json",
        json.dumps(
            {
                "schema": 1,
                "version": 1,
                "manifest": digest,
                "write_id": "w",
                "updated": "2026-11-26T12:00:00+00:00",
                "fingerprint": "f",
                "action": "publish",
                "reason": "passed the quality gate",
                "forced": False,
                **pointer,
            }
        ).encode(),
    )
    google.forget()
    return digest


def test_release_is_read_through_the_pointer(run: RunModule, google: Session) -> None:
    digest = publish(google)
    release = run("model_release_info", bucket="models")["release"]
    assert release["manifest_sha256"] == digest
    assert release["metrics"] == {"accuracy": 0.9} and release["fingerprint"] == "f"


def test_no_pointer_is_no_release(run: RunModule) -> None:
    result = run("model_release_info", bucket="models")
    assert result["release"] is None and not result["changed"]


def test_objects_are_listed_by_name_with_their_sizes(run: RunModule, google: Session) -> None:
    assert run("model_release_info", bucket="models", objects=True)["objects"] == []
    publish(google)
    result = run("model_release_info", bucket="models", objects=True)
    assert [(item["name"], item["size"]) for item in result["objects"]] == sorted(stored(google).items())
    assert not result["changed"] and google.mutations == []
    assert "objects" not in run("model_release_info", bucket="models")


def test_damaged_release_is_an_error(run: RunModule, google: Session) -> None:
    digest = publish(google)
    name = f"manifests/{digest}.json"
    content = google.request("GET", f"https://{OBJECTS}/{quote(name, safe='')}", params={"alt": "media"}).content
    store(google, name, content + b" ")
    assert "not the one that it is named by" in run("model_release_info", bucket="models")["msg"]
    act(google, "DELETE", f"{OBJECTS}/manifests%2F{digest}.json")
    assert "does not exist" in run("model_release_info", bucket="models")["msg"]
    store(google, "current.json", b"not json")
    assert "not JSON" in run("model_release_info", bucket="models")["msg"]
