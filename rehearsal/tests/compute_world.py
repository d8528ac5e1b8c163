# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests, images and the metadata server in memory, and a client of the control plane in front of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rehearsal.services.compute.startup import Compute

BASE = "https://compute.googleapis.com/compute/v1/projects"
PROJECT = "fanops-rehearsal"
ZONE = "us-central1-a"


@dataclass
class Guest:
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
        assert self.gate.wait(10)
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
    views: dict[str, Any] = field(default_factory=dict)
    woken: int = 0

    def register(self, ip: str, view: Any) -> None:
        self.views[ip] = view

    def unregister(self, ip: str) -> None:
        self.views.pop(ip, None)

    def changed(self) -> None:
        self.woken += 1


@dataclass
class World:
    """The control plane, and a client for it."""

    cloud: Any
    ask: Any
    started: list[Compute] = field(default_factory=list)

    @property
    def guests(self) -> MemoryGuests:
        found: MemoryGuests = self.cloud.guests
        return found

    def call(self, verb: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Send one request; `path` is below the project. Returns the answer, or its error."""
        url = path if path.startswith("https://") else f"{BASE}/{PROJECT}/{path}" if path else f"{BASE}/{PROJECT}"
        response = self.ask(verb, url, b"" if body is None else json.dumps(body).encode())
        answer = json.loads(response.get_data())
        assert response.status_code == status, answer
        return answer if status == 200 else answer["error"]

    def finish(self, operation: Any) -> Any:
        """Wait for an operation."""
        scope = operation["selfLink"].split(f"/{PROJECT}/")[1]
        return self.call("POST", f"{scope}/wait")

    def do(self, verb: str, path: str, body: Any = None) -> Any:
        """Send a mutation and wait; the operation must succeed."""
        done = self.finish(self.call(verb, path, body))
        assert done["status"] == "DONE" and "error" not in done, done
        return done

    def create(self, name: str = "vm", zone: str = ZONE, **changes: Any) -> Any:
        """Create a VM; return it as it is then."""
        self.do("POST", f"zones/{zone}/instances", vm_body(name, zone, **changes))
        return self.vm(name, zone)

    def vm(self, name: str = "vm", zone: str = ZONE) -> Any:
        return self.call("GET", f"zones/{zone}/instances/{name}")

    def guest(self, name: str = "vm") -> Guest:
        return next(guest for guest in self.guests.table.values() if guest.hostname == name)

    def guest_id(self, name: str = "vm") -> str:
        return next(key for key, guest in self.guests.table.items() if guest.hostname == name)

    def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> Any:
        """Wait for something that happens without a request."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.01)
        raise AssertionError("it did not happen")

    def restart(self) -> None:
        """End the control plane and start it again on the same store."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Bring a new control plane up."""
        self.started.append(Compute(self.cloud))
        self.started[-1].start()

    def stop(self) -> None:
        """End the control plane, with those before it that died without a stop."""
        while self.started:
            self.started.pop().stop()


def vm_body(name: str = "vm", zone: str = ZONE, **changes: Any) -> dict[str, Any]:
    """A body as gcloud sends it."""
    body: dict[str, Any] = {
        "name": name,
        "machineType": f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}/machineTypes/e2-micro",
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"},
            }
        ],
        "networkInterfaces": [
            {
                "network": f"projects/{PROJECT}/global/networks/default",
                "accessConfigs": [{"name": "external-nat", "type": "ONE_TO_ONE_NAT"}],
            }
        ],
    }
    return {key: value for key, value in (body | changes).items() if value is not None}
