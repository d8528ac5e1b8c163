# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute behind the real gateway, store and identity; guests, images and the metadata server are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compute_world import PROJECT, World


@pytest.fixture
def world(control_plane: Any, ask: Any) -> Iterator[World]:
    """A project with Compute enabled and no VM. Every answer must have been as Google's schema says."""
    control_plane.identity.services.enable(PROJECT, "compute.googleapis.com")
    made = World(control_plane, ask)
    made.start()
    yield made
    made.guests.gate.set()
    made.guests.stubborn = False
    made.stop()
    bad = [entry for entry in control_plane.log.entries() if entry.violations.startswith("answer:")]
    assert not bad, bad
