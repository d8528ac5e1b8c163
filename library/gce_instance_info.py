#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_instance_info
short_description: Read a Compute Engine instance, its ssh host keys, its serial log and who switched it on and off
description:
  - Returns the instance, and on request the ssh host keys that the guest published as guest attributes.
  - Host keys read through the authenticated API let ssh check strictly from the first connection on.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, google_api]
options:
  name:
    description: The instance's name.
    type: str
    required: true
  zone:
    description: The zone.
    type: str
    required: true
  fallback_zones:
    description: Other zones to look for it in.
    type: list
    elements: str
  host_keys:
    description:
      - Whether to read the SSH host key of type ssh-ed25519. The instance must be running.
      - It must have been created with the metadata V(enable-guest-attributes=TRUE).
    type: bool
    default: false
  host_keys_timeout:
    description: Seconds to wait for a guest that is still booting. With V(0), a missing key is no error.
    type: int
    default: 180
  serial_port:
    description: Whether to read the serial log.
    type: bool
    default: false
  history:
    description: Whether to read when it was made, started, stopped and deleted, and by whom.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the host keys of the VM
  gce_instance_info:
    name: ml-training-vm
    zone: us-central1-a
    host_keys: true
  register: __vm

- name: Read the serial log
  gce_instance_info:
    name: ml-training-vm
    zone: us-central1-a
    serial_port: true
"""

RETURN = r"""
instance:
  description: The instance as the Compute API returns it, null when there is none.
  returned: success
  type: dict
host_keys:
  description: The host key, as C(type base64). Empty when not asked for or when the instance is not running.
  returned: success
  type: list
  elements: str
  sample: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."]
serial_output:
  description: The last part of the serial log, null when not asked for.
  returned: success
  type: str
history:
  description:
    - Events of the last weeks, oldest first, null when not asked for. Each has C(event) (created, started, stopped,
      deleted), C(at), C(by) (an account, C(the guest) or C(Google)), C(zone), C(operation) and C(failed).
    - The instance need not exist any more.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, answer, google_module
from ansible.module_utils.fanops.resources.instance_reader import read_instance

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "zone": {"type": "str", "required": True},
    "fallback_zones": {"type": "list", "elements": "str"},
    "host_keys": {"type": "bool", "default": False},
    "host_keys_timeout": {"type": "int", "default": 180},
    "serial_port": {"type": "bool", "default": False},
    "history": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    answer(google_module(OPTIONS), read_instance)


if __name__ == "__main__":
    main()
