# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage's playbook on its own does its work, or ends in one line that says which command to type first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PLAN = {"needed": True, "reason": "there is no release yet", "run_id": "r", "fingerprint": "f", "failure": None}
#: Stands in for the module of the same name, which asks Google.
PLAN_MODULE = "#!/usr/bin/python\n# WANT_JSON\nprint({!r})\n"


def play(
    folder: Path, *arguments: str, plan: dict[str, Any] | None = None, **environment: str
) -> tuple[int, list[str]]:
    """Run playbooks without any cloud; return the exit code and the lines of the output."""
    (folder / "library").mkdir()
    answer = json.dumps({"changed": False, **PLAN, **(plan or {})})
    (folder / "library/training_plan.py").write_text(PLAN_MODULE.format(answer))
    (folder / "library/site_lock.py").write_text(PLAN_MODULE.format('{"changed": false, "token": null}'))
    inventory = [str(REPOSITORY / "inventory/environments/production/localhost.yml"), *map(str, folder.glob("vm.json"))]
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *(f"--inventory={path}" for path in inventory)]
    modules = f"{folder}/library:{REPOSITORY}/library"
    settings = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_LIBRARY": modules}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False, stdin=subprocess.DEVNULL,
        env=os.environ | settings | {"ANSIBLE_NOCOLOR": "1", "GCP_PROJECT": "demo"} | environment,
    )  # fmt: skip
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()


@pytest.mark.parametrize(
    ("arguments", "plan", "last"),
    [
        (
            ["playbooks/train_model.yml"], {},
            "Failed: There is something to train (there is no release yet), but ml-training-vm does not run: run"
            ' "ansible-playbook playbooks/start_vm.yml playbooks/configure_vm.yml" first.',
        ),
        (
            ["playbooks/train_model.yml", "--tags", "train", "-e", "training_force=true"], {"reason": "a training is forced"},
            "Failed: There is something to train (a training is forced), but ml-training-vm does not run: run"
            ' "ansible-playbook playbooks/start_vm.yml playbooks/configure_vm.yml" first.',
        ),
        (
            ["playbooks/train_model.yml", "-e", "training_workers=1"], {},
            "Failed: There is something to train (there is no release yet), but ml-training-vm, ml-training-worker-1 do not"
            ' run: run "ansible-playbook site.yml" first.',
        ),
        (
            ["playbooks/train_model.yml"], {"failure": "Could not read the bucket: it is another's."},
            "Failed: Could not read the bucket: it is another's.",
        ),
        (
            ["playbooks/configure_vm.yml"], {},
            "Failed: There is no running ml-training-vm to configure: run"
            ' "ansible-playbook playbooks/start_vm.yml playbooks/configure_vm.yml".',
        ),
    ],
    ids=["no VM", "by its tag", "no worker", "no access", "nothing to configure"],
)  # fmt: skip
def test_a_stage_that_lacks_something_ends_in_one_line_with_the_command_to_type(
    tmp_path: Path, arguments: list[str], plan: dict[str, Any], last: str
) -> None:
    code, lines = play(tmp_path, *arguments, plan=plan)
    assert (code, lines[-1]) == (2, last), "\n".join(lines)


def test_a_vm_that_was_never_configured_is_not_trained_on(tmp_path: Path) -> None:
    host = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    (tmp_path / "vm.json").write_text(json.dumps({"training": {"hosts": {"ml-training-vm": host}}}))
    code, lines = play(tmp_path, "playbooks/train_model.yml", "-e", f"model_training_python={tmp_path}/python")
    assert code == 2
    assert lines[-1] == (
        f"Failed: ml-training-vm runs, but has no {tmp_path}/python: run"
        ' "ansible-playbook playbooks/configure_vm.yml" first.'
    )


@pytest.mark.parametrize(
    ("arguments", "plan", "said"),
    [
        (["--check"], {}, "Training is needed: there is no release yet"),
        ([], {"needed": False, "reason": "the live release is up to date"}, "Nothing to train: the live release is up to date"),
    ],
    ids=["a plan", "nothing to train"],
)  # fmt: skip
def test_where_no_vm_is_wanted_none_is_missed(
    tmp_path: Path, arguments: list[str], plan: dict[str, Any], said: str
) -> None:
    code, lines = play(tmp_path, "playbooks/train_model.yml", *arguments, plan=plan)
    assert code == 0 and said in "\n".join(lines), "\n".join(lines)


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/show_costs.yml", "playbooks/predict.yml"])
def test_without_a_project_every_playbook_says_what_to_export(tmp_path: Path, playbook: str) -> None:
    code, lines = play(tmp_path, playbook, GCP_PROJECT="")
    said = 'No project is named. Export GCP_PROJECT with the project id ("gcloud projects list" shows yours).'
    assert (code, lines[-1]) == (2, f"Failed: {said}"), "\n".join(lines)
