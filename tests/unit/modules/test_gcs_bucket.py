# SPDX-License-Identifier: GPL-3.0-or-later
"""gcs_bucket and model_release_info."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.unit.modules.fake_google import ApiError, FakeGoogle, RunModule

FULL: dict[str, Any] = {
    "name": "models",
    "location": "us-central1",
    "storage_class": "STANDARD",
    "labels": {"app": "fanops-m4"},
    "uniform_access": True,
    "public_access_prevention": "enforced",
    "soft_delete_seconds": 0,
}


def test_bucket_from_nothing_to_absent(run: RunModule, google: FakeGoogle) -> None:
    planned = run("gcs_bucket", check=True, **FULL)
    assert planned["changed"] and google.mutations == []
    created = run("gcs_bucket", **FULL)
    assert created["changed"] and created["diff"] == planned["diff"]
    assert created["bucket"]["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    google.calls.clear()
    assert not run("gcs_bucket", **FULL)["changed"]
    assert len(google.calls) == 1
    changed = run("gcs_bucket", **{**FULL, "soft_delete_seconds": 604800})
    assert changed["diff"] == {"before": {"soft_delete_seconds": 0}, "after": {"soft_delete_seconds": 604800}}
    assert run("gcs_bucket", name="models", state="absent")["changed"]
    assert not run("gcs_bucket", name="models", state="absent")["changed"]


def test_a_bucket_with_objects_is_deleted_only_when_forced(run: RunModule, google: FakeGoogle) -> None:
    run("gcs_bucket", **FULL)
    google.objects |= {"current.json": b"{}", "blobs/a b": b"x"}
    assert "is not empty" in run("gcs_bucket", name="models", state="absent")["msg"]
    assert (
        run("gcs_bucket", check=True, name="models", state="absent", force=True)["changed"] and len(google.objects) == 2
    )
    google.lose_answer(r"DELETE .*/o/blobs")  # repeated, it is answered with 404
    assert run("gcs_bucket", name="models", state="absent", force=True)["changed"] and google.objects == {}
    assert google.mutations[-4:] == [
        "DELETE current.json",
        "DELETE blobs%2Fa%20b",
        "DELETE blobs%2Fa%20b",
        "DELETE models",
    ]


def test_name_taken_by_another_project_is_one_clear_line(run: RunModule, google: FakeGoogle) -> None:
    google.foreign_buckets.add("models")
    for check in (True, False):
        result = run("gcs_bucket", check=check, **FULL)
        assert "bucket name models is taken by another project. Choose another name." in result["msg"]
    assert google.mutations == []


def test_name_taken_between_look_and_create(run: RunModule, google: FakeGoogle) -> None:
    google.fail("POST", ApiError(409, "The requested bucket name is not available.", "conflict"))
    assert "taken by another project" in run("gcs_bucket", **FULL)["msg"]


def test_lost_answers_do_no_harm(run: RunModule, google: FakeGoogle) -> None:
    google.lose_answer(r"POST .*/b$")
    assert run("gcs_bucket", **FULL)["changed"]
    google.lose_answer("DELETE")
    assert run("gcs_bucket", name="models", state="absent")["bucket"] is None


def test_bucket_cannot_move(run: RunModule) -> None:
    run("gcs_bucket", **FULL)
    result = run("gcs_bucket", check=True, **{**FULL, "location": "europe-west1"})
    assert "cannot be moved" in result["msg"]


def test_bucket_with_objects_is_not_deleted(run: RunModule, google: FakeGoogle) -> None:
    run("gcs_bucket", **FULL)
    google.fail("DELETE", ApiError(409, "The bucket you tried to delete is not empty.", "conflict"))
    assert "Delete its objects first" in run("gcs_bucket", name="models", state="absent")["msg"]


def publish(google: FakeGoogle, **pointer: Any) -> str:
    manifest = json.dumps(
        {"schema": 1, "version": "v1", "metrics": {"accuracy": 0.9}, "files": {}, "fingerprint": "f"}
    ).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    google.objects = {
        f"manifests%2F{digest}.json": manifest,
        "current.json": json.dumps(
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
    }
    return digest


def test_release_is_read_through_the_pointer(run: RunModule, google: FakeGoogle) -> None:
    digest = publish(google)
    release = run("model_release_info", bucket="models")["release"]
    assert release["manifest_sha256"] == digest
    assert release["metrics"] == {"accuracy": 0.9} and release["fingerprint"] == "f"


def test_no_pointer_is_no_release(run: RunModule) -> None:
    result = run("model_release_info", bucket="models")
    assert result["release"] is None and not result["changed"]


def test_objects_are_listed_by_name_with_their_sizes(run: RunModule, google: FakeGoogle) -> None:
    assert run("model_release_info", bucket="models", objects=True)["objects"] == []
    publish(google)
    result = run("model_release_info", bucket="models", objects=True)
    assert [(item["name"], item["size"]) for item in result["objects"]] == sorted(
        (name, len(content)) for name, content in google.objects.items()
    )
    assert not result["changed"] and google.mutations == []
    assert "objects" not in run("model_release_info", bucket="models")


def test_damaged_release_is_an_error(run: RunModule, google: FakeGoogle) -> None:
    digest = publish(google)
    google.objects[f"manifests%2F{digest}.json"] += b" "
    assert "not the one that it is named by" in run("model_release_info", bucket="models")["msg"]
    google.objects.pop(f"manifests%2F{digest}.json")
    assert "does not exist" in run("model_release_info", bucket="models")["msg"]
    google.objects["current.json"] = b"not json"
    assert "not JSON" in run("model_release_info", bucket="models")["msg"]
