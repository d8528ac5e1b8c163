# SPDX-License-Identifier: GPL-3.0-or-later
"""No module imports itself in a circle, be it for types only or inside a function: every part can be read by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Folder and the name that its modules have for an importer.
TREES = {
    "ml": "ml",
    "rehearsal/src/rehearsal": "rehearsal",
    "module_utils/fanops": "ansible.module_utils.fanops",
    "library": "",
    "plugins": "plugins",
}


def modules(root: Path, trees: dict[str, str] = TREES) -> dict[str, tuple[Path, bool]]:
    """Return path and whether it is a package of every module, by the name under which others import it."""
    found = {}
    for folder, prefix in trees.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [*prefix.split("."), *path.relative_to(root / folder).with_suffix("").parts]
            is_package = parts[-1] == "__init__"
            found[".".join(part for part in parts[: -1 if is_package else None] if part)] = (path, is_package)
    return found


def imported(path: Path, name: str, is_package: bool) -> Iterator[str]:
    """Yield the full name of everything that the file imports, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                yield f"{base}.{alias.name}"
                yield base


def graph(root: Path, trees: dict[str, str] = TREES) -> dict[str, set[str]]:
    """Return for every module the modules of this repository that it imports; a name in a module counts as the module."""
    known = modules(root, trees)
    edges: dict[str, set[str]] = {}
    for name, (path, is_package) in known.items():
        targets = set()
        for wanted in imported(path, name, is_package):
            if wanted in known:
                targets.add(wanted)
        # `from package import module` names both; what counts is the module, unless the package has names of its own.
        edges[name] = targets - {name} - {t for t in targets if any(o.startswith(f"{t}.") for o in targets)}
    return edges


def test_no_module_is_part_of_a_circle() -> None:
    edges = graph(ROOT)
    assert len(edges) > 200
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail("imports in a circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize(
    "back",
    [
        "from rehearsal.a import A",
        "from .a import A",
        "import rehearsal.a",
        "from rehearsal import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rehearsal.a import A",
        "def late():\n    from rehearsal.a import A",
    ],
)
def test_a_circle_is_found_wherever_its_import_stands(tmp_path: Path, back: str) -> None:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("from rehearsal.b import B\n")
    (tmp_path / "b.py").write_text(f"{back}\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(tmp_path, {".": "rehearsal"})).prepare()
