#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_release_info
short_description: Read which model release is live, and what is in its bucket
description:
  - Follows the pointer C(current.json) in the bucket to the manifest of the live release, and checks its digest.
  - A bucket or pointer that does not exist yet means that there is no release.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, release_bucket, google_api]
options:
  all:
    description: Whether to return every release in the bucket too, as RV(releases).
    type: bool
    default: false
  objects:
    description: Whether to return every object in the bucket too, as RV(objects).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See which release is live
  model_release_info:
    bucket: fanops-m4-models
  register: __live

- name: Show its accuracy
  ansible.builtin.debug:
    msg: "{{ __live.release.metrics }}"
  when: __live.release is not none
"""

RETURN = r"""
release:
  description:
    - The manifest of the live release, with the pointer's members added. Null when there is none.
  returned: success
  type: dict
  contains:
    version:
      description: The number the pointer gave to the release, counting promotions.
      type: int
    manifest_sha256:
      description: SHA-256 of the manifest.
      type: str
    fingerprint:
      description: Fingerprint of code, lock, data and parameters it was trained with.
      type: str
    created:
      description: When it was made.
      type: str
    metrics:
      description: Measured quality.
      type: dict
    files:
      description: The files of the release by name, with path, size and digest.
      type: dict
pointer:
  description: The pointer as it is stored, null when there is none.
  returned: success
  type: dict
releases:
  description: Every release in the bucket, promoted ones first, latest first, then candidates.
  returned: O(all=true)
  type: list
  elements: dict
  sample:
    - {release: 3f9a…, version: 7, live: true, promoted: "2026-11-01T10:00:00+00:00", action: publish, forced: false,
       reason: passed the quality gate, created: "2026-11-01T09:59:00+00:00", code: 51d0…, data: 9b1c…, samples: 10000,
       accuracy: 0.878, size_bytes: 4700000, serving_bytes: 210000000}
objects:
  description: Every object in the bucket by name, with its size in bytes and when it was written.
  returned: O(objects=true)
  type: list
  elements: dict
  sample:
    - {name: current.json, size: 812, updated: "2026-11-01T10:00:00.000Z"}
"""

from ansible.module_utils.fanops.api.options import answer, google_module
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS, read_releases

OPTIONS = {
    **BUCKET_OPTIONS,
    "all": {"type": "bool", "default": False},
    "objects": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    answer(google_module(OPTIONS), read_releases)


if __name__ == "__main__":
    main()
