# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test-google` finds, with the rehearsal in the place of Google: nothing, and each of twelve planted differences."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.google import __main__ as program
from tests.google import planted
from tests.google.transcript import differences, read
from tests.rehearsal.conftest import Rehearsal
from tests.rehearsal.owner import PROJECT

pytestmark = pytest.mark.timeout(3600)
PLANTED = Path(planted.__file__)


def compared(cloud: Rehearsal, monkeypatch: pytest.MonkeyPatch, transcript: Path, *addons: Path) -> list[str]:
    """Run the whole path as the owner; return the differences from what is recorded."""
    for name, value in json.loads(cloud.rehearsal("env", "--identity", "owner", "--output", "json").output).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{program.BIN}:{os.environ['PATH']}")
    assert program.run(PROJECT, transcript, *addons)
    return differences(read(transcript), read(program.EXPECTED))


def test_the_rehearsal_differs_in_nothing_from_what_was_recorded(
    empty_project: Rehearsal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert compared(empty_project, monkeypatch, tmp_path / "google.json") == []
    status = empty_project.status()
    assert (status["instances"], status["functions"]) == ({}, {}) and not [b for b in status["buckets"] if "trial" in b]


def test_each_of_twelve_planted_differences_is_named(
    empty_project: Rehearsal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = compared(empty_project, monkeypatch, tmp_path / "google.json", PLANTED)
    expected = [f"{name} 200: {field} (" for name, field in planted.GONE.items()]
    expected += [f"{name} 200: {field} (" for name, (field, _) in planted.NEW.items()]
    expected += [f"{name} 200: {field} is " for name, (field, _) in planted.OTHER.items()]
    expected += [f"{name} 503: only Google answered this" for name in planted.UNAVAILABLE]
    print("\n".join(found))
    assert len(expected) == 12
    missed = [words for words in expected if not any(line.startswith(words) for line in found)]
    assert missed == [] and len(found) == 12, found
