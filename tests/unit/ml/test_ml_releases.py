# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing and reading releases, against a real storage server."""

from __future__ import annotations

import random
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from google.api_core.exceptions import Forbidden
from google.cloud.storage import Client
from requests.adapters import HTTPAdapter

from ml.bucket import Bucket, BucketError, bucket_name, crc32c
from ml.core.gate import Proof
from ml.core.releases import (
    Candidate,
    Pointer,
    Promotion,
    Read,
    ReleaseError,
    ReleaseNotFoundError,
    blob_path,
    load_release,
    manifest_path,
    read_pointer,
)
from ml.core.serving import model_of
from ml.publish.publisher import InconclusiveError, Readback, RefusedError, _upload, _write_manifest, classify_readback
from sponsor_api.live import LiveModel
from tests.unit.ml.model_fixtures import BUCKET, Candidates, new_client
from tests.unit.ml.model_fixtures import publish_unproven as publish


def small(name: str, accuracy: float = 0.8) -> Candidate:
    """A candidate for tests that load no model."""
    facts = {"fingerprint": {"fingerprint": name}, "metrics": {"accuracy": accuracy, "rows": 10_000}}
    files = {file: f"{file} of {name}".encode() for file in ("model.joblib", "model_columns.joblib", "model.onnx")}
    return Candidate(files, facts)


def objects(client: Client) -> dict[str, int]:
    """Every object with its generation."""
    return {blob.name: blob.generation for blob in client.list_blobs(BUCKET)}


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return Bucket(BUCKET, client, deadline=60)


def test_what_was_published_is_what_is_read(bucket: Bucket, client: Client) -> None:
    candidate = small("one")
    outcome = publish(bucket, candidate)
    assert (outcome.published, outcome.version) == (True, 1)
    release = load_release(bucket.read, tuple(candidate.files))
    assert (release.version, release.digest) == (1, outcome.manifest)
    assert dict(release.files) == candidate.files
    assert release.manifest["files"]["model.onnx"]["crc32c"] == crc32c(candidate.files["model.onnx"])
    assert client.bucket(BUCKET).get_blob("current.json").cache_control == "no-store"
    assert bucket.read("model.joblib") == candidate.files["model.joblib"]
    assert bucket.read("model_columns.joblib") == candidate.files["model_columns.joblib"]


def test_publishing_the_same_again_writes_nothing(bucket: Bucket, client: Client) -> None:
    publish(bucket, small("one"))
    before = objects(client)
    assert not publish(bucket, small("one")).published
    assert objects(client) == before


def test_a_missing_mirror_is_repaired_by_publishing_again(bucket: Bucket, client: Client) -> None:
    publish(bucket, small("one"))
    client.bucket(BUCKET).blob("model.joblib").delete()
    assert not publish(bucket, small("one")).published
    assert bucket.read("model.joblib") == small("one").files["model.joblib"]


def test_a_worse_candidate_is_refused_with_the_numbers_unless_forced(bucket: Bucket, client: Client) -> None:
    publish(bucket, small("good", 0.88))
    before = objects(client)
    with pytest.raises(
        RefusedError, match=r"86\.00% is 2\.00% below the 88\.00% of live release 1 on 10,000 rows .*; 1\.28% less"
    ):
        publish(bucket, small("worse", 0.86))
    assert objects(client) == before
    assert publish(bucket, small("slightly worse", 0.87)).version == 2
    publish(bucket, small("bad", 0.5), force=True)
    pointer = read_pointer(bucket.read)
    assert (pointer.version, pointer.forced) == (3, True)
    assert [promotion.version for promotion in pointer.promotions()] == [3, 2, 1]
    assert pointer.previous == pointer.history[0].manifest


