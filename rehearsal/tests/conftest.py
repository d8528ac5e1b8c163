# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of the rehearsal have a configuration of their own, wherever they are started."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `settings.load` read this folder's `rehearsal.toml`."""
    monkeypatch.setenv("REHEARSAL_CONFIG", str(Path(__file__).with_name("rehearsal.toml")))
