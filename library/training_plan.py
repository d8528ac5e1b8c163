#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: training_plan
short_description: Decide whether there is anything to train, and name the run
description:
  - Computes the fingerprint of code, lock, data and parameters, and compares it with the one of the live release.
  - A live release that cannot be read is returned as RV(failure), and does not fail the task. Training then counts as needed.
  - It fails when the fingerprint cannot be computed, for example because the data file does not exist, when synthetic rows
    would replace a release that learned somebody's own data, and when callers could not send what the live release accepts.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, release_bucket, google_api]
options:
  source:
    description: The checkout with C(ml/) and C(requirements/training.txt). A relative O(data) is looked up in it.
    type: path
    required: true
  python:
    description: The Python interpreter that computes the fingerprint. Without it, the module's own.
    type: path
  samples:
    description: Rows to generate, where O(data) is not given.
    type: int
    default: 10000
  seed:
    description: Seed of the training.
    type: int
    default: 42
  data:
    description: A file, folder or pattern to train on, as a path or in C(gs://bucket/).
    type: str
    default: ""
  data_days:
    description: Of O(data), use the files of the newest days only. V(0) uses all.
    type: int
    default: 0
  model_schema:
    description: A description of the fields that takes the place of C(ml/core/schema.json). A relative path begins at O(source).
    type: str
    default: ""
  sponsor_catalogue:
    description: A catalogue of the sponsors that takes the place of C(ml/core/sponsors.json). A relative path begins at O(source).
    type: str
    default: ""
  accept_schema_change:
    description: Let a release take over to which callers may send less than to the live one.
    type: bool
    default: false
  accept_source_change:
    description: Let synthetic rows replace a live release that learned O(data).
    type: bool
    default: false
  force:
    description: Train even if the live release was made from the same code, data and parameters.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Decide whether there is anything to train
  training_plan:
    bucket: fanops-m4-models
    source: "{{ playbook_dir }}"
    samples: 10000
    seed: 42
  register: __plan

- name: Say why
  ansible.builtin.debug:
    msg: "{{ __plan.reason }}"
"""

RETURN = r"""
needed:
  description: Whether there is anything to train.
  returned: success
  type: bool
reason:
  description: Why, in words.
  returned: success
  type: str
  sample: there is no release yet
fingerprint:
  description: SHA-256 over everything that decides the training's result.
  returned: success
  type: str
run_id:
  description: Name of the run. The same plan has the same name, unless O(force=true), which puts the time into it.
  returned: success
  type: str
  sample: 1f0c5e3a9b7d-first
release:
  description: The live release, as C(model_release_info) returns it. Null when there is none.
  returned: success
  type: dict
plan:
  description: Per resource its name, what is done to it (C(none) or C(create)), and the actions.
  returned: success
  type: list
  elements: dict
failure:
  description: Why the live release could not be read, in one line. Null when it could.
  returned: success
  type: str
"""

import datetime
import sys
from typing import Any

from ansible.module_utils.fanops.api.options import google_module, make_client
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS, Bucket, live_release
from ansible.module_utils.fanops.training.plan import FingerprintError, plan_training

OPTIONS = {
    **BUCKET_OPTIONS,
    "source": {"type": "path", "required": True},
    "python": {"type": "path"},
    "samples": {"type": "int", "default": 10000},
    "seed": {"type": "int", "default": 42},
    "data": {"type": "str", "default": ""},
    "data_days": {"type": "int", "default": 0},
    "model_schema": {"type": "str", "default": ""},
    "sponsor_catalogue": {"type": "str", "default": ""},
    "accept_schema_change": {"type": "bool", "default": False},
    "accept_source_change": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    params = module.params

    def read_live() -> Any:
        return live_release(Bucket(make_client(module), params["bucket"]))["release"]

    try:
        now = datetime.datetime.now(datetime.timezone.utc)
        module.exit_json(changed=False, **plan_training(read_live, module.run_command, params, sys.executable, now))
    except FingerprintError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
