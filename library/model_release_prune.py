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
extends_documentation_fragment: [attributes.manages, release_bucket, google_api]
options:
  keep:
    description: How many of the releases that were live stay, the live one included.
    type: int
    default: 5
  grace_hours:
    description: Objects younger than this stay, since a publisher may be under way.
    type: float
    default: 24
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
"""

from ansible.module_utils.fanops.api.options import google_module, manage
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS
from ansible.module_utils.fanops.releases.pruning import Pruning

OPTIONS = {
    **BUCKET_OPTIONS,
    "keep": {"type": "int", "default": 5},
    "grace_hours": {"type": "float", "default": 24},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    if module.params["keep"] < 1 or module.params["grace_hours"] < 0:
        module.fail_json(msg="Give keep as at least 1 and grace_hours as at least 0: the live release always stays.")
    manage(module, Pruning, "releases")


if __name__ == "__main__":
    main()
