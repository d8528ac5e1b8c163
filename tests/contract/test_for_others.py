# SPDX-License-Identifier: GPL-3.0-or-later
"""What those find who come later: both READMEs, the module reference, workflows and hooks, each equal to what it speaks of."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import module_reference

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def skeleton(text: str) -> dict[str, list[str]]:
    """Return what a translation keeps: levels of headings, commands, names in code, links, the first cell of each row."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    comment = re.compile(r"\s*#[^!].*$|^#\s+\w.*?: ", re.MULTILINE)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.MULTILINE),
        "blocks": [comment.sub("", block) if kind == "bash" else block for kind, block in blocks],
        "code": sorted(re.findall(r"`[^`]+`", prose)),
        "links": sorted(set(re.findall(r"\]\(([^)]+)\)", prose)) - {"README.md", "README.fr.md"}),
        "rows": re.findall(r"^\| (`[^`]+`)", prose, re.MULTILINE),
    }


def test_the_french_readme_says_what_the_english_one_says() -> None:
    english, french = skeleton(read("README.md")), skeleton(read("README.fr.md"))
    assert len(english["headings"]) >= 6 and len(english["blocks"]) >= 4 and len(english["rows"]) >= 15
    for part, found in english.items():
        assert french[part] == found, part
    assert "(README.fr.md)" in read("README.md") and "(README.md)" in read("README.fr.md")


def test_the_module_reference_is_what_the_modules_document() -> None:
    written = module_reference.pages()
    assert set(written) == {path.name for path in module_reference.FOLDER.iterdir()}
    for name, page in written.items():
        assert (module_reference.FOLDER / name).read_text(encoding="utf-8") == page, f"{name}: run make docs"


def test_what_a_workflow_calls_exists_and_is_pinned() -> None:
    assert WORKFLOWS
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for path in WORKFLOWS:
        text = path.read_text()
        workflow: dict[Any, Any] = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}
        assert len(re.findall(r"uses:", text)) == len(re.findall(r"uses: [\w/-]+@[0-9a-f]{40}  # v\d", text)), path.name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 90
            for command in [step["run"] for step in job["steps"] if "run" in step]:
                words = shlex.split(command)
                if "make" in words and "apt-get" not in words:
                    asked = {word for word in words[words.index("make") + 1 :] if re.fullmatch(r"[a-z-]+", word)}
                    assert asked and {word for word in asked if not word.startswith("-")} <= targets, command
                if words[0].startswith("."):
                    assert (REPOSITORY / words[0]).stat().st_mode & 0o100, command


@pytest.mark.parametrize(
    ("hook", "name", "good", "bad"),
    [
        ("ruff", "m.py", '"""A module."""\n', "import os\n"),
        ("ruff-format", "m.py", "x = 1\n", "x=1\n"),
        ("yamllint", "m.yml", "---\na: 1\n", "a: 1\na: 2\n"),
        ("shellcheck", "m.sh", "#!/bin/sh\necho\n", "#!/bin/sh\nls $1\n"),
    ],
)
def test_a_hook_looks_at_the_files_of_a_commit(hook: str, name: str, good: str, bad: str, tmp_path: Path) -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    entry = next(entry["entry"] for entry in repository["hooks"] if entry["id"] == hook)
    program, *arguments = entry.split()
    command = [str(BIN / Path(program).name), *arguments, str(tmp_path / name)]
    outcomes = []
    for content in (good, bad):
        (tmp_path / name).write_text(content)
        outcomes.append(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode)
    assert outcomes[0] == 0 and outcomes[1] != 0, (hook, outcomes)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem
)
def test_an_issue_form_has_what_github_demands(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert form["name"] and form["description"]
    fields = [entry for entry in form["body"] if entry["type"] != "markdown"]
    assert fields and len({entry["id"] for entry in fields}) == len(fields)
    for entry in fields:
        assert entry["attributes"]["label"]
        assert entry["type"] != "dropdown" or all(isinstance(option, str) for option in entry["attributes"]["options"])
