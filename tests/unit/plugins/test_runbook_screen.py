# SPDX-License-Identifier: GPL-3.0-or-later
"""A runbook's screen, from the task to what a person reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]


def run(tmp_path: Path, *screens: dict[str, Any], check: bool = False) -> list[str]:
    """Return what a playbook with these screens prints."""
    playbook = tmp_path / "play.yml"
    tasks = [{"runbook_screen": screen} for screen in screens]
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-c",
        "local",
        str(playbook),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [*command, *(["--check"] if check else [])],
        capture_output=True, text=True, env=environment, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.strip()]


def test_a_screen_is_shown_as_it_is_also_in_check_mode(tmp_path: Path) -> None:
    first = {"title": "Costs", "lines": ["VM   0.00", 12], "notes": ["a note"], "gcloud": ["gcloud x", ""]}
    assert run(tmp_path, first, {"gcloud": ["gcloud y"]}, check=True)[-6:] == [
        "Costs", "  VM   0.00", "  12", "The same with gcloud", "  gcloud x", "  gcloud y",
    ]  # fmt: skip


def test_an_output_that_does_not_exist_ends_in_one_line_that_names_those_that_do(tmp_path: Path) -> None:
    assert "output must be one of: text, json, got: yaml" in run(tmp_path, {"title": "Costs", "output": "yaml"})[-1]
