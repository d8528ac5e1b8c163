# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine in memory: guests, images, containers, network and metadata server that are rows of tables."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Guest:
    """One guest."""

    hostname: str
    family: str
    memory: int
    internal: str
    running: bool = False
    external: str | None = None
    console: bytes = b""
    boots: int = 0
    unpacked: bytes = b""


@dataclass
class MemoryGuests:
    """Guests that are rows of a table. `gate` holds starts and stops back, `broken` makes starts fail."""

    table: dict[str, Guest] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    broken: str = ""
    stubborn: bool = False
    parked: int = 0
    on_power_off: Callable[[str], None] = lambda guest: None

    def __post_init__(self) -> None:
        self.gate.set()

    def _pass_gate(self) -> None:
        self.parked += 1
        assert self.gate.wait(60)
        self.parked -= 1

    def create(self, guest_id: str, *, hostname: str, family: str, memory_bytes: int, internal_ip: str) -> None:
        self.table[guest_id] = Guest(hostname, family, memory_bytes, internal_ip)

    def unpack(self, guest_id: str, archive: bytes) -> None:
        assert not self.table[guest_id].running
        self.table[guest_id].unpacked = archive

    def start(self, guest_id: str, external_ip: str | None = None) -> None:
        self._pass_gate()
        if self.broken:
            raise RuntimeError(self.broken)
        guest = self.table[guest_id]
        guest.running, guest.external, guest.boots = True, external_ip, guest.boots + 1

    def stop(self, guest_id: str) -> None:
        self._pass_gate()
        if self.stubborn:
            raise RuntimeError("it will not go")
        self.table[guest_id].running = False

    def delete(self, guest_id: str) -> None:
        self.table.pop(guest_id, None)

    def is_running(self, guest_id: str) -> bool:
        return guest_id in self.table and self.table[guest_id].running

    def set_memory(self, guest_id: str, memory_bytes: int) -> None:
        self.table[guest_id].memory = memory_bytes

    def console(self, guest_id: str) -> bytes:
        return self.table[guest_id].console

    def power_off(self, guest_id: str) -> None:
        """What `poweroff` inside the guest does."""
        self.table[guest_id].running = False
        self.on_power_off(guest_id)


@dataclass
class MemoryImages:
    """Images that are there at once; `failures` says which cannot be built, and why."""

    withdrawn: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)

    def status(self, family: str) -> str:
        if family in self.failures:
            return f"failed: {self.failures[family]}"
        return "withdrawn" if family in self.withdrawn else "ready"

    def name(self, family: str) -> str:
        return {"debian-11": "debian-11-bullseye-v20260818", "debian-12": "debian-12-bookworm-v20260915"}[family]

    def ensure(self, family: str, progress: Callable[[str], None]) -> str:
        progress(f"debootstrap of {family} (3 s)")
        self.built.append(family)
        return f"localhost/rehearsal/{family}:1"


@dataclass
class MemoryMetadata:
    """What was registered for each address, and how often somebody was woken."""

    views: dict[str, Any] = field(default_factory=dict)
    woken: int = 0

    def register(self, ip: str, view: Any) -> None:
        self.views[ip] = view

    def unregister(self, ip: str) -> None:
        self.views.pop(ip, None)

    def changed(self) -> None:
        self.woken += 1


@dataclass
class MemoryContainers:
    """Containers that run as soon as they are started. A build prints `build_output` and ends with `build_code`."""

    known: dict[str, bool] = field(default_factory=dict)
    build_output: tuple[str, ...] = ("Successfully installed nothing",)
    build_code: int = 0

    def run_once(
        self, name: str, image: str, command: list[str], *, on_line: Callable[[str], None], **options: Any
    ) -> int:
        """Stand for a build's step."""
        for line in self.build_output:
            on_line(line)
        return self.build_code

    def create(self, name: str, image: str, **options: Any) -> None:
        self.known[name] = False

    def start(self, name: str) -> None:
        self.known[name] = True

    def remove(self, name: str) -> None:
        self.known.pop(name, None)

    def is_running(self, name: str) -> bool:
        return self.known.get(name, False)

    def state(self, name: str) -> dict[str, Any] | None:
        # This process stands for the container's: it lives as long as the test.
        return {"Running": True, "Pid": os.getpid(), "ExitCode": 0} if self.is_running(name) else None

    def exit_info(self, name: str) -> tuple[int, bool]:
        return 0, False

    def logs(self, name: str, *, timestamps: bool = False) -> bytes:
        return b""


class MemoryNetwork:
    """A network that every container is on already."""

    def attach(self, name: str, address: str) -> str:
        return f"netns of {name}"

    def detach(self, name: str) -> None:
        """Do nothing: nothing was made."""
