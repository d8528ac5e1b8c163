# SPDX-License-Identifier: GPL-3.0-or-later
"""A command in a network of its own: what it sees, and that nothing of it stays behind, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.machine import isolation
from rehearsal.machine.network import NETNS_DIRECTORY
from rehearsal.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cache=tmp_path / "cache")


def traces(name: str) -> list[str]:
    """Return what is there of the network `name`: its namespace, its link, its rules."""
    namespace, link, subnet = isolation.names(name)
    found = [str(path) for path in NETNS_DIRECTORY.glob(namespace)]
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    found += [entry["ifname"] for entry in links if entry["ifname"] == link]
    for table in ("nat", "filter"):
        rules = subprocess.run(["iptables", "--wait", "-t", table, "-S"], capture_output=True, text=True, check=True)
        found += [rule for rule in rules.stdout.splitlines() if f"{subnet}." in rule]
    return found


def started(settings: Settings, name: str) -> subprocess.Popen[bytes]:
    """Start a command that waits in the network `name`, and return once it is there."""
    code = f"from rehearsal.cli import main; import sys; sys.exit(main(['isolate', {name!r}, 'sh', '-c', 'echo; sleep 600']))"
    environment = {
        "REHEARSAL_HOME": str(settings.home),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": ":".join(sys.path),
    }
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()  # waits for the command's own line
    process.stdout.close()
    return process


def test_a_command_sees_a_machine_with_one_link_and_its_exit_code_is_passed_on(
    settings: Settings, tmp_path: Path
) -> None:
    seen = tmp_path / "links.json"
    script = f'ip -json link > {seen}; echo "$REHEARSAL_HOME" > {tmp_path}/home; exit 7'
    assert isolation.run(settings, "unit-a", ["sh", "-c", script]) == 7
    assert {entry["ifname"] for entry in json.loads(seen.read_text())} == {"lo", "eth0"}
    home = Path((tmp_path / "home").read_text().strip())
    assert home.is_relative_to(settings.home) and home != settings.home and not home.exists()
    assert traces("unit-a") == []


def test_the_end_of_one_command_does_not_cut_another_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarding, namespaces = tmp_path / "ip_forward", tmp_path / "netns"
    forwarding.write_text("0\n")
    namespaces.mkdir()
    monkeypatch.setattr(isolation, "FORWARDING", forwarding)
    monkeypatch.setattr(isolation, "FORWARDED_BEFORE", tmp_path / "before")
    monkeypatch.setattr(isolation, "NETNS_DIRECTORY", namespaces)  # what else runs on this machine does not count
    with isolation.network("unit-b"):
        (namespaces / "isolated-unit-b").touch()
        with isolation.network("unit-c"):
            assert forwarding.read_text().strip() == "1"
        assert forwarding.read_text().strip() == "1"
        (namespaces / "isolated-unit-b").unlink()
    assert forwarding.read_text().strip() == "0"
    assert traces("unit-b") == traces("unit-c") == []


def test_a_command_that_is_terminated_leaves_nothing(settings: Settings) -> None:
    process = started(settings, "unit-d")
    assert len(traces("unit-d")) == 5
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert traces("unit-d") == []


def test_what_a_killed_command_left_is_replaced(settings: Settings) -> None:
    process = started(settings, "unit-e")
    orphans = ["ip", "netns", "pids", isolation.names("unit-e")[0]]
    process.kill()
    process.wait()
    left = subprocess.run(orphans, capture_output=True, text=True, check=True).stdout.split()
    assert left and len(traces("unit-e")) == 5
    assert isolation.run(settings, "unit-e", ["true"]) == 0
    subprocess.run(["kill", *left], check=True)
    assert traces("unit-e") == []
