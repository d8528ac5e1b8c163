#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcs_bucket
short_description: Manage a Cloud Storage bucket
description:
  - Creates a bucket, corrects its settings, or deletes it.
  - Bucket names are shared by all of Google Cloud. A name that belongs to another project is refused, in check mode
    too.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The bucket's name.
    type: str
    required: true
  location:
    description: Region or multi-region. It cannot be changed later.
    type: str
    default: us-central1
  storage_class:
    description: Default storage class of its objects.
    type: str
    choices: [STANDARD, NEARLINE, COLDLINE, ARCHIVE]
  labels:
    description: Labels to set. Labels that are not mentioned are left alone.
    type: dict
  uniform_access:
    description: Whether access is decided by IAM only, without access control lists on objects.
    type: bool
  public_access_prevention:
    description: V(enforced) forbids making anything in it public.
    type: str
    choices: [enforced, inherited]
  soft_delete_seconds:
    description: How long deleted objects can be restored, and are billed. V(0) switches it off.
    type: int
  state:
    description: Whether the bucket exists. Only an empty bucket can be deleted, unless O(force=true).
    type: str
    choices: [present, absent]
    default: present
  force:
    description: With O(state=absent), delete the bucket's objects first, in all their versions.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Create the bucket of the releases
  gcs_bucket:
    name: fanops-m4-models
    location: us-central1
    storage_class: STANDARD
    uniform_access: true
    public_access_prevention: enforced
    soft_delete_seconds: 0
    labels: {app: fanops-m4, managed-by: ansible}

- name: Delete it
  gcs_bucket:
    name: fanops-m4-models
    state: absent
"""

RETURN = r"""
bucket:
  description: The bucket as the Cloud Storage API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {name: fanops-m4-models, location: US-CENTRAL1, storageClass: STANDARD}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.storage_bucket import StorageBucket

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "location": {"type": "str", "default": "us-central1"},
    "storage_class": {"type": "str", "choices": ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"]},
    "labels": {"type": "dict"},
    "uniform_access": {"type": "bool"},
    "public_access_prevention": {"type": "str", "choices": ["enforced", "inherited"]},
    "soft_delete_seconds": {"type": "int"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), StorageBucket, "bucket", patient=True)


if __name__ == "__main__":
    main()
