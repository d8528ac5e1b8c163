# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function, over HTTP, with a release in a real storage server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_fixtures import BUCKET
from model_fixtures import publish_unproven as publish

from ml import forest
from ml.bucket import Bucket
from ml.context import ZONES, validate
from ml.features import encode
from ml.sponsors import CATALOGUE, CLASSES

GOAL = {"zone": "VIP", "event": "Goal"}


@pytest.fixture
def bucket(client) -> Bucket:
    return Bucket(BUCKET, client)


@pytest.fixture
def app(start, bucket, candidates):
    """The function with release 1."""
    publish(bucket, candidates[0])
    return start()


def problem(response, status: int) -> dict:
    """Return the problem document of a response, which has to be one."""
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    document = response.get_json(force=True)
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def test_a_context_is_answered_as_the_contract_says(app, forests):
    response = app.post("/", json=GOAL)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    answer = response.get_json()
    context = {"match_minute": 0, "score_diff": 0, "temperature": 20.0, "crowd_density": 0.5, **GOAL}
    assert answer["context_used"] == context
    chances = forest.probabilities(forests[0], encode([validate(GOAL)]))[0]
    sponsor = CATALOGUE[CLASSES[chances.argmax()]]
    assert answer["recommended_sponsor"] == sponsor.name
    assert answer["confidence"] == pytest.approx(chances.max(), abs=1e-5)
    assert (answer["campaign_message"], answer["category"]) == (sponsor.campaign_message, sponsor.category)
    assert response.headers["X-Model-Version"] == "1"
    assert response.headers["X-Model-Manifest"] == answer["release"]["manifest"]
    assert response.headers["Cache-Control"] == "no-store"


def test_a_batch_is_answered_row_by_row(app):
    rows = [{"zone": zone, "match_minute": minute} for zone in ZONES for minute in (0, 45, 90)]
    response = app.post("/", json={"instances": rows})
    assert response.status_code == 200
    predictions = response.get_json()["predictions"]
    single = [app.post("/", json=row).get_json() for row in rows]
    assert predictions == [{k: v for k, v in answer.items() if k != "release"} for answer in single]


def test_a_get_tells_the_state(app):
    document = app.get("/").get_json()
    assert document["status"] == "serving"
    assert document["release"]["version"] == 1
    assert document["release"]["age_seconds"] >= 0
    assert document["context"]["zone"]["required"] is True
    assert app.head("/").status_code == 200


def test_every_wrong_field_is_named(app):
    document = problem(app.post("/", json={"zone": "Moon", "match_minute": 200, "crowd": 1}), 400)
    assert {error["field"] for error in document["errors"]} == {"zone", "match_minute", "crowd"}
    assert "VIP, North, South, East, West" in document["detail"]
    document = problem(app.post("/", json={"instances": [GOAL, {"event": "Goal"}, 7]}), 400)
    assert [error["field"] for error in document["errors"]] == ["instances[1].zone", "instances[2]"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty"),
        (b"zone=VIP", "not JSON"),
        (b'{"zone": "VIP"', "not JSON"),
        (b'{"zone": "VIP", "temperature": NaN}', "NaN is no JSON number"),
        (b'{"zone": "VIP", "temperature": 1e999}', "temperature must be a number from -30 to 60"),
        (b'{"zone": "\xff"}', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"zone": "VIP", "match_minute": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"zone": "\\ud800"}', "zone must be one of"),
        (b"[]", "must be an object"),
        (b'"VIP"', "must be an object"),
        (b'{"instances": []}', "1 to 10000 match contexts"),
        (b'{"instances": {"zone": "VIP"}}', "1 to 10000 match contexts"),
        (b'{"instances": [], "zone": "VIP"}', "no other, got also zone"),
    ],
    ids=range(14),
)
def test_what_cannot_be_read_is_a_clear_400(app, body, detail):
    assert detail in problem(app.post("/", data=body, content_type="application/json"), 400)["detail"]


