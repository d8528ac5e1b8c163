# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own check of modules passes: what ``ansible-test sanity --test validate-modules`` runs, without a network.

It knows modules of a collection only, and takes its requirements from an index; so the library is laid out as a
collection in a temporary folder, and the check is run as ansible-test runs it, with the locked packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible_test
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(ansible_test.__file__).parent / "_util/controller/sanity/validate-modules/validate.py"
COLLECTION = "ansible_collections/fanops/m4"
HERE, THERE = "ansible.module_utils.fanops", "ansible_collections.fanops.m4.plugins.module_utils.fanops"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """The library as a collection."""
    root = tmp_path / COLLECTION
    shutil.copytree(ROOT / "library", root / "plugins/modules", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "module_utils", root / "plugins/module_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "plugins/doc_fragments", root / "plugins/doc_fragments")
    fragments = "|".join(path.stem for path in (ROOT / "plugins/doc_fragments").glob("*.py"))
    for path in (root / "plugins").rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace(HERE, THERE)
        # in a collection, a fragment goes by its full name
        extends = re.compile(r"^extends_documentation_fragment: .*", re.MULTILINE)
        text = extends.sub(lambda line: re.sub(rf"\b({fragments})\b", r"fanops.m4.\1", line[0]), text)
        path.write_text(text, encoding="utf-8")
    (root / "meta").mkdir()
    (root / "meta/runtime.yml").write_text("---\nrequires_ansible: '>=2.19.0'\n", encoding="utf-8")
    (root / "galaxy.yml").write_text("namespace: fanops\nname: m4\nversion: 1.0.0\n", encoding="utf-8")
    return root


def validate(collection: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the errors that it finds, by module; like ansible-test, it passes over warnings."""
    modules = sorted(str(path.relative_to(collection)) for path in (collection / "plugins/modules").glob("*.py"))
    command = [
        sys.executable, str(CHECK), "--format", "json", "--arg-spec",
        "--collection", COLLECTION, "--collection-version", "1.0.0", *modules,
    ]  # fmt: skip
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(collection.parents[2]), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=collection, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert not any(report["traces"] for report in found.values()), found
    return {Path(name).stem: report["errors"] for name, report in found.items() if report["errors"]}


def test_ansible_finds_nothing_to_object_to(collection: Path) -> None:
    assert validate(collection) == {}


def test_the_check_sees_an_option_that_is_not_documented(collection: Path) -> None:
    module = collection / "plugins/modules/gcs_bucket.py"
    text = module.read_text(encoding="utf-8")
    assert "\n  location:\n" in text
    module.write_text(text.replace("\n  location:\n", "\n  place:\n", 1), encoding="utf-8")
    codes = {error["code"] for error in validate(collection)["gcs_bucket"]}
    assert "undocumented-parameter" in codes
