# SPDX-License-Identifier: GPL-3.0-or-later
"""Python 3.10 beside Debian's own, and an environment that is exactly its lock."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from testinfra.host import Host

LOCK = Path(__file__).parents[5] / "requirements/training.txt"
PYTHON = "/opt/fanops/venv/bin/python"


@pytest.mark.parametrize(
    ("command", "version"),
    [
        ("python3.10 --version", r"Python 3\.10\."),
        ("pip3 --version", r"pip \d"),
        ("git --version", r"git version 2\."),
        ("/opt/uv/bin/uv --version", r"uv 0\.13\.9"),
        ("/usr/bin/python3 -c 'import apt, apt_pkg; print(apt_pkg.VERSION)'", r"\d"),
    ],
)
def test_programs_answer_with_their_version(host: Host, command: str, version: str) -> None:
    assert re.match(version, host.check_output(command))


@pytest.mark.parametrize("package", ["ca-certificates", "git", "python3-pip"])
def test_system_packages_are_installed(host: Host, package: str) -> None:
    assert host.package(package).is_installed


def test_the_environment_is_the_lock_and_nothing_more(host: Host) -> None:
    listed = json.loads(host.check_output(f"/opt/uv/bin/uv pip list --format json --python {PYTHON}"))
    found = {f"{package['name'].lower().replace('_', '-')}=={package['version']}" for package in listed}
    pins = re.findall(r"^([a-zA-Z0-9][^=\s]*)==([^ ;\\]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert found == {f"{name.lower().replace('_', '-')}=={version}" for name, version in pins}


def test_the_libraries_work(host: Host) -> None:
    program = (
        "import sys, numpy, sklearn.tree, ssl, sqlite3; sklearn.tree.DecisionTreeClassifier().fit(numpy.eye(3), [0, 1, 2]); "
        "print(sys.prefix, *sys.version_info[:2])"
    )
    assert host.check_output(f'{PYTHON} -c "{program}"') == "/opt/fanops/venv 3 10"


def test_nobody_but_root_can_change_it(host: Host) -> None:
    for path in ("/opt/fanops/venv", PYTHON, "/opt/uv/bin/uv"):
        file = host.file(path)
        assert (file.user == "root" and not file.mode & 0o022) or file.is_symlink, path
