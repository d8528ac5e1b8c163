# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of ml/."""

from __future__ import annotations

from tests.unit.ml.model_fixtures import candidates, client, forests, storage_url  # noqa: F401
