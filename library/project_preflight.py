#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: project_preflight
short_description: Report everything that would stop a run, with the command that mends it
description:
  - Looks at the controller (tools, clock, keys in the repository), the project (billing, APIs, policies, quotas, network,
    bucket) and the identities, all in one pass, and fails with every defect and the command that mends it.
  - It changes nothing. What the run mends by itself, such as APIs that are off, is no defect. What cannot be seen while an
    API is off is returned as RV(unseen), to be looked at again when it is on.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, google_api]
options:
  region:
    description: Region of bucket, function and quotas.
    type: str
    required: true
  zone:
    description: Zone of the VM.
    type: str
    required: true
  bucket:
    description: Name of the bucket.
    type: str
    required: true
  services:
    description: The APIs that the run needs.
    type: list
    elements: str
    required: true
  permissions:
    description: The permissions that the account which runs this needs on the project.
    type: list
    elements: str
    required: true
  role_file:
    description: The role definition that lists them, as a command may name it. Its name is the role's id.
    type: str
    required: true
  accounts:
    description: E-mail addresses of the service accounts that the run puts to work.
    type: list
    elements: str
    default: []
  grants:
    description: What accounts other than the deployer need on the project. Only its owner can give it.
    type: list
    elements: dict
    default: []
    suboptions:
      account:
        description: The account's e-mail address. C({number}) stands for the project's number.
        type: str
        required: true
      permission:
        description: The permission.
        type: str
        required: true
      role:
        description: Id of the custom role that gives just this permission.
        type: str
        required: true
  vm_needed:
    description: Whether the run needs the VM. If not, machine type, quotas and network do not matter.
    type: bool
    default: true
  function_public:
    description: Whether everybody may call the function, which some organisations forbid.
    type: bool
    default: true
  vm_name:
    description: Name of the VM.
    type: str
    required: true
  machine_type:
    description: Machine type of the VM.
    type: str
    required: true
  disk_size_gb:
    description: Size of its disk.
    type: int
    required: true
  network:
    description: VPC network of the VM.
    type: str
    default: default
  wait_for_apis:
    description: Wait a while for APIs that were switched on a moment ago.
    type: bool
    default: false
  repository:
    description: The checkout, in which no key may lie where git would take it.
    type: path
    required: true
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Look for whatever would stop the run
  project_preflight:
    region: us-central1
    zone: us-central1-a
    bucket: fanops-m4-models
    services: [compute.googleapis.com]
    permissions: "{{ (lookup('ansible.builtin.file', 'role.yml') | from_yaml).includedPermissions }}"
    role_file: role.yml
    vm_name: ml-training-vm
    machine_type: e2-micro
    disk_size_gb: 30
    repository: "{{ playbook_dir }}"
  register: __preflight
"""

RETURN = r"""
findings:
  description: The defects, each with check, found and remedy.
  returned: always
  type: list
  elements: dict
  sample:
    - check: billing
      found: project my-project has no billing account, which even Always Free needs
      remedy: gcloud billing projects link my-project --billing-account=<one that 'gcloud billing accounts list' shows>
unseen:
  description: Checks that have to wait until an API is switched on.
  returned: always
  type: list
  elements: str
  sample: [quota]
"""

from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, make_client
from ansible.module_utils.fanops.preflight import local
from ansible.module_utils.fanops.preflight.cloud import Survey
from ansible.module_utils.fanops.preflight.findings import Finding, summary

OPTIONS = {
    **SHARED_OPTIONS,
    "region": {"type": "str", "required": True},
    "zone": {"type": "str", "required": True},
    "bucket": {"type": "str", "required": True},
    "services": {"type": "list", "elements": "str", "required": True},
    "permissions": {"type": "list", "elements": "str", "required": True},
    "role_file": {"type": "str", "required": True},
    "accounts": {"type": "list", "elements": "str", "default": []},
    "grants": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {name: {"type": "str", "required": True} for name in ("account", "permission", "role")},
    },
    "vm_needed": {"type": "bool", "default": True},
    "function_public": {"type": "bool", "default": True},
    "vm_name": {"type": "str", "required": True},
    "machine_type": {"type": "str", "required": True},
    "disk_size_gb": {"type": "int", "required": True},
    "network": {"type": "str", "default": "default"},
    "wait_for_apis": {"type": "bool", "default": False},
    "repository": {"type": "path", "required": True},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    params = module.params
    findings = local.tools() + local.clock()
    findings += local.key_files(params["repository"], params["service_account_file"])
    unseen: list[str] = []
    try:
        survey = Survey(make_client(module, patient=params["wait_for_apis"]), params)
        findings += survey.findings()
        unseen = survey.unseen
    except GoogleApiError as error:
        findings.append(Finding("credentials", error.found, error.remedy))
    result = {"findings": [finding.as_dict() for finding in findings], "unseen": unseen}
    if findings:
        module.fail_json(msg=summary(findings), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
