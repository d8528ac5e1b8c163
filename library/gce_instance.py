#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_instance
short_description: Manage a Compute Engine instance
description:
  - Creates a VM, corrects it, starts it, stops it or deletes it, and waits until Google says that it is so.
  - Labels, metadata, tags, deletion protection and the external address are corrected on a running VM.
  - Machine type, run limit, service account and shielded settings can only be changed on a stopped one. On a running VM
    they are reported as RV(needs_stop) with a warning, unless O(allow_restart=true).
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The instance's name.
    type: str
    required: true
  zone:
    description: The zone, such as V(us-central1-a).
    type: str
    required: true
  fallback_zones:
    description:
      - Other zones it may be in. It is looked for there too, and made there when O(zone) has no machine of its type left.
      - A stopped instance that cannot be started for that reason is deleted and made anew in another zone.
    type: list
    elements: str
  machine_type:
    description: The machine type, such as V(e2-micro). Required to create.
    type: str
  image_families:
    description:
      - Image families, the best first. A new instance gets the newest image of the first one that exists.
      - Required to create. There is a warning when it is not the first.
    type: list
    elements: str
  image_project:
    description: The project the families belong to.
    type: str
    default: debian-cloud
  disk_size_gb:
    description: Size of the boot disk in GB. Without it, the image's. It is set at creation only.
    type: int
  disk_type:
    description: Type of the boot disk. It is set at creation only.
    type: str
    default: pd-standard
  labels:
    description: Labels to set. Labels that are not mentioned are left alone.
    type: dict
  metadata:
    description: Metadata to set. Keys that are not mentioned are left alone. Booleans become V(TRUE) and V(FALSE).
    type: dict
  tags:
    description: All network tags.
    type: list
    elements: str
  network:
    description: Name of the VPC network. A new instance without it gets V(default). It is set at creation only.
    type: str
  network_tier:
    description: Tier of the external address. The Always Free egress allowance is V(PREMIUM) only.
    type: str
    choices: [PREMIUM, STANDARD]
    default: PREMIUM
  external_ip:
    description: Whether there is an ephemeral external address. A new instance gets one unless this is V(false).
    type: bool
  service_account_email:
    description: The identity of programs on the VM. Without it, they have none.
    type: str
  scopes:
    description: OAuth scopes that cap what the identity may do. A new instance gets V(cloud-platform), so IAM decides.
    type: list
    elements: str
  max_run_seconds:
    description: Google stops the VM after this many seconds from each start, at least 30.
    type: int
  deletion_protection:
    description: Whether Google refuses to delete it. V(false) with O(state=absent) removes the protection first.
    type: bool
  shielded:
    description: Shielded VM settings.
    type: dict
    suboptions:
      secure_boot:
        description: Boot signed software only.
        type: bool
      vtpm:
        description: A virtual trusted platform module.
        type: bool
      integrity_monitoring:
        description: Compare each boot with the first.
        type: bool
  allow_restart:
    description: Whether a running VM may be stopped and started to change what needs a stop.
    type: bool
    default: false
  state:
    description:
      - V(present) creates it, which starts it, and otherwise leaves it running or stopped.
      - V(running) also starts it.
      - V(stopped) stops it and waits for the status TERMINATED. It never creates one.
      - V(absent) deletes it and its boot disk.
    type: str
    choices: [present, running, stopped, absent]
    default: present
"""

EXAMPLES = r"""
- name: Have the training VM running
  gce_instance:
    name: ml-training-vm
    zone: us-central1-a
    machine_type: e2-micro
    image_families: [debian-11, debian-12]
    disk_size_gb: 30
    labels: {app: fanops-m4, managed-by: ansible, role: training}
    metadata:
      enable-guest-attributes: "TRUE"
      ssh-keys: "ansible:ssh-ed25519 AAAAC3Nza... ansible"
    tags: [fanops-m4]
    service_account_email: m4-trainer@my-project.iam.gserviceaccount.com
    max_run_seconds: 7200
    shielded: {secure_boot: true, vtpm: true, integrity_monitoring: true}
    state: running

- name: Stop it
  gce_instance:
    name: ml-training-vm
    zone: us-central1-a
    state: stopped

- name: Delete it
  gce_instance:
    name: ml-training-vm
    zone: us-central1-a
    state: absent
"""

RETURN = r"""
instance:
  description:
    - The instance as the Compute API returns it, null when there is none.
    - In check mode, what it would be, as far as that can be known (a new one's addresses cannot).
  returned: success
  type: dict
  sample: {name: ml-training-vm, status: RUNNING}
image_family:
  description: The image family the instance is, or would be, made from. Null when that cannot be told.
  returned: when the instance is present
  type: str
  sample: debian-12
image_fallback:
  description: Whether O(image_families) had to be tried beyond the first.
  returned: when the instance is present
  type: bool
needs_stop:
  description: Options that differ but were left alone, because the VM is running and O(allow_restart) is false.
  returned: when the instance is present
  type: list
  elements: str
  sample: [machine_type]
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.instance import Instance

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "zone": {"type": "str", "required": True},
    "fallback_zones": {"type": "list", "elements": "str"},
    "machine_type": {"type": "str"},
    "image_families": {"type": "list", "elements": "str"},
    "image_project": {"type": "str", "default": "debian-cloud"},
    "disk_size_gb": {"type": "int"},
    "disk_type": {"type": "str", "default": "pd-standard"},
    "labels": {"type": "dict"},
    "metadata": {"type": "dict"},
    "tags": {"type": "list", "elements": "str"},
    "network": {"type": "str"},
    "network_tier": {"type": "str", "choices": ["PREMIUM", "STANDARD"], "default": "PREMIUM"},
    "external_ip": {"type": "bool"},
    "service_account_email": {"type": "str"},
    "scopes": {"type": "list", "elements": "str"},
    "max_run_seconds": {"type": "int"},
    "deletion_protection": {"type": "bool"},
    "shielded": {
        "type": "dict",
        "options": {
            "secure_boot": {"type": "bool"},
            "vtpm": {"type": "bool"},
            "integrity_monitoring": {"type": "bool"},
        },
    },
    "allow_restart": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "running", "stopped", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), Instance, "instance", patient=True)


if __name__ == "__main__":
    main()
