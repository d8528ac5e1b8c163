# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's documentation says is what it does."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
LIBRARY = REPOSITORY / "library"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.py"))


@cache
def rendered() -> dict[str, Any]:
    """What ``ansible-doc`` makes of every module, from the repository's root as a person would call it."""
    command = [str(Path(sys.executable).parent / "ansible-doc"), "--json", "--type=module", *NAMES]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def documentation(module: Any) -> dict[str, Any]:
    """A module's documentation, with the fragments that it extends."""
    content: dict[str, Any] = rendered()[module.__name__]["doc"]
    return content


def documented(options: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """Options reduced to what documentation and argument spec have in common; ``key`` names their suboptions."""
    facts = ("type", "required", "default", "choices", "elements")
    reduced: dict[str, Any] = {}
    for name, option in (options or {}).items():
        reduced[name] = {
            fact: option[fact]
            for fact in facts
            if option.get(fact) not in (None, False) or (fact == "default" and fact in option)
        }
        reduced[name].setdefault("type", "str")
        if option.get(key):
            reduced[name]["options"] = documented(option[key], key)
    return reduced


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def test_options_agree_with_argument_spec(module: Any) -> None:
    described = documentation(module)["options"]
    assert documented(described, "suboptions") == documented(module.OPTIONS, "options")


def test_names_agree_with_file(module: Any) -> None:
    assert documentation(module)["module"] == module.__name__


def test_attributes_are_stated(module: Any) -> None:
    attributes = documentation(module)["attributes"]
    assert attributes["check_mode"]["support"] == "full"
    assert attributes["diff_mode"]["support"] in ("full", "none")


def test_examples_use_known_options(module: Any) -> None:
    tasks = yaml.safe_load(module.EXAMPLES)
    uses = [task for task in tasks if module.__name__ in task]
    assert uses
    for task in uses:
        assert set(task[module.__name__]) <= set(module.OPTIONS)
        required = {name for name, option in module.OPTIONS.items() if option.get("required")} - {"project"}
        assert required <= set(task[module.__name__])


def test_returns_are_described(module: Any) -> None:
    for name, value in yaml.safe_load(module.RETURN).items():
        assert value["description"] and value["returned"] and value["type"], name


def test_secrets_are_not_logged(module: Any) -> None:
    if "access_token" in module.OPTIONS:
        assert module.OPTIONS["access_token"]["no_log"] is True
