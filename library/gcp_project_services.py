#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_project_services
short_description: Enable Google APIs in a project
description:
  - Enables the given APIs (services) that are not enabled yet. Others are left alone.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Predicts the change without making it.
  diff_mode:
    support: full
    description: Returns what differs, before and after.
extends_documentation_fragment: [google_api]
options:
  services:
    description: Service names, such as V(compute.googleapis.com).
    type: list
    elements: str
    required: true
  state:
    description: V(enabled) is the only state, for disabling an API can delete what it holds.
    type: str
    choices: [enabled]
    default: enabled
"""

EXAMPLES = r"""
- name: Enable what the project needs
  gcp_project_services:
    services:
      - compute.googleapis.com
      - cloudfunctions.googleapis.com
      - run.googleapis.com

- name: See which are missing
  gcp_project_services:
    services: [compute.googleapis.com]
  check_mode: true
  register: __missing
"""

RETURN = r"""
services:
  description: State of each service asked for, V(ENABLED) or V(DISABLED).
  returned: success
  type: dict
  sample: {compute.googleapis.com: ENABLED}
plan:
  description: Per resource its name, what is done to it (C(none), C(create), C(update), C(delete), C(power)), and the actions.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["enable run.googleapis.com"]
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

from functools import partial
from typing import Any

from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource, reconcile

BASE = "https://serviceusage.googleapis.com/v1"
#: The most services Google takes in one batchEnable, and in one batchGet.
ENABLE_AT_ONCE = 20
READ_AT_ONCE = 30

OPTIONS = {
    **SHARED_OPTIONS,
    "services": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["enabled"], "default": "enabled"},
}


class ProjectServices(Resource):
    """The state of the services asked for: {name: ENABLED | DISABLED}."""

    @property
    def title(self) -> str:
        return f"the APIs of project {self.client.project}"

    @property
    def _parent(self) -> str:
        return f"projects/{self.client.project}"

    def fetch(self) -> dict[str, Any]:
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
        return dict.fromkeys(self.options["services"], "ENABLED")

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        return current

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        return self.wanted()

    def update(self, current: dict[str, Any], plan: Plan) -> None:
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


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        outcome = reconcile(
            ProjectServices(make_client(module), module.params), module.params["state"], check_mode=module.check_mode
        )
        exit_with(module, outcome, "services")


if __name__ == "__main__":
    main()
