# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import tomllib

from rehearsal.machine import podman
from rehearsal.machine.containers import Containers
from rehearsal.machine.podman import Podman
from rehearsal.settings import Settings


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(Settings(home=tmp_path / "home", cache=tmp_path / "cache"))


def test_limits_are_hard_and_without_swap(containers: Containers) -> None:
    options = containers._options("vm", 1 << 30, "/run/netns/x", {"A": "b c"}, [("/s", "/t", "ro"), "/u:/v"], True, "h")
    line = " ".join(options)
    assert "--memory 1073741824 --memory-swap 1073741824" in line
    assert "--network ns:/run/netns/x" in line
    assert "--systemd always" in line and "--hostname h" in line
    assert "--env A=b c" in line and "--volume /s:/t:ro" in line and "--volume /u:/v" in line


def test_configuration_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman, "runtimes", lambda: ["runc"])
    made = Podman(tmp_path / "containers", image_stores=(tmp_path / "images",))
    made.configure()
    storage = tomllib.loads((tmp_path / "containers" / "storage.conf").read_text())["storage"]
    engine = tomllib.loads((tmp_path / "containers" / "containers.conf").read_text())["engine"]
    assert storage["graphroot"] == str(tmp_path / "containers" / "storage")
    assert storage["options"]["additionalimagestores"] == [str(tmp_path / "images")]
    assert engine["runtime"] == "runc"
    assert engine["tmp_dir"].startswith("/run/rehearsal-") and len(engine["tmp_dir"]) < 60


def test_ulimits_never_ask_for_more_than_we_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (1024, 4096))
    assert podman.ulimits() == ["nofile=4096:4096", "nproc=4096:4096"]
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (1024, resource.RLIM_INFINITY))
    assert podman.ulimits()[0] == "nofile=65536:65536"


def test_a_machine_without_a_runtime_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(podman.ContainerError, match="apt-get install runc"):
        podman.runtimes()


def test_reason_is_podmans_error_line() -> None:
    assert podman.reason(b"time=x warning\nError: no such image\n") == "no such image"
    assert podman.reason(b"first\nlast words\n") == "last words"
    assert podman.reason(b"") == ""


def test_mounts_are_taken_away_innermost_first_and_only_below_the_folder() -> None:
    table = "o /a overlay rw 0 0\no /a/b overlay rw 0 0\no /ab overlay rw 0 0\np /a/b/my\\040dir proc rw 0 0\n"
    assert podman.mounts_below(Path("/a"), table) == ["/a/b/my dir", "/a/b", "/a"]


def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a shell script answer in podman's place: what is tested is how its output and exit code are passed on."""
    program = tmp_path / "podman"
    program.write_text(f'#!/bin/sh\ncase "$1" in run) {script};; *) exit 0;; esac\n')
    program.chmod(0o755)
    monkeypatch.setattr(Podman, "argv", lambda self, *arguments: [str(program), *arguments])
    monkeypatch.setattr(podman, "runtimes", lambda: ["runc"])


def test_run_once_hands_over_lines_and_the_exit_code(
    containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch, "echo one; echo two >&2; exit 3")
    lines: list[str] = []
    code = containers.run_once("f", "image", ["true"], memory_bytes=1, netns="/n", on_line=lines.append, timeout=20)
    assert (code, lines) == (3, ["one", "two"])


def test_run_once_ends_after_its_timeout(
    containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    _stand_in(tmp_path, monkeypatch, f"echo $$ > {pid}; exec sleep 60")

    def kill(self: Containers, name: str) -> None:
        while not (pid.exists() and pid.read_text().strip()):
            time.sleep(0.01)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    monkeypatch.setattr(Containers, "kill", kill)
    assert containers.run_once("f", "image", ["true"], memory_bytes=1, netns="/n", timeout=0.5) == 124


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's limits")
def test_this_machines_own_limits_are_kept() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    value = int(podman.ulimits()[0].partition("=")[2].partition(":")[0])
    assert hard == resource.RLIM_INFINITY or value <= hard
