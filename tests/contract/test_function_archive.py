# SPDX-License-Identifier: GPL-3.0-or-later
"""What is deployed: the function and what it shares with the training, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.fanops.resources.source_archive import collect, content_hash

REPOSITORY = Path(__file__).resolve().parents[2]
ROLE = "roles/prediction_function/vars/main.yml"


def archive(root: Path) -> dict[str, bytes]:
    """Return name -> content, as the role describes it to ``cloud_function``."""
    described = yaml.safe_load((root / ROLE).read_text(encoding="utf-8"))["__prediction_function_archive"]
    prefix = "{{ prediction_function_source }}"
    return collect([{**item, "src": item["src"].replace(prefix, str(root / "ml"))} for item in described])


def tracked(folder: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}


def test_the_archive_is_core_and_function() -> None:
    function = {name.removeprefix("ml/function/") for name in tracked("ml/function") if not name.endswith(".in")}
    assert set(archive(REPOSITORY)) == function | tracked("ml/core")
    assert {"main.py", "requirements.txt", "ml/core/context.py"} <= set(archive(REPOSITORY))


@pytest.fixture
def deployed(tmp_path: Path) -> Callable[[str], bool]:
    """Whether an edit of a file below ml/ would deploy the function anew."""
    shutil.copytree(REPOSITORY / "ml", tmp_path / "ml", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ROLE).parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / ROLE, tmp_path / ROLE)

    def edit(name: str) -> bool:
        before = content_hash(archive(tmp_path), {})
        with (tmp_path / "ml" / name).open("a", encoding="utf-8") as file:
            file.write("\n# Why.\n")
        return content_hash(archive(tmp_path), {}) != before

    return edit


@pytest.mark.parametrize(
    ("name", "redeploys"),
    [
        ("core/context.py", True),
        ("function/sponsor_api/answers.py", True),
        ("report/run_report.py", False),
        ("forest/cluster.py", False),
        ("data/spool.py", False),
        ("publish/publisher.py", False),
        ("train.py", False),
    ],
)
def test_an_edit_deploys_what_it_belongs_to(deployed: Callable[[str], bool], name: str, redeploys: bool) -> None:
    assert deployed(name) is redeploys


def test_the_function_imports_nothing_else_of_the_package() -> None:
    for name, content in archive(REPOSITORY).items():
        if name.endswith(".py"):
            lines = [line.strip() for line in content.decode().splitlines()]
            beyond = [line for line in lines if line.startswith(("from ml", "import ml")) and "ml.core" not in line]
            assert not beyond, f"{name}: {beyond}"
