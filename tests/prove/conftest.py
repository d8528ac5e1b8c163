# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs: sweeps too long for `make test`. Their rows go into docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import Rehearsal, cloud
from tests.rehearsal.owner import Owner

__all__ = ["cloud"]


@pytest.fixture
def owner(cloud: Rehearsal) -> Iterator[Owner]:
    """A quiet rehearsal that is up, and its owner; quiet again afterwards."""
    cloud.rehearsal("trouble", "clear")
    yield Owner(cloud)
    cloud.rehearsal("trouble", "clear")


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, list[tuple[object, ...]]]]:
    """The module's rows by the name of their table; recorded at the end under the module's HEADING."""
    found: dict[str, list[tuple[object, ...]]] = {}
    yield found
    module = request.module
    text = "\n\n".join(table(module.TABLES[name], found[name]) for name in module.TABLES if name in found)
    record(module.HEADING, module.COMMAND, text)


@pytest.fixture
def row(
    capsys: pytest.CaptureFixture[str], rows: dict[str, list[tuple[object, ...]]], request: pytest.FixtureRequest
) -> Callable[..., None]:
    """Keep one row of the table of this test, and print it at once, whatever pytest captures."""

    def show(*cells: object) -> None:
        rows.setdefault(request.function.__name__, []).append(cells)
        with capsys.disabled():
            print("\n| " + " | ".join(str(cell) for cell in cells) + " |", end="", flush=True)

    return show


@pytest.fixture
def empty_project(cloud: Rehearsal) -> Rehearsal:
    """A project in which nothing was ever done."""
    assert cloud.rehearsal("down", "--purge").code == 0
    cloud.up()
    return cloud
