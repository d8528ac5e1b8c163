#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: project_resources_info
short_description: List what a project has that is ours, and how much is not
description:
  - Lists instances, disks, addresses, firewall rules, functions, buckets, service accounts, custom roles and secrets; with
    O(function_region) also what the builds of functions left there.
  - Ours is what carries all of O(labels). Firewall rules, service accounts and roles have no labels at Google, so
    those are ours by name.
  - An API that is switched off has nothing; its name is returned in RV(disabled).
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, google_api]
options:
  labels:
    description: The labels of what is ours.
    type: dict
    required: true
  schedules:
    description: Names of the instance schedules that are ours.
    type: list
    elements: str
    default: []
  firewall_rules:
    description: Names of the firewall rules that are ours.
    type: list
    elements: str
    default: []
  service_accounts:
    description: Names (before the @) of the service accounts that are ours.
    type: list
    elements: str
    default: []
  roles:
    description: Ids of the custom roles that are ours.
    type: list
    elements: str
    default: []
  functions:
    description: Names of the functions whose images and sources are ours, whether the functions exist or not.
    type: list
    elements: str
    default: []
  function_region:
    description: The region in which images and sources of functions are looked for. Without it they are not.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: List what is ours
  project_resources_info:
    labels: {app: fanops-m4, managed-by: ansible}
    firewall_rules: [fanops-m4-allow-ssh]
    service_accounts: [m4-trainer, m4-server]
  register: __ours
"""

RETURN = r"""
ours:
  description:
    - Each with C(kind) (instance, disk, address, schedule, firewall, function, bucket, service_account, role, secret, image, source,
      repository, build_bucket), C(name), C(place) and C(detail).
  returned: success
  type: list
  elements: dict
  sample: [{kind: instance, name: ml-training-vm, place: us-central1-a, detail: TERMINATED e2-micro}]
foreign:
  description: The same of what is not ours.
  returned: success
  type: list
  elements: dict
disabled:
  description: APIs that are switched off in the project.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, answer, google_module
from ansible.module_utils.fanops.resources.listing import sort_resources

OPTIONS = {
    **SHARED_OPTIONS,
    "labels": {"type": "dict", "required": True},
    "schedules": {"type": "list", "elements": "str", "default": []},
    "firewall_rules": {"type": "list", "elements": "str", "default": []},
    "service_accounts": {"type": "list", "elements": "str", "default": []},
    "roles": {"type": "list", "elements": "str", "default": []},
    "functions": {"type": "list", "elements": "str", "default": []},
    "function_region": {"type": "str", "default": ""},
}


def main() -> None:
    """Run the module."""
    answer(google_module(OPTIONS), sort_resources)


if __name__ == "__main__":
    main()
