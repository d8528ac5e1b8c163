# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rehearsal.machine import network
from rehearsal.machine.network import Network, NetworkError
from rehearsal.settings import Settings


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []

    def record(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
        said.append(" ".join(arguments))
        said.extend((stdin or "").splitlines())
        return ""

    monkeypatch.setattr(network, "_ip", record)
    monkeypatch.setattr(network, "_link_exists", lambda name: False)
    return said


def test_mac_address_is_what_compute_engine_gives() -> None:
    assert network.mac_address("10.128.0.2") == "42:01:0a:80:00:02"


def test_link_names_fit_the_kernel_and_differ_by_bridge_and_guest() -> None:
    one, other = Network(Settings(bridge="rehearsal0")), Network(Settings(bridge="rehearsal1"))
    names = {one._link("a" * 80), one._link("b" * 80), other._link("a" * 80)}
    assert len(names) == 3
    assert all(len(name) <= 15 for name in names)


def test_attach_gives_address_route_and_external_address(commands: list[str]) -> None:
    path = Network(Settings()).attach("vm-1", "10.128.0.2", "203.0.113.7")
    assert path == "/run/netns/rehearsal0-vm-1"
    assert "address add 10.128.0.2/20 dev eth0" in commands
    assert "route add default via 10.128.0.1 dev eth0 src 10.128.0.2" in commands
    assert "-n rehearsal0-vm-1 address replace 203.0.113.7/32 dev eth0" in commands


def test_attach_refuses_an_address_of_another_network(commands: list[str]) -> None:
    with pytest.raises(NetworkError, match=r"192\.168\.0\.2 is not in the rehearsal's network 10\.128\.0\.0/20"):
        Network(Settings()).attach("vm-1", "192.168.0.2")
    assert commands == []


def test_a_host_in_the_same_network_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"eth0 already has 10\.128\.1\.5/16"):
        Network(Settings())._refuse_overlap([("eth0", "10.128.1.5", 16)])
    Network(Settings())._refuse_overlap([("rehearsal0", "10.128.0.1", 20), ("eth0", "192.168.1.2", 24)])


def test_namespaces_are_only_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rehearsal0-vm-1", "rehearsal01-vm-2", "cni-3"):
        (tmp_path / name).touch()
    monkeypatch.setattr(network, "NETNS_DIRECTORY", tmp_path)
    assert Network(Settings()).namespaces() == ["rehearsal0-vm-1"]


@pytest.mark.parametrize(("flavor", "refused"), [("Google", True), ("", False)])
def test_a_google_machine_is_recognised_by_its_metadata_server(
    flavor: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if flavor:
                self.send_header("Metadata-Flavor", flavor)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connect = http.client.HTTPConnection
    monkeypatch.setattr(
        http.client,
        "HTTPConnection",
        lambda host, port, timeout: connect(host, server.server_address[1], timeout=timeout),
    )
    try:
        if refused:
            with pytest.raises(NetworkError, match=r"already has a metadata server on 127\.0\.0\.1"):
                network.refuse_google_host("127.0.0.1")
        else:
            network.refuse_google_host("127.0.0.1")
    finally:
        server.shutdown()
        server.server_close()
