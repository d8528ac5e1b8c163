#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_leftover
short_description: Delete a disk or a static address that a VM left behind
description:
  - Deletes one disk or one reserved address. One that is in use is refused by Google.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Predicts the change without making it.
  diff_mode:
    support: full
    description: Returns what would be, or was, deleted.
extends_documentation_fragment: [google_api]
options:
  kind:
    description: What it is.
    type: str
    choices: [disk, address]
    required: true
  name:
    description: Its name.
    type: str
    required: true
  place:
    description: The zone of a disk, the region of an address.
    type: str
    required: true
  state:
    description: It is only ever deleted here.
    type: str
    choices: [absent]
    default: absent
"""

EXAMPLES = r"""
- name: Delete a disk that outlived its VM
  gce_leftover:
    kind: disk
    name: ml-training-vm
    place: us-central1-a
"""

RETURN = r"""
leftover:
  description: Always null, it is gone.
  returned: success
  type: dict
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
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.fanops.api.client import basename, compute_url, segment
from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import Resource, reconcile

OPTIONS = {
    **SHARED_OPTIONS,
    "kind": {"type": "str", "choices": ["disk", "address"], "required": True},
    "name": {"type": "str", "required": True},
    "place": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent"], "default": "absent"},
}
COLLECTIONS = {"disk": "zones/{place}/disks/{name}", "address": "regions/{place}/addresses/{name}"}


class Leftover(Resource):
    """A disk or an address that nothing needs any more."""

    @property
    def title(self) -> str:
        return f"{self.options['kind']} {self.options['name']} in {self.options['place']}"

    @property
    def path(self) -> str:
        place, name = segment(self.options["place"]), segment(self.options["name"])
        return COLLECTIONS[self.options["kind"]].format(place=place, name=name)

    def fetch(self) -> dict[str, Any] | None:
        return self.client.find(f"{compute_url(self.client.project)}/{self.path}", attempting=f"read {self.title}")

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        return {
            "size_gb": current.get("sizeGb"),
            "address": current.get("address"),
            "users": [basename(user) for user in current.get("users", [])],
        }

    def delete(self, current: dict[str, Any]) -> None:
        self.client.compute("DELETE", self.path, attempting=f"delete {self.title}")


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        leftover = Leftover(make_client(module), module.params)
        exit_with(module, reconcile(leftover, "absent", check_mode=module.check_mode), "leftover")


if __name__ == "__main__":
    main()