def test_the_limits(app):
    document = problem(app.post("/", json={"instances": [GOAL] * 10_001}), 413)
    assert "at most 10000 instances" in document["detail"]
    huge = b" " * (4 * 2**20 + 1)
    assert "at most 4194304 bytes" in problem(app.post("/", data=huge, content_type="application/json"), 413)["detail"]
    assert len(app.post("/", json={"instances": [GOAL] * 10_000}).get_json()["predictions"]) == 10_000


def test_other_methods_paths_and_types(app):
    response = app.put("/", json=GOAL)
    problem(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    problem(app.post("/predict", json=GOAL), 404)
    problem(app.post("/", data="zone=VIP", content_type="application/x-www-form-urlencoded"), 415)
    problem(app.post("/", data=b"x", content_type="application/json", headers={"Content-Encoding": "gzip"}), 415)
    assert app.post("/", data=json.dumps(GOAL)).status_code == 200  # no Content-Type at all


def test_browsers_of_any_origin_by_default(app):
    preflight = app.options("/", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    assert app.post("/", json=GOAL).headers["Access-Control-Allow-Origin"] == "*"
    refused = app.post("/", json={}, headers={"Origin": "https://a.example"})
    assert refused.headers["Access-Control-Allow-Origin"] == "*"  # a page must be able to read its mistake


def test_browsers_of_listed_origins_only(start, bucket, candidates):
    publish(bucket, candidates[0])
    app = start(ALLOWED_ORIGINS="https://stadium.example, https://app.example")
    allowed = app.post("/", json=GOAL, headers={"Origin": "https://app.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert allowed.headers["Vary"] == "Origin"
    other = app.options("/", headers={"Origin": "https://evil.example"})
    assert other.status_code == 204
    assert "Access-Control-Allow-Origin" not in other.headers


def test_without_a_release_it_says_so_and_recovers(start, bucket, candidates, monkeypatch):
    app = start()
    response = app.post("/", json=GOAL)
    document = problem(response, 503)
    assert "no release yet" in document["detail"]
    assert response.headers["Retry-After"] == "5"
    assert app.get("/").get_json()["status"] == "no release"
    problem(app.post("/", json={}), 400)  # the request is judged first
    publish(bucket, candidates[0])
    assert app.post("/", json=GOAL).status_code == 200


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"MODEL_BUCKET": ""}, "MODEL_BUCKET is not set"), ({"MODEL_BUCKET": "absent-bucket"}, "does not exist")],
)
def test_a_wrong_configuration_is_named(start, environment, reason):
    assert reason in problem(start(**environment).post("/", json=GOAL), 503)["detail"]


def test_a_new_release_is_served_and_a_damaged_one_is_not(app, bucket, client, candidates):
    first = app.post("/", json=GOAL).get_json()["release"]
    outcome = publish(bucket, candidates[1])
    second = app.post("/", json=GOAL)
    assert second.get_json()["release"] == {"version": 2, "manifest": outcome.manifest} != first
    # somebody overwrites a file of the next release after it was published
    publish(bucket, candidates[0])
    assert app.get("/").get_json()["release"]["version"] == 3
    publish(bucket, candidates[1])
    for blob in client.list_blobs(BUCKET, prefix="blobs/"):
        if blob.name.endswith("model.onnx"):
            blob.upload_from_string(b"x" + blob.download_as_bytes()[1:])
    response = app.post("/", json=GOAL)
    assert response.status_code == 200
    assert response.headers["X-Model-Version"] == "3"
    information = app.get("/").get_json()
    assert information["status"] == "serving the last known good release"
    assert "is damaged" in information["reason"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["instances", "zone", "event", "match_minute", "temperature"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_body_makes_it_fail(app, body):
    response = app.post("/", data=body, content_type="application/json")
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        problem(response, 400)


def test_it_never_imports_what_can_unpickle(deployed):
    code = (
        "import sys, main; print(sorted({m.split('.')[0] for m in sys.modules} & {'sklearn','joblib','pandas','onnx'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=deployed, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
