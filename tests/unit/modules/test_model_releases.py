# SPDX-License-Identifier: GPL-3.0-or-later
"""model_release, model_release_prune and the listing, against a real storage server that ml.publish.publisher filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from ml.bucket import Bucket
from ml.core.gate import Proof
from ml.core.releases import Candidate, load_release, read_pointer
from ml.publish.publisher import publish
from tests.faulty_storage import Fault, Front, faulty_storage
from tests.unit.ml.model_fixtures import as_candidate, grown, publish_unproven
from tests.unit.modules.conftest import RunModule

MIB = 2**20


class Session(requests.Session):
    """Sends what is meant for Google to the storage server."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.trust_env = False  # no proxy between them
        self.front = front
        self.mutations: list[str] = []

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        if method != "GET":
            self.mutations.append(method)
        return super().request(method, url.replace("https://storage.googleapis.com", self.front.url), *args, **options)


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with faulty_storage() as found:
        yield found


@pytest.fixture
def session(front: Front, google: Any, monkeypatch: pytest.MonkeyPatch) -> Session:
    from ansible.module_utils.fanops.api import credentials

    found = Session(front)
    monkeypatch.setattr(credentials, "Session", lambda *arguments: found)
    front.plan(None)
    return found


@pytest.fixture
def bucket(front: Front) -> Iterator[Bucket]:
    client = Client(project="demo", credentials=AnonymousCredentials(), client_options={"api_endpoint": front.url})
    client.create_bucket("models")
    yield Bucket("models", client, deadline=60)
    for blob in client.list_blobs("models"):
        blob.delete()
    client.bucket("models").delete()


def release(bucket: Bucket, name: str, accuracy: float = 0.8, memory: int = 100 * MIB, **facts: Any) -> str:
    """Publish a release that holds no model; return its digest."""
    known = {
        "fingerprint": {"fingerprint": name, "code": f"code-{name}", "data": "data"},
        "metrics": {"accuracy": accuracy, "rows": 10_000},
        "columns": ["a"],
        "classes": ["b"],
        "created": "2026-11-01T10:00:00+00:00",
        **facts,
    }
    files = {file: f"{file} of {name}".encode() for file in ("model.joblib", "model_columns.joblib", "model.onnx")}
    outcome = publish(
        bucket, Candidate(files, known), force=True, prove=lambda files, facts: Proof(0, 0, memory - 96 * MIB)
    )
    return outcome.manifest


def live(bucket: Bucket) -> tuple[int, str]:
    found = load_release(bucket.read)
    return found.version, found.manifest["fingerprint"]["fingerprint"]


def test_each_of_the_last_releases_is_brought_back_without_training(
    run: RunModule, session: Session, bucket: Bucket
) -> None:
    digests = [release(bucket, f"r{number}") for number in range(1, 6)]
    for version, digest in enumerate(digests, 1):
        expected = read_pointer(bucket.read).version + (0 if version == 5 and live(bucket)[1] == "r5" else 1)
        planned = run("model_release", check=True, bucket="models", release=str(version), action="rollback")
        assert session.mutations == []
        done = run("model_release", bucket="models", release=str(version), action="rollback", reason="drill")
        assert planned["changed"] and planned["diff"] == done["diff"] and planned["actions"] == done["actions"]
        assert live(bucket) == (expected, f"r{version}")
        assert bucket.read("model.joblib") == f"model.joblib of r{version}".encode()
        pointer = read_pointer(bucket.read)
        assert (pointer.action, pointer.reason, pointer.forced, pointer.fingerprint) == (
            "rollback", "drill", False, f"r{version}",
        )  # fmt: skip
        assert pointer.manifest == digest
        again = run("model_release", bucket="models", release=digest[:12], action="rollback")
        assert not again["changed"]
        session.mutations.clear()
    listed = run("model_release_info", bucket="models", all=True)["releases"]
    assert [(item["version"], item["live"], item["code"]) for item in listed] == [
        (10, True, "code-r5"), (9, False, "code-r4"), (8, False, "code-r3"), (7, False, "code-r2"), (6, False, "code-r1"),
    ]  # fmt: skip
    assert release(bucket, "r6") == read_pointer(bucket.read).manifest  # ml reads what the module wrote, and goes on
    assert live(bucket) == (11, "r6")


