#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_firewall_rule
short_description: Manage an ingress firewall rule
description:
  - Creates, corrects or deletes a firewall rule that lets traffic in.
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
  name:
    description: The rule's name.
    type: str
    required: true
  network:
    description: Name of the VPC network. It cannot be changed later.
    type: str
    default: default
  source_ranges:
    description: CIDR ranges that may connect. Required to create a rule.
    type: list
    elements: str
  allowed:
    description: What they may reach. Required to create a rule.
    type: list
    elements: dict
    suboptions:
      protocol:
        description: V(tcp), V(udp), V(icmp) or a protocol number.
        type: str
        required: true
      ports:
        description: Ports or ranges, such as V("22") or V("8000-8080"). Without it, all.
        type: list
        elements: str
        default: []
  target_tags:
    description: Network tags of the instances the rule applies to. Without it, all instances.
    type: list
    elements: str
  description:
    description: What the rule is for.
    type: str
  state:
    description: Whether the rule exists.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Let ssh reach the training VM
  gce_firewall_rule:
    name: fanops-m4-ssh
    source_ranges: [203.0.113.7/32]
    allowed:
      - protocol: tcp
        ports: ["22"]
    target_tags: [fanops-m4]
    description: SSH to the training VM

- name: Close it again
  gce_firewall_rule:
    name: fanops-m4-ssh
    state: absent
"""

RETURN = r"""
firewall:
  description: The rule as the Compute API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {name: fanops-m4-ssh, sourceRanges: [203.0.113.7/32]}
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
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource, reconcile

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "network": {"type": "str", "default": "default"},
    "source_ranges": {"type": "list", "elements": "str"},
    "allowed": {
        "type": "list",
        "elements": "dict",
        "options": {
            "protocol": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "default": []},
        },
    },
    "target_tags": {"type": "list", "elements": "str"},
    "description": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


class FirewallRule(Resource):
    """An ingress rule."""

    kind = "firewall rule"

    @property
    def _path(self) -> str:
        return f"global/firewalls/{segment(self.options['name'])}"

    def fetch(self) -> dict[str, Any] | None:
        return self.client.find(f"{compute_url(self.client.project)}/{self._path}", attempting=f"read {self.title}")

    def wanted(self) -> dict[str, Any]:
        return {key: self.options[key] for key in ("network", "source_ranges", "allowed", "target_tags", "description")}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        return {
            "network": basename(current.get("network", "")),
            "source_ranges": current.get("sourceRanges", []),
            "allowed": [
                {"protocol": item["IPProtocol"], "ports": item.get("ports", [])} for item in current.get("allowed", [])
            ],
            "target_tags": current.get("targetTags", []),
            "description": current.get("description", ""),
        }

    def body(self) -> dict[str, Any]:
        """The rule as Compute v1 wants it."""
        options = self.options
        allowed = None
        if options["allowed"] is not None:
            allowed = [
                {"IPProtocol": item["protocol"], **({"ports": item["ports"]} if item["ports"] else {})}
                for item in options["allowed"]
            ]
        body = {
            "name": options["name"],
            "network": f"{compute_url(self.client.project)}/global/networks/{options['network']}",
            "direction": "INGRESS",
            "sourceRanges": options["source_ranges"],
            "allowed": allowed,
            "targetTags": options["target_tags"],
            "description": options["description"],
        }
        return {name: value for name, value in body.items() if value is not None}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        return {**(current or {}), **self.body()}

    def validate(self) -> None:
        missing = [name for name in ("source_ranges", "allowed") if not self.options[name]]
        if missing:
            raise GoogleApiError(
                f"create {self.title}", f"{' and '.join(missing)} not given", "An open rule must be asked for in full."
            )

    def create(self) -> None:
        self.client.compute("POST", "global/firewalls", attempting=f"create {self.title}", body=self.body())

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        changed = ", ".join(plan.differences.options)
        plan.act(
            f"update {self.title}: {changed}",
            lambda: self.client.compute("PATCH", self._path, attempting=f"update {self.title}", body=self.body()),
        )

    def delete(self, current: dict[str, Any]) -> None:
        self.client.compute("DELETE", self._path, attempting=f"delete {self.title}")


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        client = make_client(module, patient=True)
        outcome = reconcile(FirewallRule(client, module.params), module.params["state"], check_mode=module.check_mode)
        exit_with(module, outcome, "firewall")


if __name__ == "__main__":
    main()
