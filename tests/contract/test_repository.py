# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository agrees with itself: specs with defaults, documents with code, production with its one rule."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import ansible_collections
import pytest
import yaml
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ROLES = sorted(path.name for path in (REPOSITORY / "roles").iterdir() if path.is_dir())
PRODUCTION = (
    "site.yml", "playbooks", "roles", "inventory", "library", "module_utils", "plugins", "pricing", "ml", "ansible.cfg", "requirements.yml",
)  # fmt: skip


def tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("role", ROLES)
def test_every_default_of_a_role_is_specified_and_every_role_is_whole(role: str) -> None:
    folder = REPOSITORY / "roles" / role
    for part in (
        "README.md",
        "defaults/main.yml",
        "meta/argument_specs.yml",
        "molecule/default/molecule.yml",
        "molecule/default/verify.yml",
        "molecule/alternative/molecule.yml",
        "molecule/alternative/converge.yml",
        "molecule/alternative/verify.yml",
    ):
        assert (folder / part).exists(), f"{role} has no {part}"
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text()) or {}
    options = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    assert set(defaults) <= set(options), f"not in argument_specs: {set(defaults) - set(options)}"
    for name, option in options.items():
        assert name.startswith(f"{role}_"), name
        assert option.get("description") and option.get("type"), name


def test_production_code_does_not_know_the_rehearsal() -> None:
    knowing = [
        str(path.relative_to(REPOSITORY))
        for path in tracked(*PRODUCTION)
        if path.is_file()
        and "molecule" not in path.parts
        and "rehears" in path.read_text(encoding="utf-8", errors="ignore").lower()
    ]
    assert knowing == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "library").glob("*.py")), ids=lambda path: path.stem)
def test_a_module_is_its_documentation_its_options_and_a_short_main(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert [node.name for node in defined] == ["main"], "what it does belongs into module_utils"
    statements = [node for node in ast.walk(defined[0]) if isinstance(node, ast.stmt)][2:]  # without def and docstring
    assert len(statements) <= 15, f"main has {len(statements)} statements"
    assigned = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    documented = {target.id for target in assigned if isinstance(target, ast.Name)}
    assert {"DOCUMENTATION", "EXAMPLES", "RETURN", "OPTIONS"} <= documented


def test_every_playbook_has_its_header_and_is_documented() -> None:
    documents = read("README.md") + read("docs/operations.md")
    for path in sorted((REPOSITORY / "playbooks").glob("*.yml")):
        text = path.read_text()
        for heading in ("Purpose:", "Changes:", "Safe to re-run?", "Variables:", "Example:"):
            assert heading in text, f"{path.name} has no {heading}"
        assert path.name in documents, f"{path.name} is in no document"


def test_no_jinja_expression_is_a_program() -> None:
    """What is longer, or decides more than one thing, is a filter with unit tests or an option of a module."""
    for path in tracked("playbooks", "roles", "inventory"):
        if path.suffix not in (".yml", ".j2"):
            continue
        for output, statement in re.findall(r"\{\{(.*?)\}\}(?!\})|\{%(.*?)%\}", path.read_text(), re.DOTALL):
            expression = " ".join((output or statement).split())
            assert len(expression) <= 200, f"{path.name}: {expression}"
            assert len(re.findall(r"\bif\b", expression)) <= 1, f"{path.name} nests conditions: {expression}"


def test_no_fact_is_set_for_a_callback() -> None:
    """A screen is the action runbook_screen; a fact is something that a later task reads."""
    texts = {
        path: path.read_text()
        for path in tracked("playbooks", "roles", "inventory", ".config/molecule")
        if path.suffix == ".yml"
    }
    everything = "\n".join(texts.values())
    for path, text in texts.items():
        for facts in re.findall(r"ansible\.builtin\.set_fact:\n((?: {4,}\S.*\n)+)", text):
            for name in re.findall(r"^ +([a-z_]+):", facts, re.MULTILINE)[:1]:
                assert len(re.findall(rf"\b{name}\b", everything)) > 1, f"{path.name} sets {name}, which no task reads"


def test_every_playbook_make_target_and_variable_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    variables = {
        name
        for path in (REPOSITORY / "inventory").glob("**/group_vars/all/*.yml")
        for name in yaml.safe_load(path.read_text()) or {}
    }
    documents = ("operations", "architecture", "presentation")
    for document in ("README.md", *(f"docs/{name}.md" for name in documents), "CONTRIBUTING.md"):
        text = read(document)
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
        for playbook in re.findall(r"playbooks/([a-z_]+\.yml)", text):
            assert (REPOSITORY / "playbooks" / playbook).exists(), f"{document}: {playbook}"
        asked = set(re.findall(r"-e ((?:training|function|vm|gcp|model)_[a-z_]+)=", text))
        assert asked <= variables, f"{document}: {asked - variables}"


def test_every_test_in_the_documents_exists() -> None:
    for document in tracked("docs", "rehearsal/docs", "README.md", "CONTRIBUTING.md"):
        if document.suffix != ".md":
            continue
        for path, name in re.findall(
            r"`((?:rehearsal/)?tests/[a-z_/]+\.py)(?:::([a-z0-9_]+))?`", document.read_text(encoding="utf-8")
        ):
            assert (REPOSITORY / path).is_file(), f"{document.name}: {path}"
            assert not name or f"def {name}(" in read(path), f"{document.name}: {path}::{name}"


def test_every_make_target_and_role_is_documented() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    assert targets == set(re.findall(r"`make ([a-z-]+)`", read("CONTRIBUTING.md")))
    assert set(ROLES) <= set(re.findall(r"^\| `([a-z_]+)` \|", read("docs/architecture.md"), re.MULTILINE))


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "inventory").glob("**/group_vars/**/*.yml")), ids=lambda p: p.stem
)
def test_every_variable_of_a_person_is_explained_where_it_is_set(path: Path) -> None:
    # What follows hands them on to roles, whose argument_specs explain theirs.
    own = re.split(r"^# --- (?:role|module)", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
    for paragraph in re.split(r"\n\s*\n", own):
        names = re.findall(r"^([a-z]\w*):", paragraph, re.MULTILINE)
        assert not names or re.search(r"^# \S", paragraph, re.MULTILINE), f"{path.name}: {names} without a comment"


def test_no_lock_file_names_an_index_and_every_pin_is_hashed() -> None:
    for path in [*(REPOSITORY / "requirements").glob("*.txt"), REPOSITORY / "ml/function/requirements.txt"]:
        text = path.read_text()
        assert "://" not in text, path.name
        pins = re.findall(r"^[a-zA-Z0-9][^\s;]*==", text, re.MULTILINE)
        entries = re.findall(r"^[a-zA-Z0-9].*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", text, re.MULTILINE)
        assert pins and len(pins) == len(entries), path.name


def test_the_collections_asked_for_are_carried_by_the_pinned_ansible() -> None:
    wanted = {entry["name"]: entry["version"] for entry in yaml.safe_load(read("requirements.yml"))["collections"]}
    for name, version in wanted.items():
        manifest = Path(next(iter(ansible_collections.__path__))) / name.replace(".", "/") / "MANIFEST.json"
        carried = json.loads(manifest.read_text())["collection_info"]["version"]
        assert carried in SpecifierSet(version), f"{name} {carried} is carried, {version} is asked for"
