#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_iam_role
short_description: Manage a project's custom IAM roles
description:
  - Creates, changes or deletes a custom role, so that an account can be given exactly what it needs.
  - Give one role by O(name), or several by O(roles).
  - A role of that name that was deleted less than a week ago is undeleted, since Google keeps its name.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The role id. 3 to 64 letters, digits, underscores or periods.
    type: str
  title:
    description: Name shown in the console.
    type: str
  description:
    description: What the role is for.
    type: str
  permissions:
    description: The permissions, all of them. Required for O(state=present).
    type: list
    elements: str
  stage:
    description: Launch stage. A role in the stage V(DISABLED) gives nothing.
    type: str
    choices: [ALPHA, BETA, GA, DEPRECATED, DISABLED]
    default: GA
  roles:
    description: Several roles, in place of O(name), O(title), O(description), O(permissions) and O(stage).
    type: list
    elements: dict
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
      title:
        description: As O(title).
        type: str
      description:
        description: As O(description).
        type: str
      permissions:
        description: As O(permissions).
        type: list
        elements: str
      stage:
        description: As O(stage).
        type: str
        choices: [ALPHA, BETA, GA, DEPRECATED, DISABLED]
        default: GA
  state:
    description: Whether the role exists.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Let accounts read releases, and nothing else
  gcp_iam_role:
    name: fanops_m4_release_reader
    title: FanOps M4 release reader
    permissions:
      - storage.objects.get

- name: Make two at once
  gcp_iam_role:
    roles:
      - {name: fanops_m4_release_reader, permissions: [storage.objects.get]}
      - {name: fanops_m4_release_lister, permissions: [storage.objects.list]}

- name: Delete it
  gcp_iam_role:
    name: fanops_m4_release_reader
    state: absent
"""

RETURN = r"""
role:
  description: The role as the IAM API returns it, null when absent. In check mode, what it would be.
  returned: success, with O(name)
  type: dict
  sample: {name: projects/my-project/roles/fanops_m4_release_reader, includedPermissions: [storage.objects.get]}
roles:
  description: The same of each role.
  returned: success, with O(roles)
  type: list
  elements: dict
"""

from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import reconcile, reconcile_all
from ansible.module_utils.fanops.resources.iam_role import IamRole

ROLE = {
    "title": {"type": "str"},
    "description": {"type": "str"},
    "permissions": {"type": "list", "elements": "str"},
    "stage": {"type": "str", "choices": ["ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED"], "default": "GA"},
}
OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str"},
    **ROLE,
    "roles": {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "required": True}, **ROLE}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS, required_one_of=[("name", "roles")], mutually_exclusive=[("name", "roles")])
    several, state = module.params["roles"], module.params["state"]
    wanted = several if several is not None else [module.params]
    nameless = [role["name"] for role in wanted if state == "present" and role["permissions"] is None]
    if nameless:
        module.fail_json(
            msg=f"state is present but permissions are not given for {', '.join(nameless)}. Give permissions."
        )
    with errors_reported(module):
        client = make_client(module, patient=True)
        roles = [IamRole(client, role) for role in wanted]
        if several is None:
            exit_with(module, reconcile(roles[0], state, check_mode=module.check_mode), "role")
        exit_with(module, reconcile_all(roles, state, check_mode=module.check_mode), "roles")


if __name__ == "__main__":
    main()
