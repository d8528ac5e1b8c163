#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_instance_schedule
short_description: Manage the schedule by which Google starts a VM
description:
  - Creates, corrects or deletes an instance schedule (a resource policy) and attaches it to one VM.
  - Google starts the VM as its own service agent, which needs C(compute.instances.start), up to 15 minutes after the time.
  - A VM that does not exist yet is no failure. There is a warning, and the next run attaches the schedule.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The schedule's name.
    type: str
    required: true
  instance:
    description: The VM that it starts.
    type: str
    required: true
  zone:
    description: The VM's zone. The schedule lies in the region of the zone that the VM is in.
    type: str
    required: true
  fallback_zones:
    description: Other zones that the VM may be in.
    type: list
    elements: str
  schedule:
    description: When to start it, as five cron fields. Required to create.
    type: str
  timezone:
    description: The time zone of O(schedule), by its name in the IANA database. Required to create.
    type: str
  description:
    description: What the schedule is for.
    type: str
  patience_seconds:
    description: For so long a refusal is taken for a grant to the service agent that does not count yet.
    type: int
    default: 60
  state:
    description: Whether the schedule exists and the VM follows it.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Start the training VM every Monday morning
  gce_instance_schedule:
    name: ml-training-vm-schedule
    instance: ml-training-vm
    zone: us-central1-a
    schedule: 30 3 * * 1
    timezone: Africa/Casablanca

- name: Start it no more
  gce_instance_schedule:
    name: ml-training-vm-schedule
    instance: ml-training-vm
    zone: us-central1-a
    state: absent
"""

RETURN = r"""
schedule:
  description:
    - The resource policy as the Compute API returns it, with C(attached). Null when absent. In check mode, what it would be.
    - C(resourceStatus) says when it runs next, and when it ran last.
  returned: success
  type: dict
  sample: {name: ml-training-vm-schedule, attached: true}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.instance_schedule import InstanceSchedule

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "instance": {"type": "str", "required": True},
    "zone": {"type": "str", "required": True},
    "fallback_zones": {"type": "list", "elements": "str"},
    "schedule": {"type": "str"},
    "timezone": {"type": "str"},
    "description": {"type": "str"},
    "patience_seconds": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    required = [("state", "present", ("schedule", "timezone"))]
    manage(google_module(OPTIONS, required_if=required), InstanceSchedule, "schedule", patient=True)


if __name__ == "__main__":
    main()
