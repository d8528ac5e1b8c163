# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on the function while releases come and go: promotions, a corrupt release, no bucket, and repair."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.bucket import Bucket
from ml.core.gate import Proof
from ml.core.releases import Candidate, Pointer, canonical_json, sha256
from ml.publish.publisher import publish
from tests.faulty_storage import Front
from tests.running_function import Server, lay_out, running_function
from tests.unit.ml.model_fixtures import new_client


@dataclass
class Seen:
    """What the callers saw."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    milliseconds: list[float] = field(default_factory=list)


def load(
    front: Front, candidates: Sequence[Candidate], folder: Path, connections: int, promotions: int = 20
) -> dict[str, Any]:
    """Run the whole story under load from ``connections`` callers; return the figures."""
    bucket = Bucket("models", new_client(front.url), timeout=5, deadline=20)
    names: dict[str, Candidate] = {}

    def promote(number: int) -> int:
        candidate = candidates[number % 2]
        facts = {**candidate.facts, "fingerprint": {"fingerprint": f"{connections}-{number}"}}
        done = publish(bucket, Candidate(candidate.files, facts), force=True, prove=lambda files, facts: Proof(0, 0, 0))
        names[done.manifest] = candidate
        return done.version

    promote(0)
    seen, stop = Seen(), threading.Event()
    with running_function(lay_out(folder), front.url, MODEL_REFRESH_SECONDS="0.05", THREADS="16") as server:
        callers = [
            threading.Thread(target=_call, args=(server, candidates, names, seen, stop)) for _ in range(connections)
        ]
        for caller in callers:
            caller.start()
        try:
            for number in range(1, promotions + 1):
                _await(server, promote(number))
            version = _promote_corrupt(bucket, front)
            _until(lambda: _health(server)["reason"], "the corrupt release was never noticed")
            assert _health(server)["release"]["version"] == version - 1
            front.down = True
            _until(lambda: "cannot read" in str(_health(server)["reason"]), "the bucket was never missed")
            time.sleep(1)
            front.down = False
            repaired = time.monotonic()
            _await(server, promote(promotions + 1))
            recovery = time.monotonic() - repaired
        finally:
            front.down = False
            stop.set()
            for caller in callers:
                caller.join()
    ordered = sorted(seen.milliseconds)
    return {
        "connections": connections,
        "requests": seen.requests,
        "failed": seen.failed,
        "mixed": seen.mixed,
        "releases": len(seen.versions),
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "recovery": recovery,
    }


def _call(
    server: Server, candidates: Sequence[Candidate], names: dict[str, Candidate], seen: Seen, stop: threading.Event
) -> None:
    """Ask batches of golden rows, whose answers are known for each release, over and over."""
    rows = [row["context"] for row in candidates[0].facts["golden"]]
    body = json.dumps({"instances": rows})
    expected = {
        id(candidate): candidate.facts["answers"] for candidate in candidates
    }  # sponsor and probability of the winner
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    while not stop.is_set():
        begun = time.perf_counter()
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except OSError as error:
            seen.failed.append(repr(error))
            connection.close()
            continue
        seen.milliseconds.append((time.perf_counter() - begun) * 1000)
        seen.requests += 1
        if answer.status != 200:
            seen.failed.append(f"{answer.status} {content[:200]!r}")
            continue
        document = json.loads(content)
        seen.versions.add(document["release"]["version"])
        candidate = names.get(document["release"]["manifest"])
        for _ in range(200):  # the promotion is known to the callers a moment after it is served
            if candidate is not None:
                break
            time.sleep(0.01)
            candidate = names.get(document["release"]["manifest"])
        found = [(row["recommended_sponsor"], row["confidence"]) for row in document["predictions"]]
        wanted = expected.get(id(candidate), [])
        if len(found) != len(wanted) or any(
            a[0] != b[0] or abs(a[1] - b[1]) > 2e-5 for a, b in zip(found, wanted, strict=True)
        ):
            seen.mixed.append(f"release {document['release']['version']}")


def with_answers(candidate: Candidate, model: Any, rows: Sequence[Any]) -> Candidate:
    """Add to the facts what this model answers to ``rows``."""
    _, probabilities = model.predict(rows)
    answers = [(model.classes[int(row.argmax())], float(row.max())) for row in probabilities]
    return Candidate(candidate.files, {**candidate.facts, "answers": answers})


def _promote_corrupt(bucket: Bucket, front: Front) -> int:
    """Put a release live whose model is not what its manifest says, as nobody who uses publish can."""
    found = bucket.read_versioned("current.json")
    assert found is not None
    live = Pointer.from_bytes(found[0])
    manifest = json.loads(bucket.read(f"manifests/{live.manifest}.json"))
    entry = manifest["files"]["model.onnx"]
    damaged = bytearray(bucket.read(entry["path"]))
    damaged[len(damaged) // 2] ^= 1
    entry["sha256"] = sha256(b"what it should have been")
    bucket.create(f"blobs/sha256/{entry['sha256']}/model.onnx", bytes(damaged), "application/octet-stream")
    data = canonical_json(manifest)
    bucket.create(f"manifests/{sha256(data)}.json", data, "application/json")
    pointer = Pointer(live.version + 1, sha256(data), "corrupt", "2999", fingerprint="x", history=live.promotions())
    bucket.replace("current.json", pointer.to_bytes(), found[1])
    return pointer.version


def _health(server: Server) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def _await(server: Server, version: int) -> None:
    _until(lambda: _health(server)["release"]["version"] >= version, f"release {version} was never served")


def _until(condition: Callable[[], Any], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.02)
