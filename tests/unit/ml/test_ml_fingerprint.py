# SPDX-License-Identifier: GPL-3.0-or-later
"""The fingerprint: the same on every machine, and different whenever the model could be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ml.core.schema import DEFAULT
from ml.fingerprint import DEFAULT_SAMPLES, DEFAULT_SEED, LARGEST_SEED, LOCKS, fingerprint, main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a training machine has: the package without the function, and the lock."""
    ignored = shutil.ignore_patterns("function", "__pycache__")
    shutil.copytree(ROOT / "ml", tmp_path / "ml", ignore=ignored)
    (tmp_path / "requirements").mkdir()
    for name in LOCKS:
        shutil.copy(ROOT / "requirements" / name, tmp_path / "requirements")
    return tmp_path


def test_the_controller_and_the_training_machine_agree(copy: Path) -> None:
    (copy / "ml" / "__pycache__").mkdir()
    (copy / "ml" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert fingerprint(10_000, 42, copy) == fingerprint(10_000, 42)
    arguments = ["-m", "ml.fingerprint", "--samples", "10000", "--seed", "42"]
    # -S: without site-packages, so nothing but the standard library can be imported
    ran = subprocess.run([sys.executable, "-S", *arguments], cwd=copy, capture_output=True, text=True, check=True)
    printed = json.loads(ran.stdout)
    described = printed.pop("description")
    assert printed == fingerprint(10_000, 42)
    assert described == {"model_schema": DEFAULT.document, "columns": list(DEFAULT.columns)}


def changed_parts(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_each_input_changes_its_part_and_the_whole(copy: Path) -> None:
    before = fingerprint(10_000, 42, copy)
    assert set(before) == {"fingerprint", "code", "lock", "data", "parameters"}
    assert changed_parts(before, fingerprint(10_001, 42, copy)) == {"fingerprint", "parameters"}
    assert changed_parts(before, fingerprint(10_000, 43, copy)) == {"fingerprint", "parameters"}
    with (copy / "requirements" / "training.txt").open("a") as lock:
        lock.write("# x\n")
    assert changed_parts(before, fingerprint(10_000, 42, copy)) == {"fingerprint", "lock"}
    # what reads data files decides only a training on one
    drawn, read = fingerprint(10_000, 42, copy), fingerprint(0, 42, copy, data={"sha256": "1"})
    with (copy / "requirements" / "training-data.txt").open("a") as lock:
        lock.write("# x\n")
    assert fingerprint(10_000, 42, copy) == drawn
    assert changed_parts(read, fingerprint(0, 42, copy, data={"sha256": "1"})) == {"fingerprint", "lock"}


#: Kinds of edits, appended to a module.
COMMENT = "\n\n# Why.\n"
CODE = "\n\nADDED = 1\n"
DOCSTRING = '\n\ndef _added() -> None:\n    """Say {}."""\n'


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("core/features.py", True),
        ("core/schema.py", True),
        ("core/context.py", False),
        ("data/rules.py", True),
        ("data/spool.py", True),
        ("data/file_reader.py", True),
        ("forest/random_forest.py", True),
        ("forest/growth.py", True),
        ("forest/onnx_export.py", True),
        ("forest/cluster.py", False),
        ("forest/estimate.py", False),
        ("core/gate.py", False),
        ("core/releases.py", False),
        ("publish/publisher.py", False),
        ("report/run_report.py", False),
        ("progress.py", False),
        ("train.py", False),
    ],
)
def test_what_decides_the_result_counts_and_words_never_do(copy: Path, file: str, decides: bool) -> None:
    path = copy / "ml" / file
    source = path.read_text(encoding="utf-8")
    before = fingerprint(1000, 1, copy)
    path.write_text(source.replace("from __future__", "# Why.\nfrom __future__") + COMMENT, encoding="utf-8")
    assert fingerprint(1000, 1, copy) == before
    path.write_text(source + CODE, encoding="utf-8")
    assert changed_parts(before, fingerprint(1000, 1, copy)) == ({"fingerprint", "code"} if decides else set())
    path.write_text(source + DOCSTRING.format("this"), encoding="utf-8")
    documented = fingerprint(1000, 1, copy)
    path.write_text(source + DOCSTRING.format("that,\n\n    and why"), encoding="utf-8")
    assert fingerprint(1000, 1, copy) == documented


def test_a_module_that_joins_what_decides_is_covered_by_itself(copy: Path) -> None:
    before = fingerprint(1000, 1, copy)
    (copy / "ml/core/habits.py").write_text("SHARE = 1\n", encoding="utf-8")
    assert fingerprint(1000, 1, copy) == before
    with (copy / "ml/forest/random_forest.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef later() -> None:\n    from ml.core import habits\n")
    joined = fingerprint(1000, 1, copy)
    (copy / "ml/core/habits.py").write_text("SHARE = 2\n", encoding="utf-8")
    assert changed_parts(joined, fingerprint(1000, 1, copy)) == {"fingerprint", "code"}


def test_the_function_does_not_count(copy: Path) -> None:
    before = fingerprint(1000, 1, copy)
    (copy / "ml" / "function").mkdir()
    (copy / "ml" / "function" / "main.py").write_text("x = 1\n")
    assert fingerprint(1000, 1, copy) == before


def test_a_message_may_be_edited_and_a_sponsor_may_not(copy: Path) -> None:
    before = fingerprint(1000, 1, copy)
    path = copy / "ml" / "core" / "sponsors.json"
    document = json.loads(path.read_text())
    document["sponsors"][0]["campaign_message"] = "Autre chose."
    path.write_text(json.dumps(document))
    assert fingerprint(1000, 1, copy) == before
    document["sponsors"][0]["name"] = "Other"
    path.write_text(json.dumps(document))
    assert changed_parts(before, fingerprint(1000, 1, copy)) == {"fingerprint", "data"}


def test_a_missing_lock_is_one_clear_line(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "requirements" / "training.txt").unlink()
    monkeypatch.setattr("ml.fingerprint.fingerprint.__defaults__", (copy, None, None, None))
    assert main(["--samples", "1000"]) == 1
    error = capsys.readouterr().err
    assert "training.txt, which does not exist" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
def test_a_seed_out_of_range_is_one_clear_line(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", str(seed)]) == 1
    assert capsys.readouterr().err == f"error: --seed must be from 0 to {LARGEST_SEED}, got {seed}\n"


def test_the_site_and_its_roles_agree_with_the_defaults_and_the_limit() -> None:
    site = yaml.safe_load((ROOT / "inventory/group_vars/all/training.yml").read_text(encoding="utf-8"))
    assert (site["training_samples"], site["training_seed"]) == (DEFAULT_SAMPLES, DEFAULT_SEED)
    for part in ("tasks/validate.yml", "meta/argument_specs.yml"):
        text = (ROOT / "roles/model_training" / part).read_text(encoding="utf-8")
        assert f" {LARGEST_SEED}" in text, part


def test_what_is_collected_meanwhile_does_no_harm() -> None:
    """What is left behind in a cycle parses when it is collected, as a printed traceback does. In a process of its own: it goes on."""
    program = """
import ast, gc, os
from ml.fingerprint import ROOT, deciding
class Parses:
    def __init__(self):
        self.itself = self
    def __del__(self):
        Parses()
        ast.parse("x = 1")
gc.set_threshold(50)
Parses()
assert deciding(ROOT)
print("fine", flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr[-2000:]
