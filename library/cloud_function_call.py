#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloud_function_call
short_description: Ask an HTTP function one question
description:
  - Sends a JSON object by POST and returns the answer and how long it took.
  - It first asks as anybody could. A private function refuses that, and is asked again with an ID token.
  - In check mode the function is asked too, for a question changes nothing. One that does not exist yet is skipped.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, google_api]
options:
  name:
    description: The function's name.
    type: str
    required: true
  region:
    description: The region.
    type: str
    required: true
  body:
    description: The JSON object to send.
    type: dict
    default: {}
  patience:
    description:
      - Seconds to go on asking a function that itself answers that it cannot serve yet (503 as V(application/problem+json)).
      - Give more right after its account was granted access, for a grant can take minutes to count.
    type: int
    default: 10
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask for a sponsor
  cloud_function_call:
    name: m4-sponsor-ai
    region: us-central1
    body: {zone: VIP, event: Goal, match_minute: 63}
  register: __prediction
"""

RETURN = r"""
status:
  description: HTTP status of the answer, null when the function does not exist yet (check mode only).
  returned: success
  type: int
  sample: 200
response:
  description: The JSON object it answered, null if the answer is something else.
  returned: success
  type: dict
  sample: {recommended_sponsor: Visa, confidence: 0.91}
latency_ms:
  description: Milliseconds from request to answer.
  returned: success
  type: float
  sample: 41.7
url:
  description: The address that was asked.
  returned: success
  type: str
authenticated:
  description: Whether an ID token was needed.
  returned: success
  type: bool
"""

from functools import partial

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, answer, google_module
from ansible.module_utils.fanops.resources.function_call import call_function

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "body": {"type": "dict", "default": {}},
    "patience": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    answer(module, partial(call_function, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
