#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_leftover
short_description: Delete a disk, a static address or an instance schedule that a VM left behind
description:
  - Deletes one disk, one reserved address or one instance schedule. One that is in use is refused by Google.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  kind:
    description: What it is.
    type: str
    choices: [disk, address, schedule]
    required: true
  name:
    description: Its name.
    type: str
    required: true
  place:
    description: The zone of a disk, the region of an address or a schedule.
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
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.leftover import Leftover

OPTIONS = {
    **SHARED_OPTIONS,
    "kind": {"type": "str", "choices": ["disk", "address", "schedule"], "required": True},
    "name": {"type": "str", "required": True},
    "place": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent"], "default": "absent"},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), Leftover, "leftover")


if __name__ == "__main__":
    main()
