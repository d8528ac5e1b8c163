# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal that begins with an empty project, and the commands that a person would run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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

    def run(self, *command: str, timeout: float = 600, **environment: str) -> Outcome:
        return self._run(list(command), self.environment | environment, timeout)

    def playbook(self, *arguments: str, **environment: str) -> Outcome:
        return self.run("ansible-playbook", *arguments, timeout=900, **environment)

    def mark(self) -> str:
        """The number of the newest request, to look at only what comes after."""
        return self.rehearsal("log", "--mark").output.strip()

    def requests(self, after: str = "0", *filters: str) -> list[dict[str, Any]]:
        lines = self.rehearsal("log", "--after", after, "--output", "json", *filters).output.splitlines()
        return [json.loads(line) for line in lines]

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


@pytest.fixture(scope="session")
def cloud() -> Iterator[Rehearsal]:
    cloud = Rehearsal()
    assert cloud.rehearsal("down", "--purge").code == 0
    cloud.up()
    yield cloud
    cloud.rehearsal("down")


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return Ansible's PLAY RECAP as {host: {"ok": …, "changed": …, "failed": …}}."""
    hosts: dict[str, dict[str, int]] = {}
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, separator, counts = line.partition(" : ")
        if separator:
            hosts[name.strip()] = {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
    return hosts
