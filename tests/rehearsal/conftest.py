# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal that begins with an empty project, and the commands that a person would run against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# What `rehearsal methods` says at the end, before the project is forgotten.
methods: list[str] = []
REPOSITORY = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent


@dataclass
class Outcome:
    """What a command printed and how it ended; `seconds` is wall time."""

    code: int
    output: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class Rehearsal:
    """Runs commands with the environment that `rehearsal env` prints."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def rehearsal(self, *arguments: str) -> Outcome:
        return self._run([str(BIN / "rehearsal"), *arguments], dict(os.environ), 900)

    def up(self, *arguments: str) -> None:
        outcome = self.rehearsal("up", *arguments)
        assert outcome.code == 0, outcome.output
        self.environment = os.environ | json.loads(self.rehearsal("env", "--output", "json").output)
        self.environment["PATH"] = f"{BIN}:{os.environ['PATH']}"

    def purge(self) -> None:
        """Forget the project. Everything in it has been asked and answered as Google's schema has it."""
        if self.environment:
            seen = self.status()
            outside = self.rehearsal("log", "--violations").output
            assert (seen["violations"], seen["not_implemented"]) == (0, {}), f"{seen['not_implemented']} {outside}"
            self.environment = {}
        assert self.rehearsal("down", "--purge").code == 0

    def run(self, *command: str, timeout: float = 600, **environment: str) -> Outcome:
        return self._run(list(command), self.environment | environment, timeout)

    def playbook(self, *arguments: str, **environment: str) -> Outcome:
        return self.run("ansible-playbook", *arguments, timeout=900, **environment)

    def mark(self) -> str:
        """The number of the newest request, to look at only what comes after."""
        return self.rehearsal("log", "--mark").output.strip()

    def requests(self, after: str = "0", *filters: str) -> list[dict[str, Any]]:
        """The requests after a mark, but for those of the site's lock, which every run takes and gives back."""
        lines = self.rehearsal("log", "--after", after, "--output", "json", *filters).output.splitlines()
        found = [json.loads(line) for line in lines]
        return [request for request in found if "locks%2Fsite.json" not in request["path"]]

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = self.rehearsal("status", "--output", "json").json
        return content

    @staticmethod
    def _run(command: list[str], environment: dict[str, str], timeout: float) -> Outcome:
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, time.monotonic() - began)


class Controller:
    """A playbook that runs in the background, to be looked at or killed while it does."""

    def __init__(self, cloud: Rehearsal, log: Path, *arguments: str, **environment: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["ansible-playbook", *arguments], cwd=REPOSITORY, env=cloud.environment | environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, seconds: float = 900) -> None:
        """Return once the output has the text; a playbook that ends without it is a failure."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert self.process.poll() is None and time.monotonic() < deadline, self.output[-4000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for the playbook and everything that it started here: nothing of it gets to clean up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def vm_states(cloud: Rehearsal) -> list[str]:
    """The status of every VM, as Google says it."""
    return [text.split()[0] for text in cloud.status()["instances"].values()]


def wait_until_stopped(cloud: Rehearsal, seconds: float) -> float:
    """Return the seconds until no VM runs; fail after `seconds`."""
    began = time.monotonic()
    while any(state != "TERMINATED" for state in vm_states(cloud)):
        assert time.monotonic() - began < seconds, f"still running after {seconds:.0f} s: {cloud.status()['instances']}"
        time.sleep(0.5)
    return time.monotonic() - began


@pytest.fixture(scope="session")
def cloud() -> Iterator[Rehearsal]:
    cloud = Rehearsal()
    cloud.purge()
    cloud.up()
    yield cloud
    methods.append(cloud.rehearsal("methods").output)
    cloud.purge()
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    bridge = os.environ.get("REHEARSAL_BRIDGE", "rehearsal0")
    assert f"{bridge}-" not in namespaces, "the rehearsal left a network namespace behind"


@pytest.fixture
def empty(cloud: Rehearsal) -> Rehearsal:
    """The cloud with a project in which nothing was made yet."""
    state = cloud.status()
    if state["instances"] or state["functions"] or len(state["buckets"]) > 1:  # one is another project's
        cloud.purge()
        cloud.up()
    return cloud


@pytest.fixture
def served(cloud: Rehearsal) -> Rehearsal:
    """The cloud with a model that is served, after a run of site.yml."""
    if "m4-sponsor-ai" not in cloud.status()["functions"]:
        outcome = cloud.playbook("site.yml")
        assert outcome.code == 0, outcome.output[-6000:]
    return cloud


@pytest.fixture
def with_vm(served: Rehearsal) -> Rehearsal:
    """The cloud with a served model and the training VM, running or not."""
    if not served.status()["instances"]:
        assert served.playbook("playbooks/start_vm.yml").code == 0
        assert served.playbook("playbooks/stop_vm.yml").code == 0
    return served


@pytest.fixture
def running(with_vm: Rehearsal) -> Rehearsal:
    """The cloud with a served model and the training VM running."""
    if vm_states(with_vm) != ["RUNNING"]:
        assert with_vm.playbook("playbooks/start_vm.yml").code == 0
    return with_vm


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for table in methods:
        terminalreporter.section("what was asked of Google since the project was created")
        terminalreporter.write_line(table)


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return Ansible's PLAY RECAP as {host: {"ok": …, "changed": …, "failed": …}}."""
    hosts: dict[str, dict[str, int]] = {}
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, separator, counts = line.partition(" : ")
        if separator:
            hosts[name.strip()] = {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
    return hosts
