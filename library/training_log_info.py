#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: training_log_info
short_description: Read the log of the last training run from the bucket
description:
  - Every run leaves its log and its end in the bucket, so both can be read when the VM is stopped or gone.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, release_bucket, google_api]
options:
  run_id:
    description: The run. Without it, the one that ended last.
    type: str
  lines:
    description: How many lines from the end.
    type: int
    default: 50
"""

EXAMPLES = r"""
- name: Read how the last training went
  training_log_info:
    bucket: fanops-m4-models
    lines: 200
  register: __log
"""

RETURN = r"""
run_id:
  description: The run, null when none has ended.
  returned: success
  type: str
run:
  description: What was started, when (seconds since the epoch), and how it ended (C(status)).
  returned: success
  type: dict
lines:
  description: The end of its log.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.fanops.api.options import answer, google_module
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS
from ansible.module_utils.fanops.training.last_log import read_log

OPTIONS = {
    **BUCKET_OPTIONS,
    "run_id": {"type": "str"},
    "lines": {"type": "int", "default": 50},
}


def main() -> None:
    """Run the module."""
    answer(google_module(OPTIONS), read_log)


if __name__ == "__main__":
    main()
