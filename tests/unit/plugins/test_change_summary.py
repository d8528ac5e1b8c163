# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run ends with, from what modules say of the resources."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.callback import change_summary


@pytest.fixture
def callback(tmp_path: Path) -> Any:
    callback: Any = change_summary.CallbackModule()
    callback.said = []
    callback._display = SimpleNamespace(display=lambda line, color=None: callback.said.append(line))
    callback.get_option = lambda name: str(tmp_path / "changes.json")
    return callback


def run(callback: Any, *results: dict[str, Any], check_mode: bool = False, playbook: str = "site.yml") -> str:
    callback.v2_playbook_on_start(SimpleNamespace(_file_name=f"/x/{playbook}"))
    callback.v2_playbook_on_play_start(SimpleNamespace(check_mode=check_mode))
    for result in results:
        task = SimpleNamespace(check_mode=check_mode, action=result.get("action", "ansible.builtin.debug"))
        callback.v2_runner_on_ok(SimpleNamespace(result=result, task=task))
    callback.v2_playbook_on_stats(None)
    return "\n".join(callback.said)


def plan(change: str, *actions: str, resource: str = "VM vm") -> dict[str, Any]:
    return {"plan": [{"resource": resource, "change": change, "actions": list(actions)}]}


@pytest.mark.parametrize(
    ("results", "shown"),
    [
        ([plan("create", "create")], "What this run changed\n  create  VM vm"),
        ([plan("none"), plan("none", resource="bucket b")], "What this run changed\n  keep    2 resources as they are"),
        ([plan("update", "set labels"), plan("power", "start"), plan("power", "stop")], "update  VM vm: set labels, start, stop"),
        # made for the run, and gone again: it was not there before
        ([plan("create", "create"), plan("power", "stop"), plan("delete", "delete")], "create  VM vm: stop, delete"),
        ([plan("update", "set labels"), plan("delete", "delete")], "  delete  VM vm: set labels"),
        ([{"results": [plan("create", "create")]}, {"plan_notes": ["cost    none"]}], "VM vm\n  cost    none"),
    ],
)  # fmt: skip
def test_changes_of_a_resource_add_up(callback: Any, results: list[dict[str, Any]], shown: str) -> None:
    assert shown in run(callback, *results)


def test_a_plan_says_that_it_is_one_and_programs_can_read_it(callback: Any, tmp_path: Path) -> None:
    assert run(callback, plan("create", "create"), check_mode=True).startswith("What this run would change")
    content = json.loads((tmp_path / "changes.json").read_text())
    assert content == {
        "check_mode": True, "notes": [],
        "changes": [{"resource": "VM vm", "change": "create", "actions": ["create"]}],
    }  # fmt: skip


def test_what_an_action_says_of_its_resource_is_not_said_twice(callback: Any) -> None:
    said = run(callback, plan("create", "grant r for m on bucket b", "recreate", resource="r for m on bucket b"))
    assert "  create  r for m on bucket b: recreate" in said.splitlines()


def test_a_release_is_listed_when_the_training_ended_well_and_not_before(callback: Any) -> None:
    planned = {"action": "training_plan", "needed": True, **plan("create", "train", resource="release")}
    assert "release" not in run(callback, planned)
    ended = {"action": "training_run", "state": "finished", "changed": True, "reattached": False}
    assert "create  release: train" in run(callback, planned, ended)


def test_a_screen_comes_before_the_changes_and_gcloud_after_them_in_a_runbook(callback: Any) -> None:
    screen = {"title": "Status", "lines": ["vm"], "output": "text", "gcloud": ["gcloud x", "", "gcloud x"]}
    said = run(callback, {"runbook_screen": screen}, plan("none"), playbook="show_status.yml")
    assert said.splitlines() == ["Status", "  vm", "What this run changed", "  keep    1 resource as it is",
                                 "The same with gcloud", "  gcloud x"]  # fmt: skip


def test_a_screen_at_once_is_shown_before_the_end_and_replaces_no_other(callback: Any) -> None:
    screens: list[dict[str, Any]] = [{"title": "End", "lines": []}, {"title": "Now", "lines": ["1"], "at_once": True}]
    said = run(callback, *({"runbook_screen": screen} for screen in screens))
    assert said.splitlines() == ["Now", "  1", "End"]


def test_notes_come_below_the_changes(callback: Any) -> None:
    said = run(callback, {"runbook_screen": {"notes": ["workers: deleted at the end"]}}, plan("create", "create"))
    assert said.splitlines()[-2:] == ["  create  VM vm", "  workers: deleted at the end"]


def test_a_document_is_the_last_line_with_what_differs(callback: Any) -> None:
    screen = {"title": "Status", "lines": ["vm"], "output": "json", "document": {"vm": "absent"}}
    said = run(callback, {"runbook_screen": screen}, plan("none"), plan("update", "set x", resource="bucket b"))
    assert json.loads(said) == {
        "vm": "absent",
        "drift": [{"resource": "bucket b", "change": "update", "actions": ["set x"]}],
    }
