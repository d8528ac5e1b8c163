# SPDX-License-Identifier: GPL-3.0-or-later
"""The APIs that a project has switched on."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource

BASE = "https://serviceusage.googleapis.com/v1"
#: The most services Google takes in one batchEnable, and in one batchGet.
ENABLE_AT_ONCE = 20
READ_AT_ONCE = 30


class ProjectServices(Resource):
    """The state of the services asked for: {name: ENABLED | DISABLED}."""

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"the APIs of project {self.client.project}"

    @property
    def _parent(self) -> str:
        return f"projects/{self.client.project}"

    def fetch(self) -> dict[str, Any]:
        """What there is of it, None if nothing."""
        names = list(dict.fromkeys(self.options["services"]))
        states = dict.fromkeys(names, "DISABLED")
        for part in _parts(names, READ_AT_ONCE):
            answer = self.client.get(
                f"{BASE}/{self._parent}/services:batchGet",
                attempting=f"read the APIs of project {self.client.project}",
                params={"names": [f"{self._parent}/services/{name}" for name in part]},
            )
            for service in answer.get("services", []):
                states[service["name"].rsplit("/", 1)[-1]] = service.get("state", "DISABLED")
        return states

    def wanted(self) -> dict[str, Any]:
        """What is asked for."""
        return dict.fromkeys(self.options["services"], "ENABLED")

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """What there is, in option words."""
        return current

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return self.wanted()

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List what has to change."""
        for part in _parts(plan.differences.options, ENABLE_AT_ONCE):
            plan.act("enable " + ", ".join(part), partial(self._enable, part))

    def _enable(self, names: list[str]) -> None:
        attempting = f"enable {', '.join(names)} in project {self.client.project}"
        operation = self.client.call(
            "POST",
            f"{BASE}/{self._parent}/services:batchEnable",
            attempting=attempting,
            body={"serviceIds": names},
            repeatable=True,
        )
        self.client.wait_longrunning(BASE, operation, attempting=attempting)


def _parts(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]
