# SPDX-License-Identifier: GPL-3.0-or-later
"""The environments define the same, and differ in every name that Google knows once in a project, or once in the world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "inventory/environments"
ENVIRONMENTS = sorted(path.name for path in FOLDER.iterdir())
PROJECT = {"GCP_PROJECT": "demo"}
# What two environments of one project must not have in common, as roles and playbooks get it.
APART = """
label: "{{ common_labels.app }}"
bucket: "{{ model_training_bucket }} {{ prediction_function_bucket }} {{ project_foundation_bucket }}"
vm: "{{ training_vm_name }}"
workers: "{{ vm_name | worker_names(2) | join(' ') }}"
schedule: "{{ training_schedule_name }}"
firewall rule: "{{ project_foundation_ssh_rule }}"
network tag: "{{ project_foundation_ssh_target_tag }} {{ training_vm_tags | join(' ') }}"
function: "{{ prediction_function_name }}"
secret: "{{ project_foundation_secret_name }} {{ project_foundation_secret_role }}"
service accounts: "{{ project_foundation_service_accounts | map(attribute='name') | join(' ') }}"
identities: "{{ training_vm_service_account_email }} {{ prediction_function_service_account_email }}"
roles: "{{ ((project_foundation_roles | map(attribute='name')) + (training_schedule_grants | map(attribute='role'))) | join(' ') }}"
secret: "{{ project_foundation_secret_name }} {{ project_foundation_secret_role }}"
confirmation: "{{ teardown_confirmation }}"
keys: "{{ training_vm_ssh_key_file }} {{ training_vm_known_hosts_dir }}"
"""
# And what is one for all of them.
SHARED = """
root: "{{ project_root }}"
version: "{{ project_version }}"
image families: "{{ vm_image_families | join(' ') }}"
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GCP_", "GOOGLE_", "ANSIBLE_INV"))
    }
    settings = {"NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": "/nonexistent", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env=inherited | settings | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@cache
def inventory(environment: str) -> dict[str, Any]:
    """Return what ansible-inventory lists; "" is what is used where none is named."""
    arguments = ["-i", str(FOLDER / environment)] if environment else []
    found: dict[str, Any] = json.loads(run("ansible-inventory", *arguments, "--list"))
    return found


@cache
def filled_in(environment: str) -> dict[str, str]:
    """Return ``APART`` and ``SHARED`` with the variables of an environment."""
    asked = json.dumps({"msg": yaml.safe_load(APART) | yaml.safe_load(SHARED)})
    output = run(
        "ansible", "-i", str(FOLDER / environment), "localhost", "-m", "ansible.builtin.debug", "-a", asked,
        ANSIBLE_CALLBACK_RESULT_FORMAT="json", **PROJECT,
    )  # fmt: skip
    shown = output[output.index("=> {") + 3 :]
    found: dict[str, str] = json.JSONDecoder().raw_decode(shown)[0]["msg"]
    return found


def test_there_are_two_and_production_is_the_default() -> None:
    assert ENVIRONMENTS == ["production", "staging"]
    assert inventory("") == inventory("production")
    by_variable = json.loads(run("ansible-inventory", "--list", ANSIBLE_INVENTORY="inventory/environments/staging"))
    assert by_variable == inventory("staging")


def test_they_define_the_same_variables_and_groups() -> None:
    names = {name: yaml.safe_load((FOLDER / name / "group_vars/all/names.yml").read_text()) for name in ENVIRONMENTS}
    assert names["production"].keys() == names["staging"].keys()
    for name, values in names.items():
        assert values["environment_name"] == name
    for variable, value in names["production"].items():
        assert value != names["staging"][variable], f"{variable} is the same in both"
    assert inventory("production").keys() == inventory("staging").keys()
    defined = {name: inventory(name)["_meta"]["hostvars"]["localhost"].keys() for name in ENVIRONMENTS}
    assert defined["production"] == defined["staging"] and len(defined["staging"]) > 120
    common = {path.stem for path in (REPOSITORY / "inventory/group_vars/all").glob("*.yml")}
    for name in ENVIRONMENTS:
        assert {path.stem for path in (FOLDER / name / "group_vars/all/00_common").glob("*.yml")} == common
        assert (FOLDER / name / "group_vars/training/connection.yml").samefile(
            REPOSITORY / "inventory/group_vars/training/connection.yml"
        )


@pytest.mark.parametrize("thing", yaml.safe_load(APART))
def test_they_share_no_name_that_google_knows_once(thing: str) -> None:
    here, there = (filled_in(name)[thing] for name in ENVIRONMENTS)
    assert here and not set(here.split()) & set(there.split()), f"{thing}: {here} | {there}"


@pytest.mark.parametrize("thing", yaml.safe_load(SHARED))
def test_they_share_what_is_one_for_all(thing: str) -> None:
    assert len({filled_in(name)[thing] for name in ENVIRONMENTS}) == 1
    assert filled_in("staging")["root"] == str(REPOSITORY)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_inventory_lists_what_carries_its_own_label(environment: str) -> None:
    plugin = yaml.safe_load((FOLDER / environment / "gcp_compute.yml").read_text())
    assert f"labels.app = {filled_in(environment)['label']}" in plugin["filters"]
    others = [yaml.safe_load((FOLDER / name / "gcp_compute.yml").read_text()) for name in ENVIRONMENTS]
    assert all({**other, "filters": None} == {**plugin, "filters": None} for other in others), (
        "but for the label they are the same"
    )
