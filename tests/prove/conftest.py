# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs use the same rehearsal as the end-to-end tests."""

from __future__ import annotations

from tests.rehearsal.conftest import cloud

__all__ = ["cloud"]
