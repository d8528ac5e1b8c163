# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function, over HTTP, with a release in a real storage server."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import openapi_spec_validator
import pytest
import requests
from flask.testing import FlaskClient
from google.cloud.storage import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from ml.bucket import Bucket
from ml.core.context import validate
from ml.core.features import encode
from ml.core.schema import DEFAULT
from ml.forest import random_forest
from sponsor_api.answers import validate_columns
from tests.odd_input import hypothesis_cases, schemathesis_cases
from tests.running_function import running_function
from tests.unit.ml.model_fixtures import BUCKET, Candidates, Forests
from tests.unit.ml.model_fixtures import publish_unproven as publish

ZONES, EVENTS = (field.values for field in DEFAULT.choices)

GOAL = {"zone": "VIP", "event": "Goal"}


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return Bucket(BUCKET, client)


@pytest.fixture
def app(start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates) -> FlaskClient:
    """The function with release 1."""
    publish(bucket, candidates[0])
    return start()


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """Return the problem document of a response, which has to be one."""
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def test_a_context_is_answered_as_the_contract_says(app: FlaskClient, forests: Forests) -> None:
    response = app.post("/", json=GOAL)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    answer = response.get_json()
    context = {"match_minute": 0, "score_diff": 0, "temperature": 20.0, "crowd_density": 0.5, **GOAL}
    assert answer["context_used"] == context
    chances = random_forest.probabilities(forests[0], encode(DEFAULT, [validate(DEFAULT, GOAL)]))[0]
    sponsor = DEFAULT.catalogue[DEFAULT.classes[chances.argmax()]]
    assert answer["recommended_sponsor"] == sponsor.name
    assert answer["confidence"] == pytest.approx(chances.max(), abs=1e-5)
    assert (answer["campaign_message"], answer["category"]) == (sponsor.campaign_message, sponsor.category)
    assert response.headers["X-Model-Version"] == "1"
    assert response.headers["X-Model-Manifest"] == answer["release"]["manifest"]
    assert response.headers["Cache-Control"] == "no-store"


def test_a_batch_is_answered_row_by_row(app: FlaskClient) -> None:
    rows = [{"zone": zone, "match_minute": minute} for zone in ZONES for minute in (0, 45, 90)]
    response = app.post("/", json={"instances": rows})
    assert response.status_code == 200
    predictions = response.get_json()["predictions"]
    single = [app.post("/", json=row).get_json() for row in rows]
    assert predictions == [{k: v for k, v in answer.items() if k != "release"} for answer in single]


def test_a_get_tells_the_state(app: FlaskClient) -> None:
    document = app.get("/").get_json()
    assert document["status"] == "serving"
    assert document["release"]["version"] == 1
    assert document["release"]["age_seconds"] >= 0
    assert document["context"]["zone"]["required"] is True
    assert app.head("/").status_code == 200


def test_every_wrong_field_is_named(app: FlaskClient) -> None:
    document = problem(app.post("/?strict=true", json={"zone": "Moon", "match_minute": 200, "crowd": 1}), 400)
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
        (b'{"zone": "VIP", "temperature": NaN}', "not JSON"),
        (b'{"zone": "VIP", "temperature": 1e999}', "not JSON"),
        (b'{"zone": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"zone": "VIP", "match_minute": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"zone": "\\ud800"}', "not JSON"),
        ('{"zone": "Stade d’été"}'.encode(), 'got "Stade d’été"'),
        (b"[]", "must be an object"),
        (b'"VIP"', "must be an object"),
        (b'{"instances": []}', "1 to 10000 match contexts"),
        (b'{"instances": {"zone": "VIP"}}', "1 to 10000 match contexts"),
        (b'{"instances": [], "zone": "VIP"}', "no other, got also zone"),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_is_a_clear_400(app: FlaskClient, body: bytes, detail: str) -> None:
    assert detail in problem(app.post("/", data=body, content_type="application/json"), 400)["detail"]


def test_the_limits(app: FlaskClient) -> None:
    document = problem(app.post("/", json={"instances": [GOAL] * 10_001}), 400)
    assert "at most 10000 match contexts a request, got 10001" in document["detail"]
    huge = b" " * (4 * 2**20 + 1)
    assert "at most 4194304 bytes" in problem(app.post("/", data=huge, content_type="application/json"), 413)["detail"]
    assert len(app.post("/", json={"instances": [GOAL] * 10_000}).get_json()["predictions"]) == 10_000


