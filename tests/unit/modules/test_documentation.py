# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's documentation says is what it does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.fanops.options import SHARED_DOCUMENTATION, SHARED_OPTIONS

LIBRARY = Path(__file__).parents[3] / "library"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.py"))


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
    described = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert documented(described, "suboptions") == documented(module.OPTIONS, "options")


def test_names_agree_with_file(module: Any) -> None:
    assert yaml.safe_load(module.DOCUMENTATION)["module"] == module.__name__


def test_attributes_are_stated(module: Any) -> None:
    attributes = yaml.safe_load(module.DOCUMENTATION)["attributes"]
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


def test_shared_options_are_described_alike(module: Any) -> None:
    if "project" in module.OPTIONS:  # the others run on the VM and talk to no Google API
        timeout = module.OPTIONS["timeout"]["default"]
        assert SHARED_DOCUMENTATION.format(timeout=timeout) in module.DOCUMENTATION


def test_shared_documentation_describes_all_shared_options() -> None:
    described = yaml.safe_load(SHARED_DOCUMENTATION.format(timeout=300))
    assert documented(described, "suboptions") == documented(SHARED_OPTIONS, "options")


def test_secrets_are_not_logged(module: Any) -> None:
    if "access_token" in module.OPTIONS:
        assert module.OPTIONS["access_token"]["no_log"] is True
