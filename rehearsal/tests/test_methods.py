# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal methods` counts what was asked for, and says of each method whether it stayed within Google's schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal import cli
from rehearsal.cli import faults
from rehearsal.wire import methods

PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"


@pytest.fixture
def asked(ask: Any, control_plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clean requests, one with a field unknown to Google, one that nobody wrote, one for no method at all."""
    monkeypatch.setenv("REHEARSAL_HOME", str(control_plane.settings.home))
    for _ in range(2):
        assert ask("GET", PROJECT).status_code == 200
    accounts = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts"
    assert ask("POST", accounts, b'{"accountIdd": "x"}').status_code == 400
    assert ask("POST", f"{PROJECT}:undelete").status_code == 405
    assert ask("GET", "https://iam.googleapis.com/v1/nothing").status_code == 404


@pytest.mark.usefixtures("asked")
def test_each_method_is_implemented_exercised_and_clean_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods", "--output", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    found = {name: tuple(row.values()) for name, row in content["methods"].items() if row["exercised"]}
    # implemented, requests, violations, 405, exercised, clean
    assert found == {
        "cloudresourcemanager.projects.get": (True, 2, 0, 0, True, True),
        "cloudresourcemanager.projects.undelete": (False, 1, 0, 1, True, False),
        "iam.projects.serviceAccounts.create": (True, 1, 1, 0, True, False),
    }
    implemented = len(methods.discovered() | methods.endpoints())
    expected = {"implemented": implemented, "exercised": 3, "clean": 1, "violations": 1, "not_implemented": 1}
    assert (content["totals"], content["unknown"]) == (expected, 1)
    assert content["services"]["iam"] | {"implemented": 0} == {
        "implemented": 0, "exercised": 1, "clean": 0, "violations": 1, "not_implemented": 0,
    }  # fmt: skip


@pytest.mark.usefixtures("asked")
def test_the_table_shows_services_and_whatever_was_not_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == list(methods.HEADINGS)
    assert ["iam.projects.serviceAccounts.create", "yes", "yes", "no", "1", "0"] in lines
    assert ["cloudresourcemanager.projects.undelete", "no", "yes", "no", "0", "1"] in lines
    assert not any(line[0] == "cloudresourcemanager.projects.get" for line in lines)
    assert lines[-1][:4] == ["1", "requests", "were", "for"]


@pytest.mark.usefixtures("asked")
def test_every_method_has_its_line_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods", "--each"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cloudresourcemanager.projects.get", "yes", "yes", "yes", "0", "0"] in lines
    assert ["compute.instances.insert", "yes", "no", "no", "0", "0"] in lines


def test_without_any_request_nothing_is_exercised(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REHEARSAL_HOME", str(tmp_path / "none"))
    assert cli.main(["methods", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["exercised"] == 0
    assert not (tmp_path / "none").exists()


def test_a_fault_can_be_planned_for_what_no_discovery_document_describes() -> None:
    assert all(faults.known_method(name) for name in methods.endpoints())
    assert not faults.known_method("functions.call")
