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
extends_documentation_fragment: [attributes.manages, google_api]
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
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.firewall_rule import FirewallRule

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


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), FirewallRule, "firewall", patient=True)


if __name__ == "__main__":
    main()