def test_other_methods_paths_and_types(app: FlaskClient) -> None:
    response = app.put("/", json=GOAL)
    problem(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    problem(app.post("/predict", json=GOAL), 404)
    problem(app.post("/", data="zone=VIP", content_type="application/x-www-form-urlencoded"), 415)
    problem(app.post("/", data=b"x", content_type="application/json", headers={"Content-Encoding": "gzip"}), 415)
    assert app.post("/", data=json.dumps(GOAL)).status_code == 200  # no Content-Type at all


def test_browsers_of_any_origin_by_default(app: FlaskClient) -> None:
    preflight = app.options("/", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    assert app.post("/", json=GOAL).headers["Access-Control-Allow-Origin"] == "*"
    refused = app.post("/", json={}, headers={"Origin": "https://a.example"})
    assert refused.headers["Access-Control-Allow-Origin"] == "*"  # a page must be able to read its mistake


def test_browsers_of_listed_origins_only(
    start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates
) -> None:
    publish(bucket, candidates[0])
    app = start(ALLOWED_ORIGINS="https://stadium.example, https://app.example")
    allowed = app.post("/", json=GOAL, headers={"Origin": "https://app.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert allowed.headers["Vary"] == "Origin"
    other = app.options("/", headers={"Origin": "https://evil.example"})
    assert other.status_code == 204
    assert "Access-Control-Allow-Origin" not in other.headers


def test_without_a_release_it_says_so_and_recovers(
    start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_wrong_configuration_is_named(
    start: Callable[..., FlaskClient], environment: dict[str, str], reason: str
) -> None:
    assert reason in problem(start(**environment).post("/", json=GOAL), 503)["detail"]


def test_a_new_release_is_served_and_a_damaged_one_is_not(
    app: FlaskClient, bucket: Bucket, client: Client, candidates: Candidates
) -> None:
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
def test_no_body_makes_it_fail(app: FlaskClient, body: bytes) -> None:
    response = app.post("/", data=body, content_type="application/json")
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        problem(response, 400)


def test_it_never_imports_what_can_unpickle(deployed: Path) -> None:
    code = (
        "import sys, main; heavy = {'sklearn', 'joblib', 'pandas', 'onnx', 'google.cloud.storage'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=deployed, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_health_says_which_release_and_how_certain_that_is(
    app: FlaskClient, start: Callable[..., FlaskClient], client: Client
) -> None:
    for path in ("/healthz", "/health"):
        document = app.get(path).get_json()
        assert (document["status"], document["release"]["version"]) == ("serving", 1)
        assert document["release"]["age_seconds"] >= 0 and 0 <= document["staleness_seconds"] < 60
        assert document["last_check"].startswith("20")
    for blob in client.list_blobs(BUCKET):
        blob.delete()
    document = app.get("/healthz").get_json()
    assert document["status"] == "serving the last known good release" and "does not exist" in document["reason"]
    empty = start().get("/healthz")
    assert empty.status_code == 503 and empty.headers["Retry-After"] == "5"
    assert empty.get_json()["release"] is None and empty.get_json()["staleness_seconds"] is None


def test_a_monitor_is_told_when_scheduled_runs_stop_coming(
    start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bucket, candidates[0])
    app = start(MODEL_MAX_AGE_SECONDS="604800")
    created = datetime.fromisoformat(app.get("/healthz").get_json()["release"]["created"]).timestamp()
    now = [created + 604_700]
    monkeypatch.setattr("time.time", lambda: now[0])
    assert app.get("/healthz?strict=true").status_code == 200
    assert app.get("/healthz").get_json()["schedule"]["overdue"] is False
    now[0] = created + 604_900
    for path, status in (
        ("/healthz", 200),
        ("/healthz?strict=false", 200),
        ("/healthz?strict=true", 503),
        ("/health?strict=true", 503),
    ):
        answer = app.get(path)
        assert answer.status_code == status and answer.get_json()["schedule"]["overdue"] is True, path
    # A run that found nothing new brings no release, and is up to date all the same.
    ended = datetime.fromtimestamp(created + 604_000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    bucket.mirror("runs/up-to-date.json", json.dumps({"ended": ended}).encode(), "application/json", "run")
    found = app.get("/healthz?strict=true")
    assert found.status_code == 200
    assert found.get_json()["schedule"] == {"max_age_seconds": 604_800, "up_to_date_as_of": ended, "overdue": False}
    now[0] = created + 604_000 + 604_801
    assert app.get("/healthz?strict=true").status_code == 503
    assert "strict must be true or false" in problem(app.get("/healthz?strict=maybe"), 400)["detail"]
    assert (
        start(MODEL_MAX_AGE_SECONDS="0").get("/healthz?strict=true").get_json()["schedule"] is None
    )  # without a schedule nothing is due


def test_the_manifest_can_be_read(app: FlaskClient, bucket: Bucket) -> None:
    response = app.get("/model")
    document = response.get_json()
    assert document["manifest_sha256"] == response.headers["X-Model-Manifest"]
    assert document["manifest"]["classes"] == list(DEFAULT.classes)
    assert document["promotion"]["reason"] == "passed the quality gate" and document["promotion"]["forced"] is False


def test_the_description_is_valid_and_agrees_with_what_is_answered(app: FlaskClient) -> None:
    document = app.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    openapi_spec_validator.validate(document)
    schemas = {"$ref": "", "components": document["components"]}
    for schema, answer in (
        ("Prediction", app.post("/?probabilities=true", json=GOAL)),
        ("Predictions", app.post("/", json={"instances": [GOAL, GOAL]})),
        ("InvalidContext", app.post("/", json={})),
        ("Prediction", app.post("/", json={**GOAL, "zoone": 1})),
        ("Predictions", app.post("/", json={"instances": [{**GOAL, "zoone": 1}]})),
        ("Description", app.get("/schema")),
        ("State", app.get("/healthz")),
        ("Manifest", app.get("/model")),
    ):
        content = answer.get_json(force=True)
        Draft202012Validator({**schemas, "$ref": f"#/components/schemas/{schema}"}).validate(content)


def test_what_the_schema_does_not_know_is_ignored_and_named(app: FlaskClient) -> None:
    plain = app.post("/", json=GOAL).get_json()
    answer = app.post("/", json={**GOAL, "crowd_densty": 0.9, "id": 7, "é": [{}]}).get_json()
    assert answer.pop("ignored") == ["crowd_densty", "id", "é"]
    assert answer.pop("hints") == ["crowd_densty is not a member: did you mean crowd_density?"]
    assert answer == plain  # its default counts
    rows = [{**GOAL, "id": number} for number in range(300)] + [{"zone": "North", "Event": "Goal", "event": None}]
    batch = app.post("/", json={"instances": rows, "parameters": {"top": 3}}).get_json()
    assert batch["ignored"] == ["Event", "id", "parameters"]
    assert batch["hints"] == ["Event is not a member: did you mean event?"]
    assert [row["context_used"] for row in batch["predictions"]][:300] == [plain["context_used"]] * 300
    assert "ignored" not in plain and "ignored" not in batch["predictions"][0]
    many = app.post("/", json={**GOAL, **{f"{number:03}" * 90: 1 for number in range(500)}}).get_json()
    assert len(many["ignored"]) == 20 and max(map(len, many["ignored"])) == 80


def test_a_release_of_another_description_is_answered_by_its_own(
    start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates
) -> None:
    """A message may be edited without a training, so the deployed one counts; all else is the release's."""
    document = json.loads(json.dumps(DEFAULT.document))
    for sponsor in document["sponsors"]:
        sponsor |= {"category": "Kept", "campaign_message": "Of the release."}
    document["fields"][0]["maximum"] = 90
    golden = [row for row in candidates[0].facts["golden"] if row["context"]["match_minute"] <= 90]
    facts = {**candidates[0].facts, "model_schema": document, "golden": golden}
    publish(bucket, type(candidates[0])(candidates[0].files, facts))
    app = start()
    answer = app.post("/", json=GOAL).get_json()
    assert answer["campaign_message"] == DEFAULT.catalogue[answer["recommended_sponsor"]].campaign_message
    assert answer["category"] == "Kept"
    assert "from 0 to 90, got 91" in problem(app.post("/", json={**GOAL, "match_minute": 91}), 400)["detail"]
    assert app.get("/").get_json()["context"]["match_minute"]["allowed"] == "an integer from 0 to 90"
    assert app.get("/schema").get_json()["fields"][0]["maximum"] == 90


def test_strict_refuses_it(app: FlaskClient) -> None:
    refused = problem(app.post("/?strict=true&probabilities=true", json={**GOAL, "crowd_densty": 0.9}), 400)
    assert refused["detail"].startswith("crowd_densty is not a member of a context: send only match_minute, score_diff")
    refused = problem(app.post("/?strict=true", json={"instances": [GOAL, {**GOAL, "id": 1}]}), 400)
    assert [error["field"] for error in refused["errors"]] == ["instances[1].id"]
    detail = problem(app.post("/?strict=true", json={"instances": [GOAL], "parameters": {}}), 400)["detail"]
    assert "no other, got also parameters" in detail
    assert app.post("/?strict=false", json={**GOAL, "id": 1}).get_json()["ignored"] == ["id"]
    assert "true or false" in problem(app.post("/?strict=1", json=GOAL), 400)["detail"]


def test_a_required_member_by_another_name_is_guessed(app: FlaskClient) -> None:
    detail = problem(app.post("/", json={"Zone": "VIP"}), 400)["detail"]
    assert detail == "zone is required: send one of VIP, North, South, East, West; did you mean it by Zone?"
    assert "did you mean" not in problem(app.post("/", json={"colour": "VIP"}), 400)["detail"]


def test_added_time_is_a_minute(app: FlaskClient) -> None:
    assert app.post("/", json={**GOAL, "match_minute": 130}).get_json()["context_used"]["match_minute"] == 130
    assert "from 0 to 130" in problem(app.post("/", json={**GOAL, "match_minute": 131}), 400)["detail"]


def test_head_says_the_length_of_what_get_answers(gunicorn: int) -> None:
    for path in ("/", "/schema", "/openapi.json", "/model"):
        for accept in ("*/*", "text/html"):
            head, get = (
                requests.request(method, f"http://127.0.0.1:{gunicorn}{path}", headers={"Accept": accept}, timeout=60)
                for method in ("HEAD", "GET")
            )
            # how old the release is counts in seconds
            assert head.content == b"" and abs(int(head.headers["Content-Length"]) - len(get.content)) <= 12


def test_browsers_get_a_page_and_programs_the_state(app: FlaskClient) -> None:
    page = app.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.mimetype == "text/html" and page.headers["Vary"] == "Accept"
    assert page.get_data(as_text=True).startswith("<!DOCTYPE html>")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(""", page.get_data(as_text=True))
    assert app.get("/", headers={"Accept": "*/*"}).mimetype == "application/json"


def test_the_probabilities_on_request(app: FlaskClient, forests: Forests) -> None:
    answer = app.post("/?probabilities=true", json=GOAL).get_json()
    chances = random_forest.probabilities(forests[0], encode(DEFAULT, [validate(DEFAULT, GOAL)]))[0]
    assert answer["probabilities"] == pytest.approx(dict(zip(DEFAULT.classes, chances, strict=True)), abs=1e-5)
    assert answer["probabilities"][answer["recommended_sponsor"]] == answer["confidence"]
    assert "probabilities" not in app.post("/?probabilities=false", json=GOAL).get_json()
    assert "got explain" in problem(app.post("/?explain=true", json=GOAL), 400)["detail"]
    assert "true or false" in problem(app.post("/?probabilities=maybe", json=GOAL), 400)["detail"]


def test_french_is_readable_in_the_bytes(app: FlaskClient) -> None:
    rows = [{"zone": zone, "event": event} for zone in ZONES for event in EVENTS]
    text = app.post("/", json={"instances": rows}).get_data(as_text=True)
    assert "\\u" not in text and re.search("[éèàêç’]", text)


def test_every_request_leaves_one_structured_entry(
    start: Callable[..., FlaskClient], bucket: Bucket, candidates: Candidates, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = publish(bucket, candidates[0])
    app = start(GOOGLE_CLOUD_PROJECT="demo")
    app.post("/", json=GOAL, headers={"X-Cloud-Trace-Context": "abc123/7;o=1", "User-Agent": "stadium/1"})
    app.post("/", json={"instances": [GOAL] * 3})
    app.post("/", json={})
    entries = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    loaded, one, batch, refused = entries
    assert loaded["message"] == "release loaded" and loaded["version"] == 1
    assert one["severity"] == "INFO" and one["release"] == {"version": 1, "manifest": outcome.manifest}
    assert one["httpRequest"]["status"] == 200 and one["httpRequest"]["userAgent"] == "stadium/1"
    assert 0 < float(one["httpRequest"]["latency"].removesuffix("s")) < 60 and one["latency_ms"] > 0
    assert one["logging.googleapis.com/trace"] == "projects/demo/traces/abc123"
    assert (batch["rows"], refused["severity"], refused["httpRequest"]["status"]) == (3, "WARNING", 400)


def test_what_the_framework_refuses_has_the_same_form(app: FlaskClient) -> None:
    for path in ("/favicon.ico", "/robots.txt"):
        assert problem(app.get(path), 404)["title"] == "Not Found"
    problem(app.open("/healthz", method="TRACE"), 405)
    assert app.options("/model").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_defect_of_ours_is_a_problem_document_and_an_error_in_the_log(
    app: FlaskClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["sponsor_api.state"], "live", lambda: 1 / 0)
    assert "ZeroDivisionError; see its log" in problem(app.post("/", json=GOAL), 500)["detail"]
    entry = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert entry["severity"] == "ERROR" and "ZeroDivisionError" in entry["stack_trace"]


ROW = st.fixed_dictionaries(
    {"zone": st.sampled_from([*ZONES, "Moon", None])},
    optional={
        "match_minute": st.integers(-1, 131) | st.sampled_from([45.0, 45.5, True, None, "45", 2**63]),
        "score_diff": st.integers(-11, 11),
        "temperature": st.floats(-31, 61) | st.integers(-31, 61) | st.sampled_from([-0.0, None, False]),
        "crowd_density": st.floats(0, 1.01),
        "event": st.sampled_from([*EVENTS, "goal", None, 1, ["Goal"]]),
        "unknown": st.none(),
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROW | st.none() | st.just("VIP"), min_size=1, max_size=4))
def test_columns_and_rows_are_judged_alike(rows: list[Any]) -> None:
    """The fast way through a batch accepts nothing that the careful one refuses, and reads what it accepts alike."""
    for ignored in (None, set[str]()):
        found = validate_columns(DEFAULT, rows, ignored)
        if found is None:
            continue
        contexts, features = found
        named = None if ignored is None else set[str]()
        expected = [validate(DEFAULT, row, "", named) for row in rows]
        assert ignored == named
        assert repr(contexts) == repr(expected)
        np.testing.assert_array_equal(features, encode(DEFAULT, expected))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"zone": st.sampled_from(ZONES)},
            optional={
                "match_minute": st.integers(0, 130) | st.none(),
                "score_diff": st.integers(-10, 10),
                "temperature": st.floats(-30, 60) | st.integers(-30, 60),
                "event": st.sampled_from(EVENTS),
            },
        ),
        min_size=1,
    )
)
def test_usual_rows_take_the_fast_way(rows: list[Any]) -> None:
    assert validate_columns(DEFAULT, rows, None) is not None


@pytest.fixture
def gunicorn(deployed: Path, bucket: Bucket, candidates: Candidates, storage_url: str) -> Iterator[int]:
    """The function as it runs when deployed; yields its port."""
    publish(bucket, candidates[0])
    with running_function(deployed, storage_url, REQUEST_SECONDS="1") as server:
        yield server.port


def test_who_falls_silent_in_a_request_is_cut_off(gunicorn: int) -> None:
    """A thread is held for as long as a sender may be silent, and others are answered meanwhile."""
    begun = time.monotonic()
    slow = []
    for _ in range(3):
        connection = socket.create_connection(("127.0.0.1", gunicorn))
        connection.settimeout(60)
        connection.sendall(
            b'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"zo'
        )
        slow.append(connection)
    assert requests.post(f"http://127.0.0.1:{gunicorn}/", json=GOAL, timeout=60).status_code == 200
    for connection in slow:
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408") and b"application/problem+json" in head
        assert b"nothing was sent for 1" in body
    assert time.monotonic() - begun >= 1
    chunked = requests.post(f"http://127.0.0.1:{gunicorn}/", data=iter([b'{"zone":', b' "VIP"}']), timeout=60)
    assert chunked.status_code == 200
    bomb = gzip.compress(b" " * 2**24)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert requests.post(f"http://127.0.0.1:{gunicorn}/", data=bomb, headers=headers, timeout=60).status_code == 415
    endless = requests.post(f"http://127.0.0.1:{gunicorn}/", data=(b" " * 65536 for _ in range(200)), timeout=60)
    assert endless.status_code == 413


@pytest.mark.timeout(240)
def test_a_sample_of_the_odd_input(gunicorn: int) -> None:
    """`make prove-serving` sends more than twenty thousand."""
    counts = schemathesis_cases(f"http://127.0.0.1:{gunicorn}", 200) + hypothesis_cases(gunicorn, 400)
    assert counts.pop("cases") >= 600
    assert max(counts) < 500
