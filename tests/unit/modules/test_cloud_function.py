# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud_function: built only when something changed. cloud_function_call: public and private."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rehearsal.services.functions import records
from rehearsal.services.functions.build import BuildError
from rehearsal.testing.client import Session
from rehearsal.wire.faults import Fault
from tests.unit.modules.conftest import PROJECT, RunModule, act

REGION = "us-central1"
PATH = f"cloudfunctions.googleapis.com/v2/projects/{PROJECT}/locations/{REGION}/functions/sponsor"
KEY = f"{PROJECT}/{REGION}/sponsor"


@pytest.fixture
def options(function_options: dict[str, Any]) -> dict[str, Any]:
    return function_options


def resource(google: Session) -> dict[str, Any]:
    """The function as Google has it."""
    found: dict[str, Any] = act(google, "GET", PATH)
    return found


def change(google: Session, **members: Any) -> None:
    """Let the function be otherwise, without a request; ``serviceConfig`` is merged."""
    record = google.cloud.store.get(records.FUNCTIONS.kind, KEY)
    service = record["resource"]["serviceConfig"] | members.pop("serviceConfig", {})
    record["resource"] |= members | {"serviceConfig": service}
    google.cloud.store.put(records.FUNCTIONS.kind, KEY, record)


def uploads(google: Session) -> list[bytes]:
    """The archives that were uploaded."""
    return [sent.body for sent in google.calls if sent.verb == "PUT"]


