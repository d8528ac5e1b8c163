# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of the function: it runs from the layout in which it is deployed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "ml"))

from model_fixtures import BUCKET, candidates, client, forests, storage_url  # noqa: E402, F401


@pytest.fixture(scope="session")
def deployed(tmp_path_factory) -> Path:
    """A folder with what the archive of the function holds."""
    folder = tmp_path_factory.mktemp("deployed")
    shutil.copytree(ROOT / "ml", folder / "ml", ignore=shutil.ignore_patterns("function", "__pycache__"))
    shutil.copy(ROOT / "ml" / "function" / "main.py", folder)
    return folder


@pytest.fixture
def start(deployed, client, storage_url, monkeypatch) -> Iterator[Callable[..., FlaskClient]]:  # noqa: F811
    """Start the function in this process, with an environment, and return a client of it."""
    path = list(sys.path)

    def starter(**environment: str) -> FlaskClient:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
        for name, value in {"MODEL_BUCKET": BUCKET, "MODEL_REFRESH_SECONDS": "0", **environment}.items():
            monkeypatch.setenv(name, value)
        return functions_framework.create_app("recommend_sponsor", str(deployed / "main.py")).test_client()

    yield starter
    sys.path[:] = path
    sys.modules.pop("main", None)
