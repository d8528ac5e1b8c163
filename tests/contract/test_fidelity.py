# SPDX-License-Identifier: GPL-3.0-or-later
"""rehearsal/docs/fidelity.md says of the rehearsal what is so: its tests exist, its sources are named, its methods are those registered."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal.wire import methods

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCUMENT = (REPOSITORY / "rehearsal/docs/fidelity.md").read_text(encoding="utf-8")
HEADER = "| Behaviour | Here | How it is known | Test |"
STATES = ("as Google", "differs: ", "absent")
KINDS = {"discovery", "documentation", "client", "recording", "report", "assumed"}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    behaviour: str
    state: str
    known: str
    test: str

    @property
    def tests(self) -> list[str]:
        """The tests that it names, as pytest takes them."""
        return re.findall(r"`([^`]+)`", self.test)

    @property
    def kinds(self) -> set[str]:
        """The kinds of its sources."""
        return {source.partition(":")[0] for source in self.known.split("; ")}


def rows() -> list[Row]:
    found = []
    for table in DOCUMENT.split(HEADER)[1:]:
        lines = table.partition("\n\n")[0].splitlines()[2:]
        found += [Row(*(cell.strip() for cell in line.strip("|").split(" | "))) for line in lines]
    return found


ROWS = rows()


def functions(path: Path) -> set[str]:
    """The tests of a file: `test_a`, or `TestB::test_c`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {f"{prefix}{member.name}" for member in members if isinstance(member, ast.FunctionDef)}
    return found


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 90 and DOCUMENT.count(HEADER) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.behaviour[:60])
def test_a_row_has_a_state_a_known_source_and_tests_that_exist(row: Row) -> None:
    assert row.state == STATES[0] or row.state.startswith(STATES[1:]), row.state
    assert row.kinds <= KINDS, row.kinds - KINDS
    assert ("documentation" in row.kinds) == ("][" in row.known), "documentation is named by its page"
    assert row.tests or row.test == "not tested", row.test
    for name in row.tests:
        file, _, function = name.partition("::")
        assert function in functions(REPOSITORY / file), name


def test_pages_of_documentation_are_google_clouds_and_each_is_used() -> None:
    defined = dict(re.findall(r"^\[([a-z-]+)\]: (\S+)$", DOCUMENT, re.MULTILINE))
    assert all(address.startswith("https://cloud.google.com/") for address in defined.values())
    assert {name for row in ROWS for name in re.findall(r"\]\[([a-z-]+)\]", row.known)} == set(defined)


def test_the_methods_are_those_that_are_registered() -> None:
    listed = {
        f"{resource}.{verb}"
        for resource, verbs in re.findall(
            r"^\| `([\w.]+)` \| (`.*`) \|$", DOCUMENT.partition("## Methods")[2], re.MULTILINE
        )
        for verb in re.findall(r"`(\w+)`", verbs)
    }
    registered = methods.discovered() | methods.endpoints()
    assert listed - registered == set(), "listed, and no handler has it"
    assert registered - listed == set(), "registered, and not listed: rehearsal methods --output markdown"
    assert methods.listing() in DOCUMENT, "replace the tables by what rehearsal methods --output markdown prints"