class Response:
    """As much of ``requests.Response`` as the module looks at."""

    def __init__(self, status_code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.status_code, self.content, self.headers = status_code, content, headers or {}
        self.text = content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def test_function_is_planned_built_and_left_alone(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    planned = run("cloud_function", check=True, **options)
    assert planned["actions"] == [f"create function sponsor in {REGION}", "open to everybody"]
    assert planned["function"]["url"] == f"https://{REGION}-{PROJECT}.cloudfunctions.net/sponsor"
    assert google.mutations == [] and uploads(google) == []
    created = run("cloud_function", **options)
    assert created["actions"] == planned["actions"] and created["diff"] == planned["diff"]
    assert created["function"]["labels"]["content-hash"] == created["content_hash"][:40]
    assert zipfile.ZipFile(io.BytesIO(uploads(google)[0])).namelist() == ["main.py", "requirements.txt"]
    google.forget()
    again = run("cloud_function", **options)
    assert not again["changed"] and google.mutations == [] and len(google.calls) == 2


def test_changed_source_is_deployed(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    Path(options["source"][0]["src"], "main.py").write_text("def answer(request): return {'a': 1}")
    planned = run("cloud_function", check=True, **options)
    assert planned["actions"] == [f"deploy function sponsor in {REGION}"] and list(planned["diff"]["after"]) == [
        "content_hash"
    ]
    assert len(uploads(google)) == 1
    assert run("cloud_function", **options)["changed"]
    mask = next(sent.params["updateMask"] for sent in google.calls if sent.verb == "PATCH")
    assert "buildConfig.source" in mask and "serviceConfig.availableMemory" in mask
    assert len(uploads(google)) == 2


def test_setting_changed_by_hand_is_corrected(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    environment = {"MODEL_BUCKET": "models", "OTHER": "kept"}
    change(google, serviceConfig={"availableMemory": "1G", "environmentVariables": environment})
    result = run("cloud_function", **options)
    assert result["diff"] == {"before": {"memory": "1G"}, "after": {"memory": "512M"}}
    shape = {"cpu": "1", "concurrency": 40}
    shaped = run("cloud_function", **options, **shape)
    assert shaped["diff"]["before"].items() >= {"cpu": "0.3333", "concurrency": 1}.items()
    assert shaped["diff"]["after"].items() >= shape.items()
    assert not run("cloud_function", **options, **shape)["changed"]
    own = {"LOG_EXECUTION_ID": "true"}
    assert result["function"]["serviceConfig"]["environmentVariables"] == environment | own


def test_same_memory_in_another_spelling_is_no_difference(
    run: RunModule, google: Session, options: dict[str, Any]
) -> None:
    run("cloud_function", **{**options, "memory": "1Gi"})
    change(google, serviceConfig={"availableMemory": "1024Mi"})
    assert not run("cloud_function", **{**options, "memory": "1Gi"})["changed"]


def test_public_access_is_given_and_taken(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    result = run("cloud_function", **{**options, "public": False})
    assert result["actions"] == ["close to the public"]
    assert result["diff"] == {"before": {"public": True}, "after": {"public": False}}
    assert not run("cloud_function", **{**options, "public": False})["changed"]
    assert len(uploads(google)) == 1


def test_failed_function_is_deployed_again(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    change(google, state="FAILED")
    assert run("cloud_function", **options)["function"]["state"] == "ACTIVE"


def test_build_failure_shows_the_log(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    build = google.cloud.containers
    build.build_code, build.build_output = 1, ("Step 1", "ERROR: no matching distribution for nonsense")
    result = run("cloud_function", **options)
    assert "no matching distribution for nonsense" in result["msg"]
    assert result["failure"]["reason"] == "buildFailed"


def test_build_failure_that_only_points_to_its_log_is_looked_up(
    run: RunModule, google: Session, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cloud: Any, name: Any, runtime: str, digest: str, say: Callable[[str], None]) -> None:
        say("ERROR: no matching distribution for nonsense")
        raise BuildError("see the log")

    monkeypatch.setattr("rehearsal.services.functions.build.build", fail)
    assert "no matching distribution for nonsense" in run("cloud_function", **options)["msg"]
    assert "logging.entries.list" in {entry.method for entry in google.cloud.log.entries()}


def test_deployment_under_way_is_waited_for(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    google.before("PATCH", lambda: change(google, state="DEPLOYING"))
    google.clock.at(12, lambda: change(google, state="ACTIVE"))
    assert run("cloud_function", **{**options, "memory": "1G"})["changed"] and google.clock.now >= 12


def test_create_whose_answer_got_lost_is_waited_for(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    google.cloud.faults.plan(Fault("cloudfunctions.projects.locations.functions.create", "drop"))
    result = run("cloud_function", **options)
    assert result["function"]["state"] == "ACTIVE" and len(uploads(google)) == 1
    assert not google.cloud.faults.unfired()


def test_create_whose_answer_got_lost_and_that_failed_says_why(
    run: RunModule, google: Session, options: dict[str, Any]
) -> None:
    google.cloud.faults.plan(Fault("cloudfunctions.projects.locations.functions.create", "drop"))
    google.cloud.containers.build_code, google.cloud.containers.build_output = 1, ("no memory left",)
    message = run("cloud_function", **options)["msg"]
    assert f"create function sponsor in {REGION}: its state is FAILED (" in message
    assert "no memory left" in message and message.endswith("Run again.")


@pytest.mark.parametrize(("then", "changed"), [("ACTIVE", False), (None, True)])
def test_what_somebody_else_began_is_waited_for(
    run: RunModule, google: Session, options: dict[str, Any], then: str | None, changed: bool
) -> None:
    run("cloud_function", **options)
    change(google, state="DEPLOYING" if then else "DELETING")
    began = google.clock.now

    def end() -> None:
        if then:
            change(google, state=then)
        else:
            google.cloud.store.delete(records.FUNCTIONS.kind, KEY)

    google.clock.at(3, end)
    assert run("cloud_function", **options)["changed"] is changed
    assert google.clock.now >= began + 3


def test_reported_error_counts_as_failed(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    change(google, stateMessages=[{"severity": "ERROR", "message": "the last update failed"}])
    planned = run("cloud_function", check=True, **options)
    assert planned["diff"] == {"before": {"state": "FAILED"}, "after": {"state": "ACTIVE"}}


def test_missing_source_is_one_clear_line(run: RunModule, google: Session, options: dict[str, Any]) -> None:
    result = run("cloud_function", **{**options, "source": [{"src": "/no/such/folder"}]})
    assert "source /no/such/folder does not exist" in result["msg"] and google.calls == []


def test_absent_deletes_once(run: RunModule, options: dict[str, Any]) -> None:
    run("cloud_function", **options)
    assert run("cloud_function", name="sponsor", region=REGION, state="absent")["changed"]
    assert not run("cloud_function", name="sponsor", region=REGION, state="absent")["changed"]


@pytest.fixture
def served(
    run: RunModule, monkeypatch: pytest.MonkeyPatch, google: Session, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """A deployed private function; returns the requests it got."""
    from ansible.module_utils.fanops.api import credentials

    run("cloud_function", **{**options, "public": False})
    requests: list[dict[str, Any]] = []

    def post(url: str, **request: Any) -> Response:
        requests.append({"url": url, **request})
        if not request["headers"]:
            return Response(403, b"<html>Forbidden</html>")
        return Response(200, b'{"recommended_sponsor": "Visa"}')

    monkeypatch.setattr("ansible.module_utils.fanops.resources.function_call.requests.post", post)
    monkeypatch.setattr(credentials, "id_token", lambda *args, audience, project: f"token for {audience}")
    return requests


def test_private_function_is_asked_with_an_id_token(run: RunModule, served: list[dict[str, Any]]) -> None:
    result = run("cloud_function_call", name="sponsor", region=REGION, body={"zone": "VIP"})
    assert result["response"] == {"recommended_sponsor": "Visa"} and result["status"] == 200
    assert result["authenticated"] and served[1]["headers"]["Authorization"].endswith(served[1]["url"])
    assert served[1]["url"].startswith("https://sponsor-") and served[1]["url"].endswith(".run.app")
    assert served[1]["json"] == {"zone": "VIP"}


def test_missing_function_is_an_error_but_not_a_plans(run: RunModule) -> None:
    assert "Deploy it first" in run("cloud_function_call", name="sponsor", region=REGION)["msg"]
    assert run("cloud_function_call", check=True, name="sponsor", region=REGION)["status"] is None


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
    result = run("cloud_function_call", name="sponsor", region=REGION, patience=patience)
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
