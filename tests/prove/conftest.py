# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs: sweeps too long for `make test`. Their rows go into docs/reliability.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import Rehearsal, cloud
from tests.rehearsal.owner import Owner

__all__ = ["cloud"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed: a sweep goes on for half an hour."""
    if report.failed:
        print(f"\nFAILED {report.nodeid}\n{report.longreprtext[-3000:]}", file=sys.__stderr__, flush=True)


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
    cloud.purge()
    cloud.up()
    return cloud
