# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import subprocess
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from rehearsal.machine.containers import ContainerError
from rehearsal.machine.guest import agent, recipe
from rehearsal.machine.guests import REBOOT_EXIT_CODE, GuestError, Guests, container_name, parse_console, wait_for_exit
from rehearsal.settings import Settings

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)


class Machines:
    """Containers whose process 1 is a real process of this machine, so that the watcher watches something real."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes] | None] = {}
        self.memory: dict[str, int] = {}
        self.exit_code = 0
        self.starts = 0

    def create(self, name: str, image: str, *, memory_bytes: int, **options: Any) -> None:
        self.processes[name], self.memory[name] = None, memory_bytes

    def start(self, name: str) -> None:
        if name not in self.processes:
            raise ContainerError(f"no container {name}")
        self.processes[name] = subprocess.Popen(["sleep", "60"])
        self.starts += 1

    def stop(self, name: str, timeout: float) -> None:
        self.power_off(name)

    def power_off(self, name: str) -> None:
        process, self.processes[name] = self.processes[name], None
        if process:
            process.kill()
            process.wait()

    def remove(self, name: str) -> None:
        if name in self.processes:
            self.power_off(name)
            del self.processes[name]

    def is_running(self, name: str) -> bool:
        return self.processes.get(name) is not None

    def state(self, name: str) -> dict[str, Any]:
        process = self.processes[name]
        return {"ConmonPid": process.pid if process else 0}

    def exit_info(self, name: str) -> tuple[int, bool]:
        return self.exit_code, False

    def update_memory(self, name: str, memory_bytes: int) -> None:
        self.memory[name] = memory_bytes


class Wires:
    def __init__(self) -> None:
        self.attached: dict[str, tuple[str, str | None]] = {}

    def attach(self, name: str, internal_ip: str, external_ip: str | None = None) -> str:
        self.attached[name] = (internal_ip, external_ip)
        return f"/run/netns/{name}"

    def set_external(self, name: str, external_ip: str | None) -> None:
        self.attached[name] = (self.attached[name][0], external_ip)

    def detach(self, name: str) -> None:
        self.attached.pop(name, None)


class Setup:
    def __init__(self, tmp_path: Path) -> None:
        self.machines, self.wires = Machines(), Wires()
        images = types.SimpleNamespace(ensure=lambda family: f"localhost/{family}")
        self.guests = Guests(Settings(home=tmp_path), self.wires, self.machines, images)  # type: ignore[arg-type]
        self.down: list[str] = []
        self.noticed = threading.Event()

        def notice(guest_id: str) -> None:
            self.down.append(guest_id)
            self.noticed.set()

        self.guests.on_power_off = notice
        self.guests.create("7", hostname="vm.c.internal", family="debian-12", memory_bytes=1, internal_ip="10.128.0.2")


@pytest.fixture
def setup(tmp_path: Path) -> Any:
    made = Setup(tmp_path)
    yield made
    made.guests.delete("7")


def test_a_guest_that_powers_itself_off_is_noticed(setup: Setup) -> None:
    setup.guests.start("7", "203.0.113.5")
    assert setup.wires.attached["vm-7"] == ("10.128.0.2", "203.0.113.5")
    assert setup.guests.is_running("7")
    setup.machines.power_off("vm-7")
    assert setup.noticed.wait(2)
    assert setup.down == ["7"] and setup.wires.attached == {}


def test_a_stop_that_was_asked_for_is_not_reported(setup: Setup) -> None:
    setup.guests.start("7")
    setup.guests.stop("7")
    setup.guests.stop("7")
    assert not setup.noticed.wait(0.3)
    assert setup.wires.attached == {}


def test_a_reboot_starts_the_guest_again(setup: Setup) -> None:
    setup.guests.start("7", "203.0.113.5")
    setup.machines.exit_code = REBOOT_EXIT_CODE
    setup.machines.power_off("vm-7")
    for _ in range(100):
        if setup.machines.starts == 2:
            break
        threading.Event().wait(0.02)
    assert setup.guests.is_running("7") and not setup.noticed.is_set()
    setup.machines.exit_code = 0
    setup.machines.power_off("vm-7")
    assert setup.noticed.wait(2)


def test_starting_a_running_guest_only_moves_its_external_address(setup: Setup) -> None:
    setup.guests.start("7", "203.0.113.5")
    setup.guests.start("7", "203.0.113.6")
    assert setup.machines.starts == 1
    assert setup.wires.attached["vm-7"] == ("10.128.0.2", "203.0.113.6")
    setup.machines.power_off("vm-7")
    assert setup.noticed.wait(2)
    assert setup.down == ["7"]


def test_memory_set_while_off_holds_at_the_next_start(setup: Setup) -> None:
    setup.guests.set_memory("7", 4096)
    assert setup.machines.memory["vm-7"] == 1
    setup.guests.start("7")
    assert setup.machines.memory["vm-7"] == 4096


def test_an_unknown_guest_is_one_line(setup: Setup) -> None:
    with pytest.raises(GuestError, match="there is no guest 8"):
        setup.guests.start("8")
    setup.guests.delete("8")
    assert setup.guests.ids() == ["7"]


def test_podmans_reason_reaches_the_caller(setup: Setup) -> None:
    del setup.machines.processes["vm-7"]
    with pytest.raises(GuestError, match="guest vm-7: no container vm-7"):
        setup.guests.start("7")


def test_console_is_the_last_megabyte_across_boots(setup: Setup) -> None:
    folder = setup.guests.home / "vm-7"
    (folder / "console.log.1").write_bytes(b"t stdout F first boot\r\n")
    (folder / "console.log").write_bytes(b"t stdout P half \nt stdout F line\r\nt stdout F " + b"x" * (1 << 20) + b"\n")
    console = setup.guests.console("7")
    assert len(console) == 1 << 20
    (folder / "console.log").write_bytes(b"t stdout P half \nt stdout F line\r\n")
    assert setup.guests.console("7") == b"first boot\r\nhalf line\r\n"


def test_console_lines_keep_their_blanks() -> None:
    assert parse_console(b"t stdout F   two  blanks\nt stdout F \n") == b"  two  blanks\n\n"


def test_container_names_are_valid_and_unlike() -> None:
    names = {container_name(text) for text in ("p/z/vm", "p-z-vm", "p/z-vm", "x" * 60, "x" * 61)}
    assert len(names) == 5
    assert all(len(name) <= 52 and name.replace("-", "").isalnum() for name in names)


def test_waiting_for_a_process_that_is_gone_returns() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    wait_for_exit(process.pid)
    wait_for_exit(0)


# -- the agent inside ----------------------------------------------------------------------------------------------------


def test_ssh_keys_become_accounts() -> None:
    text = "ansible:ssh-ed25519 AAAA a comment\nansible:ssh-rsa BBBB\n\nnonsense\nBad User:ssh-rsa C\nbob:ssh-rsa\n"
    assert agent.parse_ssh_keys(text, NOW) == {"ansible": ["ssh-ed25519 AAAA a comment", "ssh-rsa BBBB"]}


@pytest.mark.parametrize(("expiry", "valid"), [("2027-01-01T00:00:00+0000", True), ("2026-01-01T00:00:00+0000", False)])
def test_keys_expire(expiry: str, valid: bool) -> None:
    line = f'u:ssh-rsa AAAA google-ssh {{"userName":"u@x","expireOn":"{expiry}"}}'
    assert bool(agent.parse_ssh_keys(line, NOW)) is valid


def test_project_keys_count_unless_blocked() -> None:
    tree: dict[str, Any] = {
        "instance": {"attributes": {"ssh-keys": "a:ssh-rsa A"}},
        "project": {"attributes": {"ssh-keys": "b:ssh-rsa B"}},
    }
    assert set(agent.wanted_accounts(tree, NOW)) == {"a", "b"}
    tree["instance"]["attributes"]["block-project-ssh-keys"] = "true"
    assert set(agent.wanted_accounts(tree, NOW)) == {"a"}
    tree["project"]["attributes"]["enable-oslogin"] = "TRUE"
    assert agent.wanted_accounts(tree, NOW) == {}


def test_only_our_keys_are_exchanged() -> None:
    own = "ssh-rsa mine\n# Added by Google\nssh-rsa old\n# a note\n"
    text = agent.merge_marked(own, ["ssh-rsa new"])
    assert text == "ssh-rsa mine\n# a note\n# Added by Google\nssh-rsa new\n"
    assert agent.merge_marked(text, []) == "ssh-rsa mine\n# a note\n"


def test_hosts_knows_the_guests_own_name() -> None:
    tree = {"instance": {"hostname": "vm.z.c.p.internal", "networkInterfaces": [{"ip": "10.128.0.2"}]}}
    once = agent.hosts_text("127.0.0.1 localhost\n", tree)
    assert once == agent.hosts_text(once, tree)
    assert "10.128.0.2 vm.z.c.p.internal vm  # Added by Google\n" in once
    assert "169.254.169.254 metadata.google.internal" in once


def test_the_instances_value_wins_over_the_projects() -> None:
    tree = {"instance": {"attributes": {"k": "own"}}, "project": {"attributes": {"k": "shared", "other": "x"}}}
    assert [agent.attribute(tree, key) for key in ("k", "other", "none")] == ["own", "x", None]


def test_a_script_runs_with_its_output_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent, "USERS_FILE", tmp_path / "google" / "users")
    script = "#!/bin/sh\necho hello\necho trouble >&2\nexit 3"
    monkeypatch.setattr(agent, "read_tree", lambda attempts: {"instance": {"attributes": {"startup-script": script}}})
    assert agent.main(["startup-script"]) == 0
    said = capsys.readouterr().out
    assert "startup-script: hello\n" in said and "startup-script: trouble\n" in said
    assert "startup-script exit status 3\n" in said
    assert list((tmp_path / "google").iterdir()) == []


def test_the_agent_runs_on_debian_11s_python() -> None:
    compile(recipe.AGENT.read_text(), "agent.py", "exec", dont_inherit=True)
    __import__("ast").parse(recipe.AGENT.read_text(), feature_version=(3, 9))
