# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that is never down and never wrong: under load, under odd input, and against the forest itself."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from sklearn.ensemble import RandomForestClassifier

from ml.bucket import Bucket
from ml.core.features import context_at, encode_arrays
from ml.core.schema import DEFAULT
from ml.core.serving import Model
from ml.data import synthetic
from ml.forest.random_forest import probabilities
from tests.faulty_storage import Front, faulty_storage
from tests.odd_input import hypothesis_cases, schemathesis_cases
from tests.prove.figures import record, table
from tests.publish_sweep import BUCKET
from tests.running_function import Server, lay_out, running_function
from tests.serving_load import load, with_answers
from tests.unit.ml.model_fixtures import as_candidate, grown, new_client, publish_unproven

pytestmark = pytest.mark.timeout(3600)
COMMAND = "make prove-serving"


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return grown(10_000, seed=42)


@pytest.fixture
def front() -> Iterator[Front]:
    with faulty_storage() as found:
        new_client(found.url).create_bucket(BUCKET)
        yield found


@pytest.fixture
def function(front: Front, forest: RandomForestClassifier, tmp_path: Path) -> Iterator[Server]:
    publish_unproven(Bucket(BUCKET, new_client(front.url)), as_candidate(forest, "proof"))
    with running_function(lay_out(tmp_path), front.url) as server:
        yield server


def test_promotions_and_faults_under_load_fail_no_request(
    front: Front, forest: RandomForestClassifier, tmp_path: Path
) -> None:
    candidates = [as_candidate(forest, "a"), as_candidate(grown(5_000, seed=2), "b")]
    rows = [row["context"] for row in candidates[0].facts["golden"]]
    candidates = [
        with_answers(one, Model(one.files["model.onnx"], DEFAULT, DEFAULT.classes), rows) for one in candidates
    ]
    found = [load(front, candidates, tmp_path / str(c), c) for c in (8, 32)]
    record(
        "Promotions and faults under load",
        COMMAND,
        table(
            ["connections", "requests", "failed", "answered by two releases", "releases seen", "p50 ms", "p99 ms", "recovered in s"],
            [[f["connections"], f["requests"], len(f["failed"]), len(f["mixed"]), f["releases"], f"{f['p50']:.1f}",
              f"{f['p99']:.1f}", f"{f['recovery']:.2f}"] for f in found],
        )
        + "\n\n20 promotions, a release whose model is damaged, a bucket that cannot be reached, and its repair, while batches "
        "are asked for without a pause. Each batch is compared with what the release that it names answers.",
    )  # fmt: skip
    for figures in found:
        assert figures["failed"] == [] and figures["mixed"] == []
        assert figures["releases"] == 22  # the first, twenty promotions, the repair; never the corrupt one


def test_forest_onnx_and_http_agree(function: Server, forest: RandomForestClassifier) -> None:
    rows = 10_000
    arrays = synthetic.draw_contexts(DEFAULT, rows, np.random.default_rng(99)).arrays
    features = encode_arrays(DEFAULT, arrays)
    truth = probabilities(forest, features)
    model = Model(as_candidate(forest, "x").files["model.onnx"], DEFAULT, DEFAULT.classes)
    onnx = model.probabilities(features)
    body = json.dumps({"instances": [context_at(DEFAULT, arrays, row) for row in range(rows)]})
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=60)
    connection.request("POST", "/?probabilities=true", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    predictions = json.loads(answer.read())["predictions"]
    served = np.array([list(row["probabilities"].values()) for row in predictions])
    named = [row["recommended_sponsor"] for row in predictions]
    winners = truth.argmax(axis=1)
    flips = {
        "onnx": int((onnx.argmax(axis=1) != winners).sum()),
        "http": sum(name != DEFAULT.classes[winner] for name, winner in zip(named, winners, strict=True)),
    }
    record(
        "Forest, ONNX and HTTP agree",
        COMMAND,
        f"{rows:,} random contexts: label flips {flips['onnx']} (ONNX) and {flips['http']} (HTTP); the largest difference of a "
        f"probability is {np.abs(onnx - truth).max():.1e} (ONNX) and {np.abs(served - truth).max():.1e} (HTTP, told in millionths).",
    )
    assert answer.status == 200
    assert flips == {"onnx": 0, "http": 0}


def test_no_input_makes_it_fail(function: Server) -> None:
    begun = time.monotonic()
    counts, odd = schemathesis_cases(function.url, 8_000), hypothesis_cases(function.port, 12_000)
    total, statuses = counts.pop("cases") + odd.pop("cases"), counts + odd
    failures = sum(number for status, number in statuses.items() if status >= 500)
    record(
        "Odd input",
        COMMAND,
        f"{total:,} cases in {time.monotonic() - begun:.0f} s: {sum(counts.values()):,} of Schemathesis {schemathesis.__version__} "
        f"(all its checks, valid and invalid data) and {sum(odd.values()):,} of Hypothesis (broken, deep, huge and wrong JSON, odd "
        "headers, methods and paths). Answers by status: "
        + ", ".join(f"{status}: {number:,}" for status, number in sorted(statuses.items()))
        + f". 5xx: {failures}, non-conforming: 0.",
    )
    assert total >= 20_000 and failures == 0
