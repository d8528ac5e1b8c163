# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway refuses what Google refuses, records everything, and carries out planned faults."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rehearsal.wire.calls import REGISTRY, SIGNED_IN, Call, method
from rehearsal.wire.faults import Fault
from rehearsal.wire.gateway import LOSE_HEADER
from rehearsal.wire.request_log import Entry, RequestLog

PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"


def last(control_plane: Any) -> Any:
    return list(control_plane.log.entries())[-1]


def test_a_call_without_credentials_is_refused_with_401(ask: Any) -> None:
    answer = ask("GET", PROJECT, headers={})
    assert answer.status_code == 401
    assert answer.get_json()["error"]["status"] == "UNAUTHENTICATED"


def test_a_method_nobody_wrote_answers_405_naming_it_and_is_counted(ask: Any, control_plane: Any) -> None:
    answer = ask("POST", f"{PROJECT}:undelete")
    assert answer.status_code == 405
    assert "cloudresourcemanager.projects.undelete" in answer.get_json()["error"]["message"]
    assert (last(control_plane).status, last(control_plane).method) == (405, "cloudresourcemanager.projects.undelete")


def test_an_unknown_field_is_refused_before_the_handler_runs(ask: Any, control_plane: Any) -> None:
    body = json.dumps({"accountId": "abcdef", "serviceAccount": {"displayNam": "x"}}).encode()
    answer = ask("POST", "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts", body)
    assert answer.status_code == 400
    assert (
        "Unknown name \"displayNam\" at 'serviceAccount': Cannot find field." in answer.get_json()["error"]["message"]
    )
    assert last(control_plane).violations.startswith("request:")


@pytest.mark.parametrize(("query", "status"), [("true", 200), ("True", 200), ("FALSE", 200), ("None", 400), ("1", 400)])
def test_a_boolean_is_one_in_any_case_and_nothing_else_is(ask: Any, query: str, status: int) -> None:
    # gcloud sends True; google.cloud's modules send None for what was not given.
    roles = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/roles"
    answer = ask("GET", f"{roles}?showDeleted={query}")
    assert answer.status_code == status
    if status == 400:
        assert answer.get_json()["error"]["message"] == f"Invalid value '{query}' for parameter 'showDeleted'."


def test_an_answer_outside_the_schema_is_recorded(
    ask: Any, control_plane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = REGISTRY.methods["cloudresourcemanager.projects.get"]
    monkeypatch.delitem(REGISTRY.methods, "cloudresourcemanager.projects.get")

    @method("cloudresourcemanager.projects.get", permission=SIGNED_IN)
    def wrong(call: Call) -> dict[str, Any]:
        return {"projectNumber": True, "colour": "green"}

    assert ask("GET", PROJECT).status_code == 200
    assert "projectNumber" in last(control_plane).violations and "colour" in last(control_plane).violations
    monkeypatch.setitem(REGISTRY.methods, "cloudresourcemanager.projects.get", known)


def test_the_log_tells_mutating_calls_from_reads_and_keeps_no_secret(ask: Any, control_plane: Any) -> None:
    ask("GET", PROJECT)
    assert not last(control_plane).mutating
    ask("POST", f"{PROJECT}:getIamPolicy", b"{}")
    assert not last(control_plane).mutating
    body = json.dumps({"accountId": "trainer-1", "serviceAccount": {"displayName": "T"}}).encode()
    ask("POST", "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts", body)
    assert last(control_plane).mutating
    assert last(control_plane).principal == control_plane.identity.owner
    ask("POST", "https://oauth2.googleapis.com/token", json.dumps({"assertion": "canary"}).encode())
    assert not any("canary" in entry.body for entry in control_plane.log.entries())


def test_a_planned_fault_meets_exactly_the_call_it_was_planned_for(ask: Any, control_plane: Any) -> None:
    control_plane.faults.plan(Fault("cloudresourcemanager.projects.get", "503", nth=2))
    assert [ask("GET", PROJECT).status_code for _ in range(3)] == [200, 503, 200]
    assert control_plane.faults.unfired() == []


def test_a_dropped_answer_is_lost_after_the_call_was_handled(ask: Any, control_plane: Any) -> None:
    control_plane.faults.plan(Fault("iam.projects.serviceAccounts.create", "drop"))
    body = json.dumps({"accountId": "trainer-2"}).encode()
    answer = ask("POST", "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts", body)
    assert answer.headers[LOSE_HEADER] == "answer"
    assert control_plane.identity.accounts.find("trainer-2@fanops-rehearsal.iam.gserviceaccount.com") is not None


def test_a_dropped_request_never_reaches_its_handler(ask: Any, control_plane: Any) -> None:
    control_plane.faults.plan(Fault("iam.projects.serviceAccounts.create", "drop-request"))
    body = json.dumps({"accountId": "trainer-3"}).encode()
    answer = ask("POST", "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts", body)
    assert answer.headers[LOSE_HEADER] == "request"
    assert control_plane.identity.accounts.find("trainer-3@fanops-rehearsal.iam.gserviceaccount.com") is None


def test_a_fault_that_never_fired_is_reported(control_plane: Any) -> None:
    control_plane.faults.plan(Fault("compute.instances.stop", "503"))
    assert [fault.method for _, fault in control_plane.faults.unfired()] == ["compute.instances.stop"]


def test_a_log_that_an_earlier_version_began_goes_on(tmp_path: Path) -> None:
    columns = ", ".join(name for name in RequestLog.COLUMNS if name != "sent")
    with closing(sqlite3.connect(tmp_path / "requests.sqlite")) as old, old:
        old.execute(f"CREATE TABLE requests (number INTEGER PRIMARY KEY, {columns})")
        old.execute(f"INSERT INTO requests ({columns}) VALUES ({', '.join('0' for _ in columns.split(', '))})")
    for _ in range(2):
        log = RequestLog(tmp_path / "requests.sqlite")
        log.append(Entry(1.0, "storage.objects.get", "GET", "storage.googleapis.com", "/", 200, sent=5))
        log.close()
    log = RequestLog(tmp_path / "requests.sqlite")
    assert [entry.sent for entry in log.entries()] == [0, 5, 5]
    log.close()
