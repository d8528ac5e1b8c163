# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part of ml/ imports only the parts below it, wherever in a module the import stands."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: Folder, or module at the top of ml/ -> what else of ml/ it may import.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "progress": set(),
    "bucket": {"core"},
    "check_data": {"bucket", "core", "data"},
    "fingerprint": {"bucket", "core", "data"},
    "data": {"core", "bucket", "progress"},
    "arguments": {"core", "data", "fingerprint"},
    "forest": {"core", "data", "fingerprint", "progress"},
    "publish": {"core", "data", "forest", "arguments", "bucket", "progress"},
    "report": {"core", "forest", "fingerprint"},
    "function": {"core"},
    "train": {"core", "data", "forest", "publish", "report", "arguments", "bucket", "fingerprint", "progress"},
}


def room(path: Path) -> str:
    """Return the folder below ml/ that a module is in, or the name of a module at the top."""
    return path.relative_to(REPOSITORY / "ml").parts[0].removesuffix(".py")


def imported(source: str, package: str) -> Iterator[str]:
    """Yield the rooms that the source of a module in ``package`` imports."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("ml."))


def test_no_rule_leads_in_a_circle() -> None:
    left = dict(ALLOWED)
    while left:
        free = [name for name, below in left.items() if not below & set(left)]
        assert free, f"in a circle: {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "ml").rglob("*.py")), ids=lambda path: f"{room(path)}/{path.name}"
)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    if path == REPOSITORY / "ml/__init__.py":
        assert list(imported(path.read_text(encoding="utf-8"), "ml")) == []
        return
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)
    found = set(imported(path.read_text(encoding="utf-8"), package)) - {room(path)}
    assert found <= ALLOWED[room(path)]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "ml/core").glob("*.py")), ids=lambda path: path.name)
def test_core_can_be_imported_under_another_name(path: Path) -> None:
    # Ansible ships it to modules as a part of module_utils.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("ml"))


def test_a_file_is_named_by_what_it_holds_and_so_once() -> None:
    names = Counter(path.name for path in (REPOSITORY / "ml").rglob("*.py") if path.name != "__init__.py")
    shared = (path.resolve() for path in (REPOSITORY / "module_utils").rglob("*.py"))
    others = {path.name for path in shared if REPOSITORY / "ml" not in path.parents}
    assert [name for name, count in names.items() if count > 1 or name in others] == []
