# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine schedules, the other works; what they show each other only they can read."""

from __future__ import annotations

import pytest
from testinfra.host import Host


def node(host: Host) -> str:
    """The Debian 11 guest is the scheduler, the Debian 12 guest its worker."""
    return "scheduler" if host.check_output("hostname").endswith("11") else "worker"


def test_the_unit_runs_now_and_not_after_a_boot(host: Host) -> None:
    name = f"fanops-dask-{node(host)}"
    assert host.service(name).is_running
    # without an [Install] section nothing can want it at boot
    assert host.check_output(f"systemctl is-enabled {name}") == "static"


def test_it_does_not_run_as_root(host: Host) -> None:
    process = host.check_output(f"systemctl show --property=MainPID --value fanops-dask-{node(host)}")
    assert host.check_output(f"stat --format=%U /proc/{process}") == "fanops-training"


def test_only_the_scheduler_listens(host: Host) -> None:
    listening = [socket for socket in host.socket.get_listening_sockets() if socket.endswith(":8786")]
    assert bool(listening) == (node(host) == "scheduler")


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
def test_certificate_and_key_are_for_the_account_only(host: Host, name: str) -> None:
    file = host.file(f"/etc/fanops-dask/{name}")
    assert (file.user, file.group, file.mode) == ("root", "fanops-training", 0o640)


def test_the_authoritys_key_is_not_there(host: Host) -> None:
    assert not host.file("/etc/fanops-dask/ca-key.pem").exists
