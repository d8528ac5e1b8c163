#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_service_account
short_description: Manage a service account
description:
  - Creates, renames or deletes a service account. It makes no keys, for programs on Google Cloud need none.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The account id, the part of the e-mail address before the V(@). 6 to 30 characters.
    type: str
    required: true
  display_name:
    description: Name shown in the console.
    type: str
  state:
    description: Whether the account exists.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Give the training VM an identity of its own
  gcp_service_account:
    name: m4-trainer
    display_name: Trains the sponsor model
  register: __trainer

- name: Delete it
  gcp_service_account:
    name: m4-trainer
    state: absent
"""

RETURN = r"""
service_account:
  description: The account as the IAM API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {email: m4-trainer@my-project.iam.gserviceaccount.com, displayName: Trains the sponsor model}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.service_account import ServiceAccount

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "display_name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), ServiceAccount, "service_account", patient=True)


if __name__ == "__main__":
    main()
