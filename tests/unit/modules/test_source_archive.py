# SPDX-License-Identifier: GPL-3.0-or-later
"""``source_archive``: the same files give the same bytes, and the code that goes to a VM is what a training needs."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.module_call import call_module

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "package/function").mkdir(parents=True)
    for name in ("package/one.py", "package/two.py", "package/function/main.py", "lock.txt"):
        (folder / name).write_text(name)
    return folder


def options(sources: Path, path: Path) -> dict[str, Any]:
    source = [
        {"src": str(sources / "package"), "dest": "package", "exclude": ["function"]},
        {"src": str(sources / "lock.txt"), "dest": "locks/lock.txt"},
    ]
    return {"path": str(path), "source": source}


def test_time_and_mode_do_not_count_and_content_does(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = options(sources, tmp_path / "build/code.tar")
    planned = call_module("source_archive", capsys, wanted, check=True)
    assert planned["changed"] and not (tmp_path / "build").exists()
    made = call_module("source_archive", capsys, wanted)
    assert made["changed"] and made["sha256"] == planned["sha256"]
    with tarfile.open(made["path"]) as archive:
        assert archive.getnames() == ["locks", "locks/lock.txt", "package", "package/one.py", "package/two.py"]
    os.utime(sources / "lock.txt", (1, 1))
    (sources / "lock.txt").chmod(0o600)
    again = call_module("source_archive", capsys, wanted)
    assert (again["changed"], again["sha256"]) == (False, made["sha256"])
    (sources / "lock.txt").write_text("other")
    edited = call_module("source_archive", capsys, wanted)
    assert edited["changed"] and edited["sha256"] != made["sha256"]


def test_a_missing_source_is_one_clear_line(sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sources / "lock.txt").unlink()
    failed = call_module("source_archive", capsys, options(sources, tmp_path / "code.tar"))
    assert failed["failed"] and f"source {sources / 'lock.txt'} does not exist" in failed["msg"]
    assert not (tmp_path / "code.tar").exists()


def test_a_training_machine_gets_the_code_the_lock_and_the_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = yaml.safe_load((REPOSITORY / "roles/model_training/tasks/pack.yml").read_text(encoding="utf-8"))
    described = next(task["vars"] for task in tasks if "source_archive" in task)
    source = [
        {**item, "src": item["src"].replace("{{ model_training_source }}", str(REPOSITORY))}
        for item in described["__model_training_sources"]
    ]
    made = call_module("source_archive", capsys, {"path": str(tmp_path / "code.tar"), "source": source})
    with tarfile.open(made["path"]) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    package = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "ml").rglob("*.py")}
    assert {name for name in package if not name.startswith("ml/function/")} <= names
    data = {"ml/VERSION", "ml/core/schema.json", "ml/core/sponsors.json", "ml/report/run_report.html.j2"}
    assert names - package == data | {
        "requirements/training.txt",
        "requirements/training-data.txt",
        "pricing/google_cloud.yml",
        # what starts a run on the VM without a controller
        "fanops_train.py",
        "ansible/module_utils/fanops/training/run.py",
        "ansible/module_utils/fanops/training/outcome.py",
    }


def test_a_site_s_own_description_takes_the_place_of_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By which the VM trains, with a controller or without."""
    tasks = yaml.safe_load((REPOSITORY / "roles/model_training/tasks/pack.yml").read_text(encoding="utf-8"))
    own = next(task["vars"] for task in tasks if "source_archive" in task)["__model_training_description"]
    source = [{"src": str(REPOSITORY / "ml"), "dest": "ml", "exclude": ["function"]}]
    for item in own:
        (tmp_path / Path(item["dest"]).name).write_text("{}", encoding="utf-8")
        source.append({**item, "src": str(tmp_path / Path(item["dest"]).name)})
    made = call_module("source_archive", capsys, {"path": str(tmp_path / "code.tar"), "source": source})
    with tarfile.open(made["path"]) as archive:
        for name in ("ml/core/schema.json", "ml/core/sponsors.json"):
            content = archive.extractfile(name)
            assert content is not None and content.read() == b"{}"
