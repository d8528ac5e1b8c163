# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs: sweeps too long for `make test`. Each prints the rows that docs/reliability.md shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.rehearsal.conftest import Rehearsal, cloud
from tests.rehearsal.owner import Owner

__all__ = ["cloud"]


@pytest.fixture
def owner(cloud: Rehearsal) -> Iterator[Owner]:
    """A quiet rehearsal that is up, and its owner; quiet again afterwards."""
    cloud.rehearsal("trouble", "clear")
    yield Owner(cloud)
    cloud.rehearsal("trouble", "clear")


@pytest.fixture
def row(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Print one row of a table at once, whatever pytest captures."""

    def show(*cells: object) -> None:
        with capsys.disabled():
            print("\n| " + " | ".join(str(cell) for cell in cells) + " |", end="", flush=True)

    return show


@pytest.fixture
def empty_project(cloud: Rehearsal) -> Rehearsal:
    """A project in which nothing was ever done."""
    assert cloud.rehearsal("down", "--purge").code == 0
    cloud.up()
    return cloud