def test_previous_goes_back_step_by_step(run: RunModule, session: Session, bucket: Bucket) -> None:
    for name in ("r1", "r2", "r3"):
        release(bucket, name)
    for expected in ("r2", "r1"):
        assert run("model_release", bucket="models", release="previous", action="rollback")["changed"]
        assert live(bucket)[1] == expected
    result = run("model_release", bucket="models", release="previous", action="rollback")
    assert "no release was live before this one" in result["msg"]


def test_the_gate_refuses_with_the_numbers_and_force_is_recorded(
    run: RunModule, session: Session, bucket: Bucket
) -> None:
    bad = release(bucket, "bad", 0.5, memory=600 * MIB, columns=[])
    release(bucket, "good", 0.88)
    refused = run("model_release", bucket="models", release=bad[:8])
    for part in (
        "50.00% is below the floor of 60.00%",
        "50.00% is 38.00% below the 88.00% of live release 2",
        "callers could not send what live release 2 accepts: without a",
        "serving takes 600 MiB",
        "the function has 512 MiB",
    ):
        assert part in refused["msg"]
    assert session.mutations == [] and live(bucket)[1] == "good"
    forced = run("model_release", bucket="models", release=bad[:8], force=True, reason="a demonstration")
    assert (
        forced["pointer"]["forced"]
        and "a demonstration; the candidate's accuracy 50.00%" in forced["pointer"]["reason"]
    )
    assert live(bucket)[1] == "bad" and read_pointer(bucket.read).forced


@pytest.mark.parametrize(
    ("name", "message"),
    [("77", "no such version, remembered are 1"), ("abcdef12", "0 releases have a digest"), ("previous", "no release")],
)
def test_a_release_that_is_not_there(run: RunModule, session: Session, bucket: Bucket, name: str, message: str) -> None:
    release(bucket, "r1")
    assert message in run("model_release", bucket="models", release=name, action="rollback")["msg"]


def test_an_empty_bucket_says_what_to_do(run: RunModule, session: Session, bucket: Bucket) -> None:
    assert "Train and publish first" in run("model_release", bucket="models", release="previous")["msg"]
    assert run("model_release_info", bucket="models", all=True)["releases"] == []


def test_a_damaged_release_is_not_brought_back(run: RunModule, session: Session, bucket: Bucket) -> None:
    release(bucket, "r1")
    release(bucket, "r2")
    blob = next(
        item for item in bucket._bucket.list_blobs(prefix="blobs/") if item.download_as_bytes().endswith(b"onnx of r1")
    )
    blob.upload_from_string(b"something else")
    result = run("model_release", bucket="models", release="1", action="rollback")
    assert "model.onnx is damaged" in result["msg"] and live(bucket)[1] == "r2"


@pytest.mark.parametrize("kind", ["503 once", "reset", "answer lost", "truncated"])
def test_no_single_fault_leaves_a_wrong_pointer(
    run: RunModule, session: Session, bucket: Bucket, front: Front, kind: str
) -> None:
    """Every request of a rollback fails once; the result is told truthfully, and running again finishes the job."""
    names = ["r1", "r2"]
    for name in names:
        release(bucket, name)
    at = 0
    while True:
        at += 1
        target, before = names[at % 2], live(bucket)
        versions = {entry.manifest: entry.version for entry in reversed(read_pointer(bucket.read).promotions())}
        wanted = next(m for m in versions if _name(bucket, m) == target)
        fault = Fault(kind, at)
        front.plan(fault)
        result = run("model_release", bucket="models", release=wanted[:10], action="rollback")
        front.plan(None)
        after = live(bucket)
        if not result.get("failed"):
            assert after[1] == target
        assert after in (before, (before[0] + 1, target))
        run("model_release", bucket="models", release=wanted[:10], action="rollback")
        assert live(bucket) == (before[0] + (before[1] != target), target)
        if not fault.fired:
            break
    assert at > 10


