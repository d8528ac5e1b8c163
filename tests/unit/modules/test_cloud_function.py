# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud_function: built only when something changed. cloud_function_call: public and private."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.modules.fake_google import ApiError, FakeGoogle, Response, RunModule

PATH = "cloudfunctions.googleapis.com/v2/projects/demo/locations/r/functions/ask"


def test_function_is_planned_built_and_left_alone(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    planned = run("cloud_function", check=True, **options)
    assert planned["actions"] == ["create function ask in r", "open to everybody"]
    assert planned["function"]["url"] == "https://r-demo.cloudfunctions.net/ask"
    assert google.mutations == [] and google.uploads == []
    created = run("cloud_function", **options)
    assert created["actions"] == planned["actions"] and created["diff"] == planned["diff"]
    assert created["function"]["labels"]["content-hash"] == created["content_hash"][:40]
    assert zipfile.ZipFile(io.BytesIO(google.uploads[0])).namelist() == ["main.py", "requirements.txt"]
    google.calls.clear()
    again = run("cloud_function", **options)
    assert not again["changed"] and google.mutations == [] and len(google.calls) == 2


def test_changed_source_is_deployed(
    run: RunModule, google: FakeGoogle, options: dict[str, Any], tmp_path: Path
) -> None:
    run("cloud_function", **options)
    (tmp_path / "main.py").write_text("def answer(request): return {'a': 1}")
    planned = run("cloud_function", check=True, **options)
    assert planned["actions"] == ["deploy function ask in r"] and list(planned["diff"]["after"]) == ["content_hash"]
    assert len(google.uploads) == 1
    assert run("cloud_function", **options)["changed"]
    mask = next(params["updateMask"] for verb, _url, params, _body in google.calls if verb == "PATCH")
    assert "buildConfig.source" in mask and "serviceConfig.availableMemory" in mask
    assert len(google.uploads) == 2


def test_setting_changed_by_hand_is_corrected(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    google.resources[PATH]["serviceConfig"]["availableMemory"] = "1G"
    google.resources[PATH]["serviceConfig"]["environmentVariables"]["OTHER"] = "kept"
    result = run("cloud_function", **options)
    assert result["diff"] == {"before": {"memory": "1G"}, "after": {"memory": "512M"}}
    assert result["function"]["serviceConfig"]["environmentVariables"] == {"MODEL_BUCKET": "models", "OTHER": "kept"}


def test_same_memory_in_another_spelling_is_no_difference(
    run: RunModule, google: FakeGoogle, options: dict[str, Any]
) -> None:
    run("cloud_function", **{**options, "memory": "1Gi"})
    google.resources[PATH]["serviceConfig"]["availableMemory"] = "1024Mi"
    assert not run("cloud_function", **{**options, "memory": "1Gi"})["changed"]


def test_public_access_is_given_and_taken(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    result = run("cloud_function", **{**options, "public": False})
    assert result["actions"] == ["close to the public"]
    assert result["diff"] == {"before": {"public": True}, "after": {"public": False}}
    assert not run("cloud_function", **{**options, "public": False})["changed"]
    assert len(google.uploads) == 1


def test_failed_function_is_deployed_again(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    google.resources[PATH]["state"] = "FAILED"
    assert run("cloud_function", **options)["function"]["state"] == "ACTIVE"


def test_build_failure_shows_the_log(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    google.build_error = {"code": 3, "message": "Build failed\nStep 1\nERROR: no matching distribution for nonsense"}
    result = run("cloud_function", **options)
    assert "no matching distribution for nonsense" in result["msg"]
    assert result["failure"]["reason"] == "buildFailed"
    google.build_error = {
        "code": 3,
        "message": "Build failed with status: FAILURE. See https://console.cloud.google.com/x/1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    }
    google.calls.clear()
    assert "no matching distribution for nonsense" in run("cloud_function", **options)["msg"]


def test_deployment_under_way_is_waited_for(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    busy = ApiError(409, "unable to queue the operation", "aborted", status="ABORTED")
    google.fail("PATCH", busy, times=3)
    assert run("cloud_function", **{**options, "memory": "1G"})["changed"]


def test_create_whose_answer_got_lost_is_waited_for(
    run: RunModule, google: FakeGoogle, options: dict[str, Any]
) -> None:
    google.lose_answer(r"POST .*/functions$")
    result = run("cloud_function", **options)
    assert result["function"]["state"] == "ACTIVE" and len(google.uploads) == 1


def test_create_whose_answer_got_lost_and_that_failed_says_why(
    run: RunModule, google: FakeGoogle, options: dict[str, Any]
) -> None:
    google.lose_answer(r"POST .*/functions$")

    def fail() -> None:
        if PATH in google.resources:
            google.resources[PATH] |= {"state": "FAILED", "stateMessages": [{"message": "no memory left"}]}

    google.meanwhile = fail
    message = run("cloud_function", **options)["msg"]
    assert "create function ask in r: its state is FAILED (no memory left). Run again." in message


@pytest.mark.parametrize(("then", "changed"), [("ACTIVE", False), (None, True)])
def test_what_somebody_else_began_is_waited_for(
    run: RunModule, google: FakeGoogle, options: dict[str, Any], then: str | None, changed: bool
) -> None:
    run("cloud_function", **options)
    google.resources[PATH]["state"] = "DEPLOYING" if then else "DELETING"

    def end() -> None:
        google.meanwhile = lambda: None
        if then:
            google.resources[PATH]["state"] = then
        else:
            del google.resources[PATH]

    google.meanwhile = end
    assert run("cloud_function", **options)["changed"] is changed
    assert google.now >= 3


def test_reported_error_counts_as_failed(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    google.resources[PATH]["stateMessages"] = [{"severity": "ERROR", "message": "the last update failed"}]
    planned = run("cloud_function", check=True, **options)
    assert planned["diff"] == {"before": {"state": "FAILED"}, "after": {"state": "ACTIVE"}}


def test_missing_source_is_one_clear_line(run: RunModule, google: FakeGoogle, options: dict[str, Any]) -> None:
    result = run("cloud_function", **{**options, "source": [{"src": "/no/such/folder"}]})
    assert "source /no/such/folder does not exist" in result["msg"] and google.calls == []


def test_absent_deletes_once(run: RunModule, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    assert run("cloud_function", name="ask", region="r", state="absent")["changed"]
    assert not run("cloud_function", name="ask", region="r", state="absent")["changed"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, google: FakeGoogle) -> list[dict[str, Any]]:
    """A deployed private function; returns the requests it got."""
    from ansible.module_utils.fanops.api import credentials

    google.resources[PATH] = {"state": "ACTIVE", "serviceConfig": {"uri": "https://ask-x.a.run.app"}}
    requests: list[dict[str, Any]] = []

    def post(url: str, **request: Any) -> Response:
        requests.append({"url": url, **request})
        if not request["headers"]:
            return Response(403, b"<html>Forbidden</html>")
        return Response(200, b'{"recommended_sponsor": "Visa"}')

    monkeypatch.setattr("ansible.module_utils.fanops.resources.function_call.requests.post", post)
    monkeypatch.setattr(credentials, "id_token", lambda *args, audience: f"token for {audience}")
    return requests


def test_private_function_is_asked_with_an_id_token(run: RunModule, served: list[dict[str, Any]]) -> None:
    result = run("cloud_function_call", name="ask", region="r", body={"zone": "VIP"})
    assert result["response"] == {"recommended_sponsor": "Visa"} and result["status"] == 200
    assert result["authenticated"] and served[1]["headers"]["Authorization"].endswith("https://ask-x.a.run.app")
    assert served[1]["json"] == {"zone": "VIP"}


def test_missing_function_is_an_error_but_not_a_plans(run: RunModule) -> None:
    assert "Deploy it first" in run("cloud_function_call", name="ask", region="r")["msg"]
    assert run("cloud_function_call", check=True, name="ask", region="r")["status"] is None


@pytest.mark.parametrize(
    ("patience", "kind", "fails", "seconds"),
    [
        (30, "application/problem+json", False, 30),
        (4, "application/problem+json", True, 6),
        (4, "text/html", False, 30),
    ],
    ids=["waits for a grant to count", "a lasting denial ends soon", "an instance that starts has its own time"],
)
def test_a_function_that_cannot_serve_yet_is_asked_again_for_a_while(
    run: RunModule, served: Any, monkeypatch: pytest.MonkeyPatch, patience: int, kind: str, fails: bool, seconds: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "ansible.module_utils.fanops.resources.function_call.time.sleep",
        lambda pause: now.__setitem__(0, now[0] + pause),
    )
    monkeypatch.setattr("ansible.module_utils.fanops.resources.function_call.time.monotonic", lambda: now[0])

    def post(url: str, **_: Any) -> Response:
        if now[0] < 20:
            return Response(503, b'{"detail": "no model can be served yet: permission denied"}', {"Content-Type": kind})
        return Response(200, b'{"recommended_sponsor": "Visa"}')

    monkeypatch.setattr("ansible.module_utils.fanops.resources.function_call.requests.post", post)
    result = run("cloud_function_call", name="ask", region="r", patience=patience)
    assert bool(result.get("failed")) == fails and now[0] <= seconds
    assert not fails or "permission denied" in result["msg"]


@pytest.mark.parametrize(
    ("message", "log", "told"),
    [
        ("Build failed with status: FAILURE and message: missing main.py", ["unpacked 1 files"], "missing main.py"),
        (
            "Build failed with status: FAILURE and message: failed",
            ["ERROR: No matching distribution", "x"],
            "ERROR: No matching",
        ),
        ("Build failed: see https://console.cloud.google.com/x", ["step 1", "step 2"], "step 2"),
    ],
    ids=["Google's message", "the log's error", "the log's last line"],
)
def test_the_line_that_tells_why_a_build_failed(message: str, log: list[str], told: str) -> None:
    from ansible.module_utils.fanops.resources.build_failure import telling_line

    assert telling_line([message, *log]).startswith(told)
