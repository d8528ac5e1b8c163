#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: function_builds
short_description: Have the images of a function's older deployments deleted, or delete all that its builds left
description:
  - Every deployment of a function leaves an image in the Artifact Registry repository C(gcf-artifacts) of its region, and a source in the
    bucket C(gcf-v2-sources-...). Google deletes neither with the function.
  - With O(state=present) the repository gets two cleanup policies for this function's images, which Google carries out about once a day.
    Policies of others stay. A trial mode (C(cleanupPolicyDryRun)) is switched off, with a warning where others have policies.
  - The policies go by the beginning of the package's name, so they count for functions, too, whose names begin with O(name); of each of
    them the newest images stay as well.
  - With O(state=absent) the function's images and sources are deleted at once. Repository, buckets and uploads are shared by all functions
    of the region, so they are deleted only where nothing of another function is in them.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The function's name.
    type: str
    required: true
  region:
    description: The function's region.
    type: str
    required: true
  keep:
    description: How many of the newest images stay, whatever their age. Others are deleted when they are a day old.
    type: int
    default: 2
  state:
    description: Whether there are builds.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Keep the live image and the one before it
  function_builds:
    name: m4-sponsor-ai
    region: us-central1
    keep: 2

- name: Delete what is left of a function that was deleted
  function_builds:
    name: m4-sponsor-ai
    region: us-central1
    state: absent
"""

RETURN = r"""
builds:
  description: The repository as the API returns it, null where there is none or nothing of this function is left.
  returned: success
  type: dict
  sample: {name: projects/my-project/locations/us-central1/repositories/gcf-artifacts, sizeBytes: "378000000"}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.function_builds import FunctionBuilds

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "keep": {"type": "int", "default": 2},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    if module.params["keep"] < 1:
        module.fail_json(msg=f"keep is {module.params['keep']}: give 1 or more, the live image among them.")
    manage(module, FunctionBuilds, "builds")


if __name__ == "__main__":
    main()
