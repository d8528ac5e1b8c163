# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that know what things cost (module_utils/fanops/costs/options.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc, wherever a module extends ``cost_configuration``."""

    DOCUMENTATION = r"""
options:
  configuration:
    description: What the site's variables ask for, as far as it can cost money.
    type: dict
    required: true
    suboptions:
      vm_name:
        description: The training VM's name.
        type: str
        required: true
      zone:
        description: The training VM's zone.
        type: str
        required: true
      fallback_zones:
        description: Zones that the VM may be in instead.
        type: list
        elements: str
        default: []
      machine_type:
        description: Its machine type.
        type: str
        default: e2-micro
      resizes:
        description: Whether a running VM is about to get that machine type, so that the one it has does not count.
        type: bool
        default: false
      disk_type:
        description: The type of its boot disk.
        type: str
        default: pd-standard
      disk_size_gb:
        description: The size of its boot disk, in GB as Google counts disks (GiB).
        type: int
        default: 30
      workers:
        description: Further VMs of a training on several machines.
        type: int
        default: 0
      bucket:
        description: The bucket of the releases.
        type: str
        required: true
      bucket_location:
        description: Its location. A bucket that exists is judged by where it is.
        type: str
        default: us-central1
      bucket_storage_class:
        description: Its default storage class.
        type: str
        default: STANDARD
      soft_delete_seconds:
        description: For how long it keeps deleted objects.
        type: int
        default: 0
      function_min_instances:
        description: Instances of the function that are kept warm.
        type: int
        default: 0
      function_memory:
        description: Memory of an instance of the function, such as V(512Mi).
        type: str
        default: 512Mi
      function_cpu:
        description: CPUs of an instance of the function.
        type: float
        default: 1.0
      function_max_instances:
        description: The most instances of the function at once.
        type: int
        default: 3
      function_region:
        description: The region of the function, whose images of deployments are added up.
        type: str
        default: us-central1
      schedule:
        description: When Google starts the VM by itself, as five cron fields. Empty is never.
        type: str
        default: ""
      timezone:
        description: The time zone of the schedule.
        type: str
        default: UTC
      max_run_seconds:
        description: After how many seconds Google stops the VM.
        type: int
        default: 7200
  prices:
    description: Path of the price file (pricing/google_cloud.yml of this repository).
    type: path
    required: true
"""
