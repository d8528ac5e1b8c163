# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the control plane whose guests, images and metadata server are in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rehearsal.services.compute import resource_policies
from rehearsal.services.compute.startup import Compute
from rehearsal.testing.memory import Guest, MemoryGuests

BASE = "https://compute.googleapis.com/compute/v1/projects"
PROJECT = "fanops-rehearsal"
ZONE = "us-central1-a"


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

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for something that happens without a request."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.01)
        raise AssertionError("it did not happen")

    def let_schedules_act(self, *, allowed: bool = True) -> None:
        """Grant Compute's service agent what instance schedules need, as a project's owner must; or take it away again."""
        resource, role = f"projects/{PROJECT}", "roles/compute.instanceAdmin.v1"
        policy = self.cloud.identity.get_policy(resource)
        policy["bindings"] = [bound for bound in policy["bindings"] if bound["role"] != role]
        if allowed:
            agent = f"serviceAccount:{resource_policies.service_agent(self.cloud, PROJECT)}"
            policy["bindings"].append({"role": role, "members": [agent]})
        self.cloud.identity.set_policy(resource, policy)

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
