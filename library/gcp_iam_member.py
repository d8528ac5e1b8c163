#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_iam_member
short_description: Grant or revoke one IAM role for one member
description:
  - Adds a member to, or removes it from, a role in the IAM policy of a project, bucket,
    service account, Cloud Run service or secret.
  - Everything else in the policy is left as it is. A binding with a condition is another binding than one without, or
    with a condition of another title.
  - The policy is written with the etag it was read with, and read again when somebody else was faster.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  resource_type:
    description: What the policy belongs to.
    type: str
    choices: [project, bucket, service_account, run_service, secret]
    required: true
  resource:
    description:
      - The project id, the bucket's name, the service account's e-mail address, or the name of the Cloud Run service or secret.
      - Without it, O(project), for O(resource_type=project).
    type: str
  region:
    description: Region of the Cloud Run service, for O(resource_type=run_service).
    type: str
  role:
    description: The role, such as V(roles/storage.objectUser).
    type: str
  member:
    description: Who gets it, such as V(serviceAccount:m4-trainer@my-project.iam.gserviceaccount.com) or V(allUsers).
    type: str
  condition:
    description:
      - Under which condition the member has the role. Without it the role is unconditional.
      - On a bucket this needs uniform bucket-level access.
    type: dict
    suboptions:
      title:
        description: Tells the condition from others. One of the same title but another expression is replaced.
        type: str
        required: true
      expression:
        description: When the role counts, in the Common Expression Language.
        type: str
        required: true
      description:
        description: What the condition is for.
        type: str
  grants:
    description: Several grants on the one resource, in place of O(role), O(member) and O(condition).
    type: list
    elements: dict
    suboptions:
      role:
        description: As O(role).
        type: str
        required: true
      member:
        description: As O(member).
        type: str
        required: true
      condition:
        description: As O(condition).
        type: dict
        suboptions:
          title:
            description: As O(condition.title).
            type: str
            required: true
          expression:
            description: As O(condition.expression).
            type: str
            required: true
          description:
            description: As O(condition.description).
            type: str
  state:
    description: Whether the member has the role.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Let the training VM write releases
  gcp_iam_member:
    resource_type: bucket
    resource: fanops-m4-models
    role: roles/storage.objectUser
    member: serviceAccount:m4-trainer@my-project.iam.gserviceaccount.com

- name: Let it write below one prefix only
  gcp_iam_member:
    resource_type: bucket
    resource: fanops-m4-models
    role: projects/my-project/roles/fanops_m4_release_creator
    member: serviceAccount:m4-trainer@my-project.iam.gserviceaccount.com
    condition:
      title: releases
      expression: resource.name.startsWith("projects/_/buckets/fanops-m4-models/objects/blobs/")

- name: Take the function off the internet
  gcp_iam_member:
    resource_type: run_service
    resource: m4-sponsor-ai
    region: us-central1
    role: roles/run.invoker
    member: allUsers
    state: absent
"""

RETURN = r"""
binding:
  description: Role, member and condition, null when absent.
  returned: success, with O(role)
  type: dict
  sample: {role: roles/run.invoker, member: allUsers}
bindings:
  description: The same of each grant.
  returned: success, with O(grants)
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
from ansible.module_utils.fanops.resources.iam_member import RESOURCE_TYPES, IamMember

CONDITION = {
    "type": "dict",
    "options": {
        "title": {"type": "str", "required": True},
        "expression": {"type": "str", "required": True},
        "description": {"type": "str"},
    },
}
OPTIONS = {
    **SHARED_OPTIONS,
    "resource_type": {"type": "str", "choices": list(RESOURCE_TYPES), "required": True},
    "resource": {"type": "str"},
    "region": {"type": "str"},
    "role": {"type": "str"},
    "member": {"type": "str"},
    "condition": CONDITION,
    "grants": {
        "type": "list",
        "elements": "dict",
        "options": {
            "role": {"type": "str", "required": True},
            "member": {"type": "str", "required": True},
            "condition": CONDITION,
        },
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = google_module(
        OPTIONS,
        required_if=[
            ("resource_type", "bucket", ("resource",)),
            ("resource_type", "service_account", ("resource",)),
            ("resource_type", "run_service", ("resource", "region")),
            ("resource_type", "secret", ("resource",)),
        ],
        required_one_of=[("role", "grants")],
        required_together=[("role", "member")],
        mutually_exclusive=[("role", "grants"), ("condition", "grants")],
    )
    params = module.params
    if params["role"] is None and params["grants"] is None:  # both may be given as null
        module.fail_json(msg="Nothing is to be granted or taken. Give role or grants.")
    grants = [params] if params["grants"] is None else [{**params, **grant} for grant in params["grants"]]
    for grant in grants:
        if grant["condition"] and grant["condition"]["description"] is None:
            del grant["condition"]["description"]
    with errors_reported(module):
        client = make_client(module, patient=True)
        members = [IamMember(client, grant, must_exist=not module.check_mode) for grant in grants]
        if params["grants"] is None:
            exit_with(module, reconcile(members[0], params["state"], check_mode=module.check_mode), "binding")
        exit_with(module, reconcile_all(members, params["state"], check_mode=module.check_mode), "bindings")


if __name__ == "__main__":
    main()
