# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of the function: it runs from the layout in which it is deployed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import functions_framework
import pytest
from flask.testing import FlaskClient
from google.cloud.storage import Client

from tests.running_function import lay_out
from tests.unit.ml.model_fixtures import BUCKET, candidates, client, forests, storage_url  # noqa: F401


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the archive of the function holds."""
    return lay_out(tmp_path_factory.mktemp("deployed"))


@pytest.fixture
def start(
    deployed: Path,
    client: Client,  # noqa: F811
    storage_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., FlaskClient]]:
    """Start the function in this process, with an environment, and return a client of it."""
    path = list(sys.path)

    def starter(**environment: str) -> FlaskClient:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
        for name, value in {"MODEL_BUCKET": BUCKET, "MODEL_REFRESH_SECONDS": "0", **environment}.items():
            monkeypatch.setenv(name, value)
        for name in [name for name in sys.modules if name == "main" or name.startswith("sponsor_api")]:
            del sys.modules[name]  # settings are read when the modules are
        app = functions_framework.create_app("recommend_sponsor", str(deployed / "main.py"))
        sys.modules[
            "sponsor_api.state"
        ].LIVE.patience = 30  # a new release is there with the next request, however slow the machine
        test_client: FlaskClient = app.test_client()
        return test_client

    yield starter
    sys.path[:] = path
