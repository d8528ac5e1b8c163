# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields, values and sponsors are data: no code but the rules of the synthetic rows names one, and the documents follow."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ml.core.schema import DEFAULT
from ml.data import rules

REPOSITORY = Path(__file__).resolve().parents[2]
#: What draws the default's rows, and a screenplay.
EXEMPT = {"ml/data/rules.py", "ml/data/synthetic.py", "playbooks/vars/demonstration.yml"}
CODE = ("ml", "module_utils", "library", "plugins", "roles", "playbooks", "inventory")
#: Documentation that modules carry in strings.
DOCUMENTED = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
NAMES = {value for field in DEFAULT.choices for value in field.values} - {"None"} | set(DEFAULT.classes)
FIELDS = DEFAULT.names - {"zone", "event"}  # which are Google's words, too


def python_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are no documentation, and its names of attributes and keywords."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                documented.add(id(first.value))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in DOCUMENTED:
            documented.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword):
            yield node.arg or ""


def yaml_texts(value: object) -> Iterator[str]:
    """Yield the texts of a YAML document, without its comments."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from yaml_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from yaml_texts(inner)
    else:
        yield str(value)


def texts(path: Path) -> Iterator[str]:
    """Yield what a file of code says."""
    if path.suffix == ".py":
        yield from python_texts(path)
    elif path.suffix == ".yml":
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield from yaml_texts(document)
    else:
        yield path.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", CODE)
def test_no_code_names_a_zone_an_event_or_a_sponsor(folder: str) -> None:
    named = re.compile(rf"\b({'|'.join(map(re.escape, sorted(NAMES | FIELDS)))})\b")
    whole = {name for name in NAMES if name in ("North", "South", "East", "West", "Orange", "Card", "Goal")}
    paths = [
        path
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".html", ".yml", ".j2")
        and "molecule" not in path.parts
        and path.relative_to(REPOSITORY).as_posix() not in EXEMPT
    ]
    assert paths
    for path in paths:
        for text in texts(path):
            found = {
                name for name in named.findall(text) if name not in whole or name == text or path.suffix == ".html"
            }
            assert not found, f"{path.relative_to(REPOSITORY)} names {', '.join(found)}: {text[:120]!r}"


def test_the_test_can_fail(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        '"""VIP."""\nZONE = ["VIP"]\nrow.crowd_density = f(temperature=1)\n', encoding="utf-8"
    )
    assert {"VIP", "crowd_density", "temperature"} <= set(python_texts(tmp_path / "x.py"))
    assert "VIP." not in set(python_texts(tmp_path / "x.py"))


def test_the_rules_know_the_default_and_nothing_more() -> None:
    assert rules.unknown(DEFAULT) == []
    assert {*rules.NUMBERS, *rules.SHARES} == DEFAULT.names
    assert {name: tuple(shares) for name, shares in rules.SHARES.items()} == {f.name: f.values for f in DEFAULT.choices}
    assert {rule.sponsor for rule in rules.RULES} == set(DEFAULT.classes)


def test_the_table_of_columns_in_the_documents_follows_from_the_description() -> None:
    rows = []
    for field in DEFAULT.table:
        what = {int: "whole number", float: "number"}.get(field.kind)
        said = ", ".join(field.values) if what is None else f"{what}, {field.minimum:g} to {field.maximum:g}"
        default = "required" if field.default is None else f"{field.default:g}" if what else field.default
        rows.append(f"| `{field.name}` | {field.description} | {said} | {default} |")
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    expected = "\n".join(["| column | meaning | values | API's default |", "| --- | --- | --- | --- |", *rows])
    assert expected in text, f"docs/operations.md must have:\n{expected}"
