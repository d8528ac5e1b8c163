#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: secret_manager_secret
short_description: Manage a secret and its value
description:
  - Creates, changes or deletes a secret of Secret Manager. Google chooses where it is kept.
  - The value is written and never read, and no result, diff or log shows it. A salted digest in an
    annotation tells whether it is the one given.
  - Only the latest version is kept. The versions before it are destroyed, since Google gives away a few only.
  - Where the API is switched off, an absent secret is absent.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The secret's name.
    type: str
    required: true
  value:
    description: Its value, up to 64 KiB. Without it, a value that is there is left alone, and a new secret has none.
    type: str
  labels:
    description: Labels that it shall have; others are left alone.
    type: dict
  state:
    description: Whether the secret exists.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Keep an address that nobody else shall know
  secret_manager_secret:
    name: fanops-m4-notify
    value: "{{ vaulted_address }}"
    labels: {app: fanops-m4}

- name: Keep it no more
  secret_manager_secret:
    name: fanops-m4-notify
    state: absent
"""

RETURN = r"""
secret:
  description: The secret as the API returns it, with its C(versions) that are not destroyed, null when absent. Never its value.
  returned: success
  type: dict
  sample: {name: projects/123456789012/secrets/fanops-m4-notify, labels: {app: fanops-m4}}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.secret import Secret

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "value": {"type": "str", "no_log": True},
    "labels": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    # Where none is wanted, an API that is off needs no waiting for.
    manage(module, Secret, "secret", patient=module.params["state"] == "present")


if __name__ == "__main__":
    main()
