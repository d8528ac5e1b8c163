# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up on a stranger's machine: the Python that is taken, what is missing, the locks of both lines, a controller without GNU."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
# What a Python is asked: whether it can make environments, its version, and to make one, which these programs refuse.
WORKS = 'case "$2" in *ensurepip*) exit 0;; *print*) echo {version};; *) exit 1;; esac'
# Debian's without python3-venv: it runs, and cannot import ensurepip.
NO_VENV = 'case "$2" in *ensurepip*) exit 1;; *print*) echo {version};; esac'
SHIM = "exit 127"


def install(
    folder: Path, programs: dict[str, str], lock: str = "controller", newest: int = 14, python: str = ""
) -> str:
    """Return what the script says on a machine that has these programs only; it never gets as far as installing."""
    for name, body in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [REPOSITORY / "requirements/install", f"requirements/{lock}.txt", str(newest)], cwd=REPOSITORY, text=True,
        env={"PATH": str(folder), "VENV": str(folder / "venv"), "PYTHON": python}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get install python3-venv openssh-client"),
        ("dnf", "sudo dnf install python3.14 openssh-clients"),
        ("pacman", "sudo pacman -S python openssh"),
        ("brew", "brew install python@3.14 openssh"),
        (
            "true",
            "with apt: python3-venv openssh-client; with dnf: python3.14 openssh-clients; with pacman: python openssh; with brew:",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_its_packages(tmp_path: Path, manager: str, command: str) -> None:
    said = install(tmp_path, {manager: "", "python3": NO_VENV.format(version="3.13.5"), "python3.12": SHIM})
    assert said.startswith("make: missing on this machine: a Python from 3.11 to 3.14 with venv") and "\n" not in said
    assert f"ssh; install it: {command}" in said


def test_the_newest_supported_python_is_taken_and_a_shim_is_not(tmp_path: Path) -> None:
    ssh = {"ssh": "", "ssh-keygen": ""}
    pythons = {name: WORKS.format(version=f"{name[6:]}.9") for name in ("python3.11", "python3.12")}
    taken = "with Python 3.12.9, the newest supported one on this machine"
    assert taken in install(tmp_path, ssh | pythons | {"python3.13": SHIM})
    assert "with Python 3.11.9, as asked" in install(tmp_path, {}, python="python3.11")
    assert "make: missing" in install(tmp_path, {}, python="python3.13")


@pytest.mark.parametrize("lock", ["controller", "development", "rehearsal"])
@pytest.mark.parametrize(("python", "core"), [("3.11", "2.19"), ("3.12", "2.21"), ("3.13", "2.21")])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_lock_pins_each_package_once_on_every_supported_python(
    lock: str, python: str, core: str, platform: str
) -> None:
    here = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "os_name": "posix",
    }
    lines = (REPOSITORY / f"requirements/{lock}.txt").read_text().splitlines()
    pinned = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    taken = [pin for pin in pinned if Marker(str(pin.marker or "os_name == 'posix'")).evaluate(here)]
    names = [pin.name for pin in taken]
    assert len(names) == len(set(names))
    (ansible,) = [pin for pin in taken if pin.name == "ansible-core"]
    assert str(ansible.specifier).startswith(f"=={core}.")


def test_playbooks_start_no_program_on_the_controller() -> None:
    """What runs there is Ansible, ssh and Python: nothing that macOS lacks, or has with other options."""
    starting = {f"ansible.builtin.{name}" for name in ("command", "shell", "script", "raw", "expect")}
    for path in (
        path
        for folder in ("playbooks", "playbooks/tasks", "roles/*/tasks")
        for path in REPOSITORY.glob(f"{folder}/*.yml")
    ):
        for play in yaml.safe_load(path.read_text()) or []:
            local = play.get("hosts") == "localhost"
            for task, delegated in tasks_of(play, None):
                here = delegated == "localhost" or (delegated is None and local)
                python = "{{ ansible_playbook_python }}" in str(task.get("ansible.builtin.command", ""))
                assert not (here and starting & set(task)) or python, f"{path.name}: {task['name']}"
    programs = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("library", "module_utils", "plugins")
        for path in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(name.name == "subprocess" for name in node.names)
    }
    # The first runs on the VM; the second asks git, and goes on without it; the third asks POSIX's ps.
    assert programs == {
        "module_utils/fanops/training/run.py",
        "module_utils/fanops/preflight/local.py",
        "module_utils/fanops/releases/lock.py",
    }


def test_the_box_has_what_make_setup_would_install_and_is_privileged_in_an_editor_too() -> None:
    packages = re.findall(r"^APT_PACKAGES := (.+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^ +(podman .+) \\$", (REPOSITORY / "Containerfile").read_text(), re.MULTILINE) == packages
    editor = json.loads((REPOSITORY / ".devcontainer/devcontainer.json").read_text())
    assert (REPOSITORY / ".devcontainer" / editor["build"]["dockerfile"]).samefile(REPOSITORY / "Containerfile")
    assert {"--privileged", "--cgroupns=private"} <= set(editor["runArgs"])


def tasks_of(block: dict[str, object], delegated: object) -> list[tuple[dict[str, object], object]]:
    """Return every task below a play, block or task, with the host that it is delegated to."""
    delegated = block.get("delegate_to", delegated)
    found = [(block, delegated)]
    for section in ("pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always"):
        inner = block.get(section) or []
        assert isinstance(inner, list)
        found += [entry for task in inner for entry in tasks_of(task, delegated)]
    return found
