# SPDX-License-Identifier: GPL-3.0-or-later
"""A failed run ends in one line that says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


def run(tmp_path: Path, tasks: list[dict[str, object]]) -> list[str]:
    """Run a playbook on localhost with our ansible.cfg; return the lines of its standard output."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        str(playbook),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPOSITORY, check=False)
    return [line for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"ansible.builtin.fail": {"msg": "There is no project.\n  Export it. " + "x" * 200}}, "Export it."),
        ({"ansible.builtin.fail": {"msg": "bad {{ item }}"}, "loop": ["apple", "pear"]}, "bad apple"),
        ({"ansible.builtin.command": {"cmd": "/bin/ls /nowhere/at/all"}}, "No such file or directory"),
    ],
)
def test_failed_run_ends_in_one_unwrapped_line(tmp_path: Path, task: dict[str, object], why: str) -> None:
    last = run(tmp_path, [task])[-1]
    assert last.startswith("Failed: ")
    assert why in last


def test_the_reason_is_not_wrapped_in_how_ansible_came_upon_it(tmp_path: Path) -> None:
    unset = "{{ undef(hint='Export GCP_PROJECT.') }}"
    assert run(tmp_path, [{"ansible.builtin.command": {"cmd": unset}}])[-1] == "Failed: Export GCP_PROJECT."


def test_a_missing_variable_tells_which_inventory_has_it(tmp_path: Path) -> None:
    last = run(tmp_path, [{"ansible.builtin.debug": {"msg": "{{ model_bucket }}"}}])[-1]
    assert last.startswith(
        "Failed: 'model_bucket' is undefined: run it in this repository's folder, without -i or with -i inventory/"
    )


def test_a_host_that_is_lost_ends_in_what_to_look_at(tmp_path: Path) -> None:
    nobody = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    last = run(tmp_path, [{"ansible.builtin.ping": {}, "vars": nobody}])[-1]
    assert last.startswith("Failed: localhost cannot be reached (") and "Connection refused" in last
    assert 'playbooks/show_status.yml" says whether it runs, and who stopped it' in last


def test_an_output_for_programs_stays_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.posix.json")
    said = "\n".join(run(tmp_path, [{"ansible.builtin.fail": {"msg": "broken"}}]))
    assert json.loads(said)["plays"]


def test_mended_failure_is_not_repeated(tmp_path: Path) -> None:
    block: dict[str, object] = {
        "block": [{"ansible.builtin.fail": {"msg": "first"}}],
        "rescue": [{"ansible.builtin.debug": {"msg": "mended"}}],
    }
    assert not [line for line in run(tmp_path, [block]) if line.startswith("Failed:")]
