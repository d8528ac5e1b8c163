# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM this is and for how long it has run, as its metadata server and its kernel say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import requests

METADATA = "http://metadata.google.internal/computeMetadata/v1/instance"


class UnknownMachineError(Exception):
    """The machine is not told; the message says why."""


@dataclass(frozen=True)
class Machine:
    """A VM: its name, type and zone, and the seconds since its boot."""

    name: str
    machine_type: str
    zone: str
    up_seconds: float


def this_machine() -> Machine:
    """Return this machine. Raises UnknownMachineError where there is no metadata server."""
    try:
        name, machine_type, zone = (_instance(path).rpartition("/")[2] for path in ("name", "machine-type", "zone"))
        return Machine(name, machine_type, zone, up_seconds())
    except (OSError, ValueError, IndexError, requests.RequestException) as error:
        raise UnknownMachineError(" ".join(str(error).split())[:300]) from error


def up_seconds() -> float:
    """Return for how long the system has run: since its first process began, which is the machine's boot."""
    now = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    fields = Path("/proc/1/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return now - float(fields[19]) / os.sysconf(
        "SC_CLK_TCK"
    )  # field 22 of proc(5): when it began, in ticks after the boot


def _instance(path: str) -> str:
    answer = requests.get(f"{METADATA}/{path}", headers={"Metadata-Flavor": "Google"}, timeout=5)
    answer.raise_for_status()
    return answer.text
