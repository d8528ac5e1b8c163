#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_release_prune
short_description: Delete old model releases
description:
  - Deletes manifests and files that nobody needs any more.
  - Never the live release, one of the last O(keep) that were live, anything made or used within O(grace_hours), or a
    file that one of those refers to.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Predicts the change without making it.
  diff_mode:
    support: full
    description: Returns what differs, before and after.
extends_documentation_fragment: [google_api]
options:
  bucket:
    description: The bucket of the releases.
    type: str
    required: true
  keep:
    description: How many of the releases that were live stay, the live one included.
    type: int
    default: 5
  grace_hours:
    description: Objects younger than this stay, since a publisher may be under way.
    type: float
    default: 24
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Keep the last three releases
  model_release_prune:
    bucket: fanops-m4-models
    keep: 3
"""

RETURN = r"""
releases:
  description: The objects that are kept, and those that are left to delete (none, unless one came into use meanwhile).
  returned: success
  type: dict
  sample: {kept: [manifests/3f9a….json], superfluous: [], superfluous_bytes: 0}
actions:
  description: What was deleted, or would be deleted in check mode.
  returned: success
  type: list
  elements: str
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import reconcile
from ansible.module_utils.fanops.releases.pruning import Pruning

OPTIONS = {
    **SHARED_OPTIONS,
    "bucket": {"type": "str", "required": True},
    "keep": {"type": "int", "default": 5},
    "grace_hours": {"type": "float", "default": 24},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    if module.params["keep"] < 1 or module.params["grace_hours"] < 0:
        module.fail_json(msg="keep must be at least 1 and grace_hours at least 0: the live release always stays.")
    with errors_reported(module):
        pruning = Pruning(make_client(module), module.params)
        exit_with(module, reconcile(pruning, "present", check_mode=module.check_mode), "releases")


if __name__ == "__main__":
    main()
