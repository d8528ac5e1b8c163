#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_release
short_description: Choose which model release is live
description:
  - Swaps the pointer C(current.json) to a release that is in the bucket already, by one compare-and-swap. Nothing is
    trained.
  - With O(source_bucket), the release is one of another environment. Its golden rows are replayed as the function does it, the gate is
    asked, then manifest and files are copied, create-only, to the same names, and read back by their digests before the swap.
  - Manifest and files are checked before. A lost answer is told apart from a lost race by the write-id in the pointer.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, release_bucket, google_api]
options:
  release:
    description:
      - A version, the beginning of a manifest's SHA-256 (6 characters or more), V(live), or V(previous), the release that was
        live before this one. After a rollback V(previous) is one further back.
      - With O(source_bucket), what is meant there.
    type: str
    required: true
  action:
    description:
      - V(promote) asks the quality gate (accuracy floor, no regression, schema, memory of the function).
      - V(rollback) does not, since the live release is what is wrong. It is not for a release of another bucket.
    type: str
    choices: [promote, rollback]
    default: promote
  source_bucket:
    description: The bucket of another environment, from which the release is copied.
    type: str
  source_environment:
    description: What that environment is called, for those who read the history later.
    type: str
    default: ""
  reason:
    description: Why, for those who read the history later.
    type: str
    default: ""
  force:
    description: Promote it although the gate refuses. The pointer records that.
    type: bool
    default: false
  accuracy_floor:
    description: The least accuracy (0 to 1) on the held-out rows.
    type: float
    default: 0.6
  function_memory:
    description: Memory of an instance of the function, such as V(512Mi).
    type: str
    default: 512Mi
"""

EXAMPLES = r"""
- name: Go back to the release before
  model_release:
    bucket: fanops-m4-models
    release: previous
    action: rollback
    reason: Sidi Ali is shown in the snow

- name: Promote a candidate
  model_release:
    bucket: fanops-m4-models
    release: 3f9a1c22

- name: Take over what is live in staging
  model_release:
    bucket: fanops-m4-models
    release: live
    source_bucket: fanops-m4-staging-models
    source_environment: staging
"""

RETURN = r"""
pointer:
  description: The pointer as it is afterwards. In check mode, what it would be.
  returned: success
  type: dict
  sample: {version: 8, manifest: 3f9a…, action: rollback, forced: false, previous: 77be…}
"""

from ansible.module_utils.fanops.api.options import google_module, manage
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS
from ansible.module_utils.fanops.releases.promotion import LiveRelease

OPTIONS = {
    **BUCKET_OPTIONS,
    "release": {"type": "str", "required": True},
    "action": {"type": "str", "choices": ["promote", "rollback"], "default": "promote"},
    "source_bucket": {"type": "str"},
    "source_environment": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "accuracy_floor": {"type": "float", "default": 0.6},
    "function_memory": {"type": "str", "default": "512Mi"},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), LiveRelease, "pointer")


if __name__ == "__main__":
    main()