@pytest.mark.parametrize("kind", ["503 once", "answer lost"])
def test_no_single_fault_makes_half_a_copy_live(
    run: RunModule, session: Session, bucket: Bucket, front: Front, kind: str
) -> None:
    """Every request of a promotion from another bucket fails once; running it again finishes the job."""
    client = bucket._bucket.client
    staging = Bucket(client.create_bucket("staging").name, client, deadline=60)
    options = {"bucket": "models", "source_bucket": "staging", "release": "live", "force": True}
    names = ("model.joblib", "model_columns.joblib", "model.onnx")
    candidate = as_candidate(grown(300, seed=1), "r1")
    at = 0
    while True:
        at += 1
        # Another manifest each time: there is something to copy, but its blobs are there from the second on.
        facts = {**candidate.facts, "created": f"attempt {at}", "fingerprint": {"fingerprint": f"r{at}"}}
        publish_unproven(staging, Candidate(candidate.files, facts), force=True)
        digest = read_pointer(staging.read).manifest
        fault = Fault(kind, at)
        front.plan(fault)
        result = run("model_release", **options)
        front.plan(None)
        if not result.get("failed"):
            assert live(bucket) == (at, f"r{at}")
        run("model_release", **options)
        assert live(bucket) == (at, f"r{at}") and read_pointer(bucket.read).manifest == digest
        assert load_release(bucket.read, names).files == candidate.files
        if not fault.fired:
            break
    assert at > 20
    for blob in client.list_blobs("staging"):
        blob.delete()
    client.bucket("staging").delete()


def _name(bucket: Bucket, digest: str) -> str:
    from ml.core.releases import read_manifest

    return str(read_manifest(bucket.read, digest)["fingerprint"]["fingerprint"])


def test_pruning_keeps_what_is_needed(run: RunModule, session: Session, bucket: Bucket) -> None:
    for number in range(1, 8):
        release(bucket, f"r{number}")
    run("model_release", bucket="models", release="1", action="rollback")  # the oldest is live
    options: dict[str, Any] = {"bucket": "models", "keep": 3, "grace_hours": 0}
    assert not run("model_release_prune", **{**options, "grace_hours": 1})["changed"]  # all of it is young
    session.mutations.clear()
    planned = run("model_release_prune", check=True, **options)
    assert planned["changed"] and session.mutations == []
    done = run("model_release_prune", **options)
    assert not done.get("msg"), done
    assert done["actions"] == planned["actions"] and len(done["actions"]) == 4 * 4
    assert done["releases"]["superfluous"] == [] and done["diff"] == planned["diff"]
    assert [item["code"] for item in run("model_release_info", bucket="models", all=True)["releases"]] == [
        "code-r1", "code-r7", "code-r6",
    ]  # fmt: skip
    for name in ("7", "6"):
        assert run("model_release", bucket="models", release=name, action="rollback")["changed"]
        assert live(bucket)[1] == f"r{name}"
    assert not run("model_release_prune", **options)["changed"]
    assert "at least 1" in run("model_release_prune", bucket="models", keep=0)["msg"]


def test_what_comes_into_use_while_it_is_pruned_stays(
    run: RunModule, session: Session, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher finds a file of an old release and builds on it, between the listing and the deletion."""
    for number in range(1, 4):
        release(bucket, f"r{number}")
    monkeypatch.setattr("ml.publish.publisher.REUSE_SECONDS", 0)  # as if r1 had been published long ago
    original = session.request

    def request(method: str, url: str, **options: Any) -> Any:
        if method == "DELETE":
            monkeypatch.setattr(session, "request", original)
            release(bucket, "r1")
        return original(method, url, **options)

    monkeypatch.setattr(session, "request", request)
    run("model_release_prune", bucket="models", keep=1, grace_hours=0)
    assert live(bucket) == (4, "r1")
    assert load_release(bucket.read, ("model.joblib", "model_columns.joblib", "model.onnx"))
