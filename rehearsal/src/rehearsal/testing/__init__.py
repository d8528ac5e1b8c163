# SPDX-License-Identifier: GPL-3.0-or-later
"""The test kit, a plugin of pytest: a cloud in this process, in a folder of the test's own.

Store, identity, log, gateway and every service are the real ones; objects are kept by the real storage server, one for
the whole session. Only what needs the machine (guests, images, containers, network) is in memory.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

import rehearsal.services.handlers  # noqa: F401 - registers them
from rehearsal.cloud import ControlPlane
from rehearsal.daemon import storage_command
from rehearsal.services.functions import instances
from rehearsal.services.functions.lifecycle import stop_functions
from rehearsal.services.iam.identity import Identity
from rehearsal.settings import Settings, load
from rehearsal.store import Store
from rehearsal.testing.memory import MemoryContainers, MemoryGuests, MemoryImages, MemoryMetadata, MemoryNetwork
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


@pytest.fixture(scope="session")
def storage_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the storage server keeps its objects."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def storage_port() -> int:
    """Return the port that the storage server has for the whole session."""
    return free_port()


class MemoryCloud(ControlPlane):
    """The cloud on a machine in memory; `dispatch` answers requests as the front door would hand them on."""

    def __init__(self, settings: Settings, router: Router) -> None:
        super().__init__(settings)
        # They have what the services use of the real ones, not their types.
        vars(self).update(
            guests=MemoryGuests(),
            images=MemoryImages(),
            containers=MemoryContainers(),
            network=MemoryNetwork(),
            metadata=MemoryMetadata(),
        )
        cloud: Any = self
        self.dispatch = Gateway(cloud, router).dispatch


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Settings], None]:
    """Return a function that fills a rehearsal's home with what exists from the start: accounts with their keys.

    RSA keys take longer to make than most tests, so they are made once for each project, and copied.
    """
    made: dict[tuple[str, Path | None], Path] = {}

    def fill(settings: Settings) -> None:
        kind = (settings.project_id, settings.deployer_role)
        if kind not in made:
            template = replace(settings, home=tmp_path_factory.mktemp("home"))
            store = Store(template.home / "state.sqlite")
            Identity(template, store).ensure_default_accounts()
            store.close()
            made[kind] = template.home
        shutil.copytree(made[kind], settings.home, dirs_exist_ok=True)

    return fill


@pytest.fixture
def control_plane(
    tmp_path: Path, router: Router, storage_port: int, new_home: Callable[[Settings], None]
) -> Iterator[Any]:
    """A cloud with nothing in it. Its type is Any: tests replace parts of it."""
    settings = replace(load(), home=tmp_path, cache=tmp_path / "cache", storage_port=storage_port)
    new_home(settings)
    cloud = MemoryCloud(settings, router)
    yield cloud
    cloud.log.close()
    cloud.store.close()


@pytest.fixture
def instant_functions(control_plane: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryContainers]:
    """Let functions be deployed without a build, and answer as soon as they are started."""
    monkeypatch.setattr(instances, "listens", lambda address: True)
    yield control_plane.containers
    stop_functions(control_plane)


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
        for _ in range(3000):
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


@pytest.fixture(scope="session")
def session_storage_server(storage_home: Path, storage_port: int) -> Iterator[StorageServer]:
    """The one storage server of the session: starting it takes longer than most tests."""
    server = StorageServer(replace(load(), home=storage_home, storage_port=storage_port))
    yield server
    server.stop()


@pytest.fixture
def storage_server(session_storage_server: StorageServer, storage_home: Path) -> Iterator[StorageServer]:
    """The storage server behind the gateway, without buckets."""
    yield session_storage_server
    for entry in (storage_home / "storage").iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
