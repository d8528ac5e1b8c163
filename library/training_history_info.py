#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: training_history_info
short_description: Read what became of the last runs, and when the next one is due
description:
  - Every run leaves its outcome in the bucket, whether site.yml, the schedule or a person on the VM brought it about.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, release_bucket, google_api]
options:
  schedule:
    description: Name of the instance schedule. Without it, no run is due.
    type: str
  limit:
    description: How many outcomes, from the newest.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Read how the last runs went
  training_history_info:
    bucket: fanops-m4-models
    schedule: ml-training-vm-schedule
  register: __history
"""

RETURN = r"""
outcomes:
  description:
    - The outcomes, oldest first, with C(run), C(trigger) (V(site), V(schedule) or V(hand)), C(why) and C(result) (V(promoted),
      V(refused), V(failed) or V(nothing new)).
    - Figures are C(seconds), C(rows), C(accuracy), C(vm_seconds) and C(list_price_usd); C(message) says what went wrong.
  returned: success
  type: list
  elements: dict
schedule:
  description: C(name), C(cron), C(timezone), C(next) and C(last), as Google says. Null without a schedule.
  returned: success
  type: dict
missed:
  description: Times of the last five weeks at which a run was due and none came.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.fanops.api.options import answer, google_module
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS
from ansible.module_utils.fanops.training.history import read_history

OPTIONS = {
    **BUCKET_OPTIONS,
    "schedule": {"type": "str"},
    "limit": {"type": "int", "default": 20},
}


def main() -> None:
    """Run the module."""
    answer(google_module(OPTIONS), read_history)


if __name__ == "__main__":
    main()
