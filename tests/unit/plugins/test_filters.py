# SPDX-License-Identifier: GPL-3.0-or-later
"""From variables to what is called and shown: the filters of playbooks and roles."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ml.core.schema import DEFAULT
from plugins.filter.runbook_lines import release_lines, resource_lines, run_title
from plugins.filter.site_inputs import (
    bucket_grants,
    command_options,
    example_context,
    match_context,
    schedule_allows,
    worker_names,
)

FIELDS = DEFAULT.document["fields"]
LIVE = {
    "release": "3f9a1c22" * 8, "version": 3, "live": True, "promoted": "2026-11-24T10:00:05+00:00", "action": "promote",
    "reason": "passed the gate", "forced": True, "created": "2026-11-24T10:00:00+00:00", "code": "c0de" * 16,
    "data": "da7a" * 16, "samples": 10000, "accuracy": 0.8779, "size_bytes": 4_700_000,
}  # fmt: skip
CANDIDATE = LIVE | dict.fromkeys(("version", "code", "data", "samples", "accuracy"), None) | {"live": False}


def test_a_release_is_one_line_the_live_one_marked() -> None:
    assert release_lines([LIVE, CANDIDATE]) == [
        "* live v3  3f9a1c223f9a  made 2026-11-24T10:00:00  code c0dec0de  data da7ada7a, 10000 rows  accuracy 87.79%"
        "  4.7 MB  promote 2026-11-24T10:00:05, FORCED: passed the gate",
        "       candidate  3f9a1c223f9a  made 2026-11-24T10:00:00  code unknown  data unknown, ? rows  accuracy unknown"
        "  4.7 MB  never promoted",
    ]


def test_a_resource_is_one_line_with_its_detail_if_it_has_one() -> None:
    vm = {"kind": "instance", "name": "vm", "place": "us-central1-a", "detail": "RUNNING e2-micro"}
    assert resource_lines([vm, vm | {"detail": ""}]) == [
        "instance vm in us-central1-a: RUNNING e2-micro",
        "instance vm in us-central1-a",
    ]


@pytest.mark.parametrize(
    ("log", "title"),
    [
        ({"run_id": None, "run": {}}, "No training has ended yet"),
        ({"run_id": "r", "run": {}}, "Run r, interrupted"),
        (
            {"run_id": "r", "run": {"status": {"result": "success", "ended": 0}}},
            "Run r, ended well 1970-01-01T00:00:00Z",
        ),
        (
            {"run_id": "r", "run": {"status": {"result": "oom", "ended": 1.9}}},
            "Run r, ended with oom 1970-01-01T00:00:01Z",
        ),
    ],
)
def test_a_log_says_which_run_it_is_of_and_how_that_ended(log: dict[str, Any], title: str) -> None:
    assert run_title(log) == title


def test_a_question_has_numbers_where_the_command_line_has_text() -> None:
    given = {"event": "Goal", "match_minute": "67", "score_diff": "-1", "temperature": "20.5", "crowd_density": ""}
    expected = {"zone": "VIP", "event": "Goal", "match_minute": 67, "score_diff": -1, "temperature": 20.5}
    assert match_context(given, FIELDS) == expected  # a zone is required: its example


def test_an_example_is_short_and_follows_from_the_schema() -> None:
    assert example_context(FIELDS) == {"zone": "VIP", "event": "Goal"}
    own = [
        {"name": "stand", "kind": "choice", "values": ["A", "B"], "required": True},
        {"name": "rain", "kind": "number", "minimum": 1.5, "maximum": 9, "required": True},
        {"name": "wind", "kind": "number", "minimum": 0, "maximum": 9, "default": 3},
    ]
    assert example_context(own) == {"stand": "A", "rain": 1.5}
    assert match_context({"wind": "4"}, own) == {"stand": "A", "rain": 1.5, "wind": 4.0}


@pytest.mark.parametrize(("name", "value"), [("match_minute", "half"), ("score_diff", "1.5"), ("temperature", "warm")])
def test_a_number_that_is_none_is_refused_rather_than_taken_for_zero(name: str, value: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f'{name} is "{value}": give a (whole )?number'):
        match_context({name: value}, FIELDS)


def test_options_that_are_not_set_are_left_out_and_zero_is_set() -> None:
    options = {"seed": 0, "data": "", "scheduler": None, "force": True, "quiet": False, "to": "gs://b"}
    assert command_options(options) == ["--seed=0", "--force", "--to=gs://b"]


def test_workers_are_numbered_from_one_after_their_vm() -> None:
    assert worker_names("ml-training-vm", "2") == ["ml-training-worker-1", "ml-training-worker-2"]
    assert worker_names("vm", 0) == []


def test_grants_have_full_names_of_custom_roles_and_a_condition_where_objects_are_named() -> None:
    grants: list[dict[str, Any]] = [
        {"role": "creator", "objects": ["blobs/", "current.json"]},
        {"role": "roles/viewer"},
    ]
    accounts = [{"name": "trainer", "bucket_grants": grants}]
    member = "serviceAccount:trainer@p.iam.gserviceaccount.com"
    prefix = "projects/_/buckets/b/objects/"
    assert bucket_grants(accounts, "p", "b", ["creator"]) == [
        {
            "role": "projects/p/roles/creator",
            "member": member,
            "condition": {
                "title": "creator",
                "expression": f'resource.name.startsWith("{prefix}blobs/") || resource.name == "{prefix}current.json"',
            },
        },
        {"role": "roles/viewer", "member": member},
    ]


@pytest.mark.parametrize(
    ("schedule", "timezone", "seconds"),
    [
        ("", "UTC", 0),
        ("30 3 * * 1", "UTC", 7 * 86_400),
        ("30 3 * * 1", "Europe/Paris", 7 * 86_400 + 3600),  # the week in which summer time ends
        ("0 6 1,15 * *", "UTC", 17 * 86_400),
        ("0 6 1 1 *", "UTC", 365 * 86_400),
    ],
)
def test_how_old_a_release_may_get(schedule: str, timezone: str, seconds: int) -> None:
    late_and_running = 15 * 60 + 7200 if schedule else 0
    assert schedule_allows(schedule, timezone, "7200") == seconds + late_and_running


def test_a_schedule_that_is_none_is_said() -> None:
    with pytest.raises(AnsibleFilterError, match=r"has not five fields.*Set it in inventory"):
        schedule_allows("weekly", "UTC", 7200)
