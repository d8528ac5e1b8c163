# SPDX-License-Identifier: GPL-3.0-or-later
"""model_release with a source bucket: a release of staging becomes production's, or nothing of it is seen there."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from ml.bucket import Bucket
from ml.core.gate import Proof
from ml.core.releases import Candidate, load_release, manifest_path, read_pointer
from ml.core.schema import DEFAULT
from ml.publish.publisher import publish
from rehearsal.testing import StorageServer
from rehearsal.testing.client import Session
from tests.unit.ml.model_fixtures import as_candidate, grown, publish_unproven
from tests.unit.modules.conftest import PROJECT, RunModule

FILES = ("model.joblib", "model_columns.joblib", "model.onnx")


class Direct(requests.Session):
    """Sends what is meant for Google to the storage server."""

    is_mtls = False

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env, self.url = False, url  # no proxy between them

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        return super().request(method, url.replace("https://storage.googleapis.com", self.url), *args, **options)


@pytest.fixture(scope="module")
def made() -> Candidate:
    """A small forest with its golden rows."""
    return as_candidate(grown(1500, seed=1), "r1", 0.88)


@pytest.fixture(scope="module")
def other() -> Candidate:
    """Another forest."""
    return as_candidate(grown(1500, seed=2), "before", 0.87)


@pytest.fixture
def buckets(google: Session, run: RunModule, storage_server: StorageServer) -> tuple[Bucket, Bucket]:
    """The buckets of production and staging, as the VMs that train see them."""
    for name in ("production", "staging"):
        assert run("gcs_bucket", name=name, location="us-central1")["changed"]
    url = f"http://127.0.0.1:{storage_server.settings.storage_port}"
    client = Client(project=PROJECT, credentials=AnonymousCredentials(), _http=Direct(url))
    google.forget()
    return Bucket("production", client, deadline=60), Bucket("staging", client, deadline=60)


def promote(run: RunModule, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Do what playbooks/promote_release.yml does with from_environment=staging."""
    named = {"bucket": "production", "source_bucket": "staging", "source_environment": "staging", "release": "live"}
    return run("model_release", check=check, **{**named, **options})


def objects(bucket: Bucket) -> dict[str, tuple[int, str]]:
    """Generation and checksum of every object."""
    return {found.name: (found.generation, found.crc32c) for found in bucket.objects("")}


def generations(google: Session) -> dict[str, str]:
    """The generation of every object of production that is never to be replaced."""
    listed = google.request("GET", "https://storage.googleapis.com/storage/v1/b/production/o").json()["items"]
    return {item["name"]: item["generation"] for item in listed if item["name"].startswith(("blobs/", "manifests/"))}


def like(made: Candidate, name: str, accuracy: float, **facts: Any) -> Candidate:
    """The same model under another run's name, measured otherwise."""
    metrics = {**made.facts["metrics"], "accuracy": accuracy}
    return replace(made, facts={**made.facts, "fingerprint": {"fingerprint": name}, "metrics": metrics, **facts})


def test_a_release_is_copied_by_digest_proven_gated_and_made_live_by_one_swap(
    run: RunModule, google: Session, buckets: tuple[Bucket, Bucket], made: Candidate, other: Candidate
) -> None:
    production, staging = buckets
    publish_unproven(production, other)
    publish_unproven(staging, like(made, "older", 0.6))
    digest = publish_unproven(staging, made).manifest
    over_there, here = objects(staging), objects(production)
    google.forget()
    planned = promote(run, check=True)
    assert planned["changed"] and google.mutations == [] and objects(production) == here
    done = promote(run, reason="the new season")
    assert done["actions"] == planned["actions"] and done["diff"] == planned["diff"]
    assert done["actions"][0] == "copy its 3 files and its manifest from gs://staging"
    pointer = read_pointer(production.read)
    assert (pointer.version, pointer.manifest, pointer.action, pointer.forced) == (2, digest, "promote", False)
    assert pointer.reason.startswith(
        "copied from staging, version 2 of gs://staging; the new season; passed the quality"
    )
    assert "accuracy 88.00% against 87.00% of live release 1 on 10,000 rows (10,000 of the candidate)" in pointer.reason
    found = load_release(production.read, FILES)
    assert found.files == made.files and production.read("model.joblib") == made.files["model.joblib"]
    assert production.read(manifest_path(digest)) == staging.read(manifest_path(digest))
    assert objects(staging) == over_there, "what is copied stays as it is"
    # The swap is the last but for the copy for people (the columns are the same): whoever looked before saw the old release, whole.
    assert google.mutations == [
        *["storage.objects.rewrite"] * 4, *["storage.objects.patch"] * 4, "storage.objects.insert", "storage.objects.rewrite",
    ]  # fmt: skip
    google.forget()
    for name in ("live", "2", digest[:8]):
        again = promote(run, release=name)
        assert not again["changed"] and google.mutations == []