def test_concurrent_publishers_are_each_live_exactly_once(client: Client, storage_url: str) -> None:
    acknowledged, failures = [], []

    def publisher(number: int) -> None:
        bucket = Bucket(BUCKET, new_client(storage_url))
        for round_ in range(5):
            while True:
                try:
                    acknowledged.append(publish(bucket, small(f"{number}-{round_}")).version)
                    break
                except BucketError as error:
                    if "other publishers were faster" not in str(error):
                        failures.append(error)
                        break

    threads = [threading.Thread(target=publisher, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(acknowledged) == list(range(1, 11))
    promotions = read_pointer(Bucket(BUCKET, client).read).promotions()
    assert [promotion.version for promotion in promotions] == list(range(10, 0, -1))
    assert len({promotion.write_id for promotion in promotions}) == 10


class Fault(HTTPAdapter):
    """Counts requests and spoils one of them: before it is sent, or after it was answered."""

    def __init__(self, at: int, error: type[BaseException], after: bool) -> None:
        super().__init__()
        self.at, self.error, self.after = at, error, after
        self.count = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if threading.current_thread() is not threading.main_thread():
            return super().send(request, *args, **options)  # the client looks up the bucket's location for its traces
        self.count += 1
        spoilt = self.count == self.at
        if spoilt and not self.after:
            raise self.error("the network failed before the request")
        response = super().send(request, *args, **options)
        if spoilt:
            raise self.error("the answer was lost")
        return response


class KilledError(BaseException):
    """Stands for a signal: nothing catches it."""


def faulty(url: str, fault: Fault) -> Bucket:
    client = new_client(url)
    client._http.mount("http://", fault)
    bucket = Bucket(BUCKET, client, deadline=5)
    bucket._retry = bucket._retry.with_delay(initial=0.01)
    return bucket


@pytest.fixture(scope="module")
def request_count(storage_url: str) -> int:
    """How many requests one publish over another takes."""
    client = new_client(storage_url)
    client.create_bucket(BUCKET)
    publish(Bucket(BUCKET, client), small("before"))
    fault = Fault(0, KilledError, False)
    publish(faulty(storage_url, fault), small("after"))
    for blob in client.list_blobs(BUCKET):
        blob.delete()
    client.bucket(BUCKET).delete()
    return fault.count


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
def test_a_lost_request_or_answer_is_not_a_failed_publish(
    request_count: int, client: Client, storage_url: str, after: bool
) -> None:
    publish(Bucket(BUCKET, client), small("0"))
    for at in range(1, request_count + 1):
        fault = Fault(at, requests.ConnectionError, after)
        outcome = publish(faulty(storage_url, fault), small(str(at)))
        assert fault.count >= at, "the fault never happened"
        assert (outcome.published, outcome.version) == (True, at + 1)
        assert load_release(Bucket(BUCKET, client).read).files["model.onnx"] == small(str(at)).files["model.onnx"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_publisher_killed_at_any_request_leaves_old_or_new_and_can_be_run_again(
    request_count: int, client: Client, storage_url: str, after: bool
) -> None:
    bucket = Bucket(BUCKET, client)
    publish(bucket, small("0"))
    for at in range(1, request_count + 1):
        old, new = small(str(at - 1)), small(str(at))
        with pytest.raises(KilledError):
            publish(faulty(storage_url, Fault(at, KilledError, after)), new)
        served = load_release(bucket.read, tuple(new.files)).files
        assert dict(served) in (old.files, new.files)
        publish(bucket, new)
        assert dict(load_release(bucket.read, tuple(new.files)).files) == new.files
        assert bucket.read("model.joblib") == new.files["model.joblib"]


def test_an_unknown_outcome_is_said_to_be_unknown(client: Client, storage_url: str) -> None:
    class Broken(HTTPAdapter):
        """Sends the swap, loses its answer, and everything after it."""

        broken = False

        def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
            if self.broken:
                raise requests.ConnectionError("unreachable")
            if request.method == "POST" and b'"current.json"' in (request.body or b""):
                self.broken = True
                super().send(request, *args, **options)
                raise requests.ConnectionError("the answer was lost")
            return super().send(request, *args, **options)

    faulty_client = new_client(storage_url)
    faulty_client._http.mount("http://", Broken())
    with pytest.raises(InconclusiveError, match=r"unknown whether release 1 is live.*run the same command again"):
        publish(Bucket(BUCKET, faulty_client, deadline=1), small("one"))
    assert not publish(Bucket(BUCKET, client), small("one")).published  # it was


def test_what_a_readback_says() -> None:
    mine = Pointer(version=5, manifest="m" * 64, write_id="mine", updated="")

    def pointer(version: int, write_id: str, *earlier: str) -> Pointer:
        history = tuple(Promotion(version - 1 - n, "m", name, "") for n, name in enumerate(earlier))
        return Pointer(version, "m" * 64, write_id, "", history=history)

    assert classify_readback(None, mine) is Readback.NOT_WRITTEN
    assert classify_readback(pointer(4, "old"), mine) is Readback.NOT_WRITTEN
    assert classify_readback(pointer(5, "mine"), mine) is Readback.COMMITTED
    assert classify_readback(pointer(7, "b", "a", "mine"), mine) is Readback.COMMITTED
    assert classify_readback(pointer(5, "other"), mine) is Readback.LOST
    assert classify_readback(pointer(7, "b", "a", "other"), mine) is Readback.LOST
    assert classify_readback(pointer(7, "b", "a"), mine) is Readback.INCONCLUSIVE


def stored(candidate: Candidate, bucket: Bucket, client: Client) -> dict[str, bytes]:
    publish(bucket, candidate)
    return {name: bucket.read(name) for name in objects(client)}


def reader(contents: dict[str, bytes]) -> Read:
    def read(path: str) -> bytes:
        if path not in contents:
            raise ReleaseNotFoundError(f"{path} does not exist")
        return contents[path]

    return read


def test_no_flipped_or_torn_byte_reaches_the_model_loader(
    candidates: Candidates, bucket: Bucket, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = stored(candidates[0], bucket, client)
    onnx = candidates[0].files["model.onnx"]
    loaded = []
    monkeypatch.setattr("ml.core.serving.Model.__init__", lambda self, data, schema, classes: loaded.append(data))
    monkeypatch.setattr("ml.core.serving.Model.prove", lambda self, golden: None)
    digest = read_pointer(bucket.read).manifest
    paths = [blob_path(load_release(bucket.read).manifest["files"]["model.onnx"]["sha256"], "model.onnx")]
    paths += [manifest_path(digest), "current.json"]
    dice = random.Random(1)
    refused = 0
    for _ in range(400):
        path = dice.choice(paths)
        data = bytearray(contents[path])
        if dice.random() < 0.8:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        else:
            del data[dice.randrange(len(data)) :]
        try:
            model_of(load_release(reader({**contents, path: bytes(data)})))
        except ReleaseError:
            refused += 1
            assert path != "model.joblib"
    assert all(data == onnx for data in loaded)
    assert refused > 300  # the rest hit a part of the pointer that only people read


def test_no_changed_byte_of_the_manifest_is_believed(candidates: Candidates, bucket: Bucket, client: Client) -> None:
    contents = stored(candidates[0], bucket, client)
    path = manifest_path(read_pointer(bucket.read).manifest)
    for place in range(0, len(contents[path]), len(contents[path]) // 200 or 1):
        data = bytearray(contents[path])
        data[place] ^= 1  # a digit becomes another: JSON as good as before
        with pytest.raises(ReleaseError, match="has SHA-256"):
            load_release(reader({**contents, path: bytes(data)}))


def test_readers_never_see_a_mixture(candidates: Candidates) -> None:
    """Eight readers, while a publisher goes back and forth between two releases."""
    names: dict[int, str] = {}
    contents: dict[str, bytes] = {}
    for version, candidate in enumerate(candidates, 1):
        store: dict[str, bytes] = {}

        class Memory:
            name = "memory"

            def create(
                self, path: str, data: bytes, kind: str, reuse: float = 0, store: dict[str, bytes] = store
            ) -> int:
                store[path] = data
                return 1

            def read(self, path: str, generation: int | None = None, store: dict[str, bytes] = store) -> bytes:
                return store[path]

        memory: Any = Memory()
        entries = _upload(memory, candidate, "w", lambda message: None)
        names[version] = _write_manifest(memory, candidate, entries, Proof(0, 0, 0))
        contents |= store
    numbers = iter(range(1, 10**6))

    def swap() -> None:
        number = next(numbers)
        which = number % 2 + 1
        contents["current.json"] = Pointer(number, names[which], str(number), f"{number:09}").to_bytes()

    swap()
    live = LiveModel(reader(contents), 0, lambda *a, **k: None, patience=30)
    golden = {names[n]: candidate.facts["golden"] for n, candidate in enumerate(candidates, 1)}
    mixed, stop = [], threading.Event()

    def serve() -> None:
        while not stop.is_set():
            release, model = live.get()
            try:
                model.prove(golden[release.digest])
            except ReleaseError as error:
                mixed.append(error)

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        swap()
        live.get()
    stop.set()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_a_bad_release_leaves_the_last_good_one_serving(candidates: Candidates, bucket: Bucket, client: Client) -> None:
    contents = stored(candidates[0], bucket, client)
    reports = []
    live = LiveModel(
        reader(contents), 0, lambda severity, message, **details: reports.append((severity, details)), patience=30
    )
    assert live.get()[0].version == 1
    good = dict(contents)
    pointer = Pointer.from_bytes(contents["current.json"])
    contents["current.json"] = Pointer(2, "0" * 64, "x", "2999").to_bytes()
    assert live.get()[0].version == 1
    assert "does not exist" in (live.error or "")
    contents["current.json"] = b"garbage"
    assert live.get()[0].version == 1
    contents.clear()
    assert live.get()[0].version == 1
    contents.update(good)
    assert live.get()[0].version == 1
    assert live.error is None
    # a newer version is followed, and after that an old copy of the pointer is not
    contents["current.json"] = Pointer(2, pointer.manifest, "y", "2999").to_bytes()
    assert live.get()[0].version == 2
    contents["current.json"] = good["current.json"]
    assert live.get()[0].version == 2
    assert "went back from version 2 to 1" in (live.error or "")


def test_the_pointer_is_looked_at_as_often_as_asked(candidates: Candidates, bucket: Bucket, client: Client) -> None:
    contents = stored(candidates[0], bucket, client)
    reads, now = [], [0.0]

    def read(path: str) -> bytes:
        reads.append(path)
        return contents[path]

    live = LiveModel(read, 60, lambda *a, **k: None, clock=lambda: now[0], patience=30)
    live.get()
    reads.clear()
    now[0] = 59.9
    live.get()
    assert reads == []
    now[0] = 60
    live.get()
    live.get()
    assert reads == ["current.json"]


def test_a_bucket_url() -> None:
    assert bucket_name("gs://fanops-m4-models") == "fanops-m4-models"
    for wrong in ("fanops", "gs://", "gs://Bad", "gs://bucket/path", "s3://bucket"):
        with pytest.raises(ValueError, match="is not a bucket URL"):
            bucket_name(wrong)


def test_a_missing_bucket_and_a_changed_object_say_what_to_do(client: Client, bucket: Bucket) -> None:
    with pytest.raises(BucketError, match="create the bucket first"):
        Bucket("absent", client, deadline=1).check()
    bucket.create("blobs/x", b"one", "text/plain")
    with pytest.raises(BucketError, match=r"exists with other content .* delete it and publish again"):
        bucket.create("blobs/x", b"two", "text/plain")


def test_a_schema_from_the_future_is_refused() -> None:
    pointer = Pointer(1, "0" * 64, "w", "").to_bytes()
    assert read_pointer(lambda path: pointer).version == 1
    future = pointer.replace(b'"schema": 1', b'"schema": 2')
    with pytest.raises(ReleaseError, match="has schema 2, this code reads 1"):
        read_pointer(lambda path: future)


@pytest.mark.parametrize(("patience", "refusals", "reached"), [(0, 1, False), (60, 4, True), (5, 10**6, False)])
def test_a_refusal_is_waited_out_only_as_long_as_a_grant_may_be_new(
    monkeypatch: pytest.MonkeyPatch, patience: int, refusals: int, reached: bool
) -> None:
    now, asked = [0.0], [0]
    said: list[str] = []
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def list_blobs(*_: object, **__: object) -> list[Any]:
        asked[0] += 1
        if asked[0] <= refusals:
            raise Forbidden("m4-trainer does not have storage.objects.list access")
        return []

    client: Any = SimpleNamespace(bucket=lambda name: SimpleNamespace(client=client), list_blobs=list_blobs)
    bucket = Bucket(BUCKET, client, patience=patience, report=said.append)
    if reached:
        bucket.check()
        assert len(said) == refusals
    else:
        with pytest.raises(BucketError, match=r"storage\.objects\.list access.*A grant can take some minutes"):
            bucket.check()
    assert now[0] <= patience
