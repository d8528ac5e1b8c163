# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane without guests: the real store, identity, log and gateway, in a folder of the test's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from rehearsal.cloud import ControlPlane
from rehearsal.daemon import storage_command
from rehearsal.settings import Settings, load
from rehearsal.wire.discovery import Router
from rehearsal.wire.gateway import Gateway

Ask = Callable[..., TestResponse]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def router() -> Router:
    """Google's discovery documents, read once."""
    return Router()


@pytest.fixture
def control_plane(tmp_path: Path, router: Router) -> Iterator[Any]:
    """The cloud as far as it needs no guests; `dispatch` answers requests as the front door would hand them on."""
    settings = replace(load(), home=tmp_path, cache=tmp_path / "cache", storage_port=free_port())
    cloud: Any = ControlPlane(settings)
    cloud.identity.ensure_default_accounts()
    cloud.dispatch = Gateway(cloud, router).dispatch
    yield cloud
    cloud.log.close()
    cloud.store.close()


@pytest.fixture
def ask(control_plane: Any) -> Ask:
    """Send one request to the gateway as the project's owner; `headers={}` sends it anonymously."""
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]

    def send(verb: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        host, _, target = url.removeprefix("https://").partition("/")
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} if headers is None else headers
        return control_plane.dispatch(verb, host, f"/{target}", sent, body)

    return send


class StorageServer:
    """The storage server behind the gateway; `restart` ends it and starts it on the same files."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start()

    def start(self) -> None:
        """Start it, and return once it listens."""
        command = storage_command(self.settings)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.settings.storage_port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("the storage server does not listen")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)

    def restart(self) -> None:
        """End it and start it on the same files."""
        self.stop()
        self.start()


@pytest.fixture
def storage_server(control_plane: Any) -> Iterator[StorageServer]:
    """The storage server behind the gateway."""
    server = StorageServer(control_plane.settings)
    yield server
    server.stop()
