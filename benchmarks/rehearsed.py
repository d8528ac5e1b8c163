# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal for a benchmark: it begins with an empty project, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tests.rehearsal.conftest import Rehearsal


class Play(Protocol):
    """What runs playbooks."""

    def __call__(self, *arguments: str) -> None:
        """Run ansible-playbook, say how long it took, and end the benchmark with its output where it fails."""


@contextmanager
def rehearsed(*images: str) -> Iterator[Play]:
    """Start a rehearsal that has the images; yield what runs playbooks on it."""
    cloud = Rehearsal()
    cloud.purge()
    cloud.up(*(part for image in images for part in ("--image", image)))

    def play(*arguments: str) -> None:
        outcome = cloud.playbook(*arguments)
        print(f"{' '.join(arguments)}: {outcome.seconds:.0f} s", flush=True)
        if outcome.code != 0:
            raise SystemExit(outcome.output)

    try:
        yield play
    finally:
        cloud.environment = {}
        cloud.purge()