def test_rollback_works_on_it_as_on_any_release(
    run: RunModule, google: Session, buckets: tuple[Bucket, Bucket], made: Candidate, other: Candidate
) -> None:
    production, staging = buckets
    publish_unproven(production, other)
    publish_unproven(staging, made)
    assert promote(run)["changed"]
    assert run("model_release", bucket="production", release="previous", action="rollback")["changed"]
    assert load_release(production.read).files["model.onnx"] == other.files["model.onnx"]
    assert run("model_release", bucket="production", release="2", action="rollback")["changed"]
    assert load_release(production.read, FILES).files == made.files
    origins = [entry["reason"] for entry in json.loads(production.read("current.json"))["history"]]
    assert any("copied from staging, version 1 of gs://staging" in reason for reason in origins)
    assert not promote(run)["changed"]
    # Back to the old one, and over again: what was copied before is used as it is.
    run("model_release", bucket="production", release="1", action="rollback")
    before = generations(google)
    assert promote(run)["changed"] and load_release(production.read, FILES).files == made.files
    assert generations(google) == before


def test_into_an_empty_production_it_is_the_first_release(
    run: RunModule, buckets: tuple[Bucket, Bucket], made: Candidate
) -> None:
    production, staging = buckets
    digest = publish_unproven(staging, made).manifest
    assert promote(run, check=True)["pointer"]["version"] == 1 and objects(production) == {}
    assert promote(run)["pointer"]["previous"] is None
    assert load_release(production.read).digest == digest


def narrower() -> dict[str, Any]:
    """The default's description, with a shorter match."""
    document = copy.deepcopy(dict(DEFAULT.document))
    next(field for field in document["fields"] if field["name"] == "match_minute")["maximum"] = 125
    return document


@pytest.mark.parametrize(
    ("accuracy", "facts", "told"),
    [
        (0.80, {}, "the candidate's accuracy 80.00% is 8.00% below the 88.00% of live release 1"),
        (0.88, {"model_schema": narrower()},
         "callers could not send what live release 1 accepts: match_minute from 0 to 125 instead of 0 to 130"),
        (0.88, {"metrics": {"accuracy": 0.88, "rows": 10_000, "ceiling": None}},
         "live release 1 cannot be compared with: one of the two was measured on synthetic rows, the other on a data file"),
    ],
    ids=["worse", "another schema", "other data"],
)  # fmt: skip
def test_a_worse_one_is_refused_in_one_line_and_nothing_is_copied(
    run: RunModule,
    google: Session,
    buckets: tuple[Bucket, Bucket],
    made: Candidate,
    accuracy: float,
    facts: Any,
    told: str,
) -> None:
    production, staging = buckets
    publish_unproven(production, made)
    candidate = like(made, "worse", accuracy, **facts)
    publish_unproven(staging, candidate)
    here = objects(production)
    google.forget()
    for check in (True, False):
        refused = promote(run, check=check)
        assert told in refused["msg"] and "Give force=true" in refused["msg"] and "\n" not in refused["msg"]
    assert google.mutations == [] and objects(production) == here
    forced = promote(run, force=True)
    assert forced["pointer"]["forced"] and told in forced["pointer"]["reason"]
    assert load_release(production.read).manifest["fingerprint"]["fingerprint"] == "worse"


def test_what_fails_its_proof_is_not_promoted_even_by_force(
    run: RunModule, google: Session, buckets: tuple[Bucket, Bucket], made: Candidate
) -> None:
    production, staging = buckets
    golden = [{**row, "probabilities": list(reversed(row["probabilities"]))} for row in made.facts["golden"]]
    publish_unproven(staging, like(made, "wrong", 0.88, golden=golden))
    google.forget()
    for check in (True, False):
        refused = promote(run, check=check, force=True)
        assert "it failed its proof: model.onnx does not answer the golden rows" in refused["msg"]
    assert google.mutations == [] and objects(production) == {}


def test_damage_is_noticed_on_either_side(
    run: RunModule, buckets: tuple[Bucket, Bucket], made: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    production, staging = buckets
    publish_unproven(staging, made)
    path = load_release(staging.read).manifest["files"]["model.joblib"]["path"]
    # Something else has the name that a file of the release has: create-only never replaces it.
    production.create(path, b"something else", "application/octet-stream")
    refused = promote(run)
    assert f"in gs://production {path} is damaged" in refused["msg"] and "Delete that object" in refused["msg"]
    assert "current.json" not in objects(production)
    production._bucket.blob(path).delete()
    staging._bucket.blob(path).upload_from_string(b"something else")
    refused = promote(run)
    assert "its file model.joblib is damaged" in refused["msg"] and "current.json" not in objects(production)


def test_what_is_missing_is_named_with_what_to_do(
    run: RunModule, buckets: tuple[Bucket, Bucket], made: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, staging = buckets
    refused = promote(run)["msg"]
    assert "Could not promote release live of gs://staging: nothing was ever published there." in refused
    publish_unproven(staging, made)
    for check in (True, False):
        assert "there is no gs://none to copy it to" in promote(run, check=check, bucket="none")["msg"]
    monkeypatch.setitem(sys.modules, "ansible.module_utils.fanops.core.serving", None)
    refused = promote(run)["msg"]
    assert "golden rows cannot be replayed here" in refused and "make controller" in refused


def test_the_memory_that_was_measured_where_it_was_trained_counts_here(
    run: RunModule, buckets: tuple[Bucket, Bucket], made: Candidate
) -> None:
    _, staging = buckets
    publish(staging, made, force=True, prove=lambda files, facts: Proof(0, 0, 600 * 2**20))
    assert "the function has 512 MiB" in promote(run)["msg"]
    assert promote(run, function_memory="1Gi")["changed"]
