# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `rehearsal`, on what a control plane without guests has been asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rehearsal import cli
from rehearsal.testing import free_port
from rehearsal.wire.calls import REGISTRY
from rehearsal.wire.trust import ensure_authority

PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"
ACCOUNTS = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts"


@pytest.fixture
def rehearsal(
    control_plane: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run one command on the control plane's state; returns its exit code and what it printed."""
    monkeypatch.setattr(cli, "load", lambda: control_plane.settings)

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_the_log_is_filtered_and_shows_where_something_was_wrong(ask: Any, rehearsal: Any) -> None:
    ask("GET", PROJECT)
    ask("POST", ACCOUNTS, b'{"accountId": "m4-trainer"}')
    mark = rehearsal("log", "--mark")[1].strip()
    ask("POST", ACCOUNTS, b'{"accountIdd": "x"}')
    assert rehearsal("log", "--method", "iam.*", "--mutating", "--status", "200")[1].count("\n") == 1
    code, shown = rehearsal("log", "--after", mark, "--bodies")
    assert code == 0 and "iam.projects.serviceAccounts.create" in shown
    assert "POST iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts" in shown
    assert "outside the schema: request:" in shown and '"accountIdd"' in shown
    entries = [json.loads(line) for line in rehearsal("log", "--violations", "--output", "json")[1].splitlines()]
    assert [entry["status"] for entry in entries] == [400]
    assert rehearsal("log", "--since", "0.000001")[1] == ""


def test_a_fault_is_planned_met_and_missed(ask: Any, rehearsal: Any) -> None:
    assert (
        "no method is called 'compute.instance.insert'"
        in rehearsal("fault", "add", "compute.instance.insert", "503")[1]
    )
    assert rehearsal("fault", "add", "cloudresourcemanager.projects.get", "503", "--nth", "2")[0] == 0
    assert rehearsal("fault", "add", "iam.*", "slow", "--seconds", "0.1")[1].startswith(
        "planned as number 2: iam.* slow 0.1 s"
    )
    assert [ask("GET", PROJECT).status_code for _ in range(3)] == [200, 503, 200]
    assert "planned fault: 503" in rehearsal("log", "--status", "503")[1]
    assert "matched 3, fired 1" in rehearsal("fault", "list")[1]
    code, said = rehearsal("fault", "check")
    assert code == 1 and "planned fault never fired: iam.* slow" in said
    assert rehearsal("fault", "clear") == (0, "2 plans forgotten\n")
    assert rehearsal("fault", "check") == (0, "")


def test_the_status_counts_what_google_would_not_have_answered(ask: Any, rehearsal: Any) -> None:
    ask("POST", f"{PROJECT}:undelete")
    ask("POST", ACCOUNTS, b'{"accountIdd": "x"}')
    rehearsal("fault", "add", "iam.*", "503")
    code, shown = rehearsal("status")
    assert code == 3 and "rehearsal is down" in shown
    assert "requests: 2, not implemented (405): 1, outside the schema: 1" in shown
    assert "405 cloudresourcemanager.projects.undelete x1" in shown and "never fired: iam.* 503" in shown
    content = json.loads(rehearsal("status", "--output", "json")[1])
    assert (content["running"], content["violations"], content["instances"]) == (False, 1, {})


def test_counts_of_permissions_are_forgotten(ask: Any, control_plane: Any, rehearsal: Any) -> None:
    owner = control_plane.identity.owner
    ask("GET", PROJECT)
    assert "resourcemanager.projects.get" in rehearsal("permissions", "--principal", owner)[1]
    assert rehearsal("permissions", "--forget")[1].endswith("counts forgotten\n")
    assert "resourcemanager.projects.get" not in rehearsal("permissions", "--principal", owner)[1]


def test_the_environment_is_for_a_shell_or_a_program_and_for_an_identity(rehearsal: Any) -> None:
    exports = dict(
        line.removeprefix("export ").split("=", 1)
        for line in rehearsal("env")[1].splitlines()
        if line.startswith("export ")
    )
    owner = json.loads(rehearsal("env", "--identity", "owner", "--output", "json")[1])
    assert exports.keys() == owner.keys() and exports["GCP_PROJECT"] == owner["GCP_PROJECT"] == "fanops-rehearsal"
    assert exports["GCP_SERVICE_ACCOUNT_FILE"] and not owner["GCP_SERVICE_ACCOUNT_FILE"]
    assert "unset GCP_SERVICE_ACCOUNT_FILE" in rehearsal("env", "--identity", "owner")[1].splitlines()
    federated = json.loads(rehearsal("env", "--identity", "federated", "--output", "json")[1])
    assert json.loads(Path(federated["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())["type"] == "external_account"


def test_ask_shows_the_curl_line_and_ends_as_curl_does(control_plane: Any, rehearsal: Any) -> None:
    code, said = rehearsal("ask")
    assert (code, said) == (1, "rehearsal: no function is deployed; deploy one first\n")
    record = {"resource": {"serviceConfig": {"uri": "https://hello-uc.a.run.app"}}}
    control_plane.store.put("functions", "p/us-central1/hello", record)
    control_plane.settings = replace(control_plane.settings, frontdoor_port=free_port())
    ensure_authority(control_plane.settings)
    code, said = rehearsal("ask", "--data", '{"a": 1}')
    # Nothing listens at the front door's port: curl cannot connect, and says so.
    assert code == 7 and "curl: (7)" in said
    assert "The function answers at https://hello-uc.a.run.app\n" in said
    assert """--header 'Content-Type: application/json' --data '{"a":1}' https://hello-uc.a.run.app\n""" in said
    assert said.endswith(
        f"in a browser on this machine: http://127.0.0.1:{control_plane.settings.gateway_port}/hello\n"
    )
    with pytest.raises(SystemExit):
        rehearsal("ask", "--data", "{")


def test_a_new_method_begins_with_a_handler_that_says_405_and_a_test_that_wants_200(
    ask: Any, control_plane: Any, rehearsal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REGISTRY, "methods", dict(REGISTRY.methods))
    code, stub = rehearsal("new-method", "compute.instances.suspend")
    assert code == 0 and "Take no body and answer Operation; parameters: " in stub
    control_plane.identity.services.enable(control_plane.settings.project_id, "compute.googleapis.com")
    names: dict[str, Any] = {}
    exec(stub, names)
    assert REGISTRY.methods["compute.instances.suspend"].permission == "compute.instances.suspend"
    with pytest.raises(AssertionError, match=r"cannot do this: compute\.instances\.suspend"):
        names["test_suspend_instances"](ask, control_plane)
    assert 'permission="iam.roles.create"' in rehearsal("new-method", "iam.organizations.roles.create")[1]


def test_a_new_method_must_be_one_of_googles_without_a_handler(rehearsal: Any) -> None:
    assert rehearsal("new-method", "compute.instances.get")[1].startswith(
        "rehearsal: compute.instances.get has a handler"
    )
    assert "similar ids: compute.instances.suspend" in rehearsal("new-method", "compute.instances.suspnd")[1]
