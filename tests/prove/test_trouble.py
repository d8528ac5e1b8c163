# SPDX-License-Identifier: GPL-3.0-or-later
"""Real-world trouble is survived, or ends in one clear line: each knob, whole runs, seconds beyond a run without trouble."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.rehearsal.conftest import Outcome, Rehearsal
from tests.rehearsal.owner import Owner

pytestmark = pytest.mark.timeout(1800)
Row = Callable[..., None]
HEADING, COMMAND = "Trouble is survived, or ends in one line", "make prove-trouble"
TABLES = {
    "test_a_run_from_nothing_survives": ("trouble", "met", "site.yml", "longer than without"),
    "test_a_grant_that_never_counts_ends_after_the_patience": ("trouble", "met", "last line", "after"),
    "test_what_cannot_be_survived_ends_in_one_line": ("trouble", "met", "last line", "after"),
}


def set_trouble(cloud: Rehearsal, *knob: str) -> None:
    outcome = cloud.rehearsal("trouble", "set", *knob)
    assert outcome.code == 0, outcome.output


def met(cloud: Rehearsal, knob: str) -> int:
    shown: dict[str, Any] = cloud.rehearsal("trouble", "list", "--output", "json").json
    return int(shown.get(knob, {}).get("met", 0))


def told(outcome: Outcome) -> str:
    return outcome.output.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def usual(cloud: Rehearsal) -> float:
    """Seconds of site.yml on an empty project without any trouble; the function's environment is built before."""
    for _ in range(2):
        cloud.purge()
        cloud.up()
        outcome = cloud.playbook("site.yml")
        assert outcome.code == 0, outcome.output[-4000:]
    return outcome.seconds


@pytest.mark.parametrize(
    "knob",
    [
        ("dpkg-lock", "120"),
        ("nologin", "40"),
        ("late-ssh", "40"),
        ("api-delay", "30"),
        ("iam-delay", "40"),
        ("oslogin",),
    ],
    ids=lambda knob: "-".join(knob),
)
def test_a_run_from_nothing_survives(
    usual: float, empty_project: Rehearsal, owner: Owner, row: Row, knob: tuple[str, ...]
) -> None:
    set_trouble(empty_project, *knob)
    outcome = empty_project.playbook("site.yml")
    times = met(empty_project, knob[0])
    row(" ".join(knob), times, "survived" if outcome.code == 0 else "failed", f"{outcome.seconds - usual:+.0f} s")
    assert outcome.code == 0, outcome.output[-5000:]
    assert times > 0 or knob == ("oslogin",)
    again = empty_project.playbook("site.yml")
    assert again.code == 0 and "changed=0" in again.output, again.output[-3000:]


def test_a_grant_that_never_counts_ends_after_the_patience(empty_project: Rehearsal, owner: Owner, row: Row) -> None:
    set_trouble(empty_project, "iam-delay", "86400")
    outcome = empty_project.playbook("site.yml", "-e", "iam_patience_seconds=20")
    row("iam-delay 86400, patience 20", met(empty_project, "iam-delay"), told(outcome), f"{outcome.seconds:.0f} s")
    assert outcome.code != 0 and "permission denied" in told(outcome) and "A grant can take" in told(outcome)
    state = empty_project.status()["instances"]
    assert state == {"fanops-rehearsal/us-central1-a/ml-training-vm": "TERMINATED e2-micro"}
    # The next run granted nothing itself: it does not wait at all.
    later = empty_project.playbook("site.yml")
    assert later.code != 0 and "permission denied" in told(later)
    waited = [line for line in later.output.splitlines() if "the grant may not count yet" in line]
    row("the run after it (nothing granted)", "-", told(later), f"{later.seconds:.0f} s")
    assert waited == []


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        (("quota", "CPUS", "0"), ["CPUS: 2 needed, 0 of 0 left", "iam-admin/quotas"]),
        (("billing",), ["has no billing account", "gcloud billing projects link"]),
        (("orgpolicy", "compute.requireOsLogin"), ["compute.requireOsLogin", "disable-enforce"]),
        (("clock", "400"), ["clock is 400 s behind", "timedatectl"]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_survived_ends_in_one_line(
    empty_project: Rehearsal, owner: Owner, row: Row, knob: tuple[str, ...], words: list[str]
) -> None:
    if knob[0] != "billing":
        owner.enable_apis()
    set_trouble(empty_project, *knob)
    outcome = empty_project.playbook("site.yml")
    row(" ".join(knob), "-", told(outcome), f"{outcome.seconds:.0f} s")
    assert outcome.code != 0 and all(word in told(outcome) for word in words), json.dumps(told(outcome))
    assert empty_project.status()["instances"] == {}
