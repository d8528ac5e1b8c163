#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: site_lock
short_description: Let one run at a time change a site
description:
  - Takes the site's lock, an object in the bucket of the releases, or fails with who holds it, since when, and what to do.
  - The lock is held by a lease of three minutes. A process on the controller renews it while the run goes on, and gives it back when
    the run has ended, however it ended. While a training is on, the VM renews it too.
  - In check mode nothing is taken.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, release_bucket, google_api]
options:
  state:
    description:
      - V(held) takes the lock, or renews it. V(free) only checks that nobody else holds it.
      - V(broken) deletes it whoever holds it, for when the VM was stopped in an emergency.
    type: str
    choices: [held, free, broken]
    default: held
  purpose:
    description: What the run does, for whoever comes second.
    type: str
    default: an ansible run
  token:
    description: The token of the lock that this run has taken already.
    type: str
  run_id:
    description: The training that is meant. If the VM is busy with just this one, the run joins it.
    type: str
    default: ""
  keep:
    description: Renew the lock until the run has ended.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Take the site's lock
  site_lock:
    project: my-project
    bucket: fanops-m4-models
    purpose: site.yml
  register: __lock
"""

RETURN = r"""
token:
  description: The token of the lock. Null where it was not taken, because there is no bucket yet or in check mode.
  returned: success
  type: str
lock:
  description: With O(state=broken), the lock that was deleted, or null.
  returned: success
  type: dict
"""

from ansible.module_utils.fanops.api.options import errors_reported, google_module, make_client
from ansible.module_utils.fanops.releases.listing import BUCKET_OPTIONS, Bucket
from ansible.module_utils.fanops.releases.lock import Lock, keep, run_of_this_module

OPTIONS = {
    **BUCKET_OPTIONS,
    "state": {"type": "str", "choices": ["held", "free", "broken"], "default": "held"},
    "purpose": {"type": "str", "default": "an ansible run"},
    "token": {"type": "str", "no_log": False},
    "run_id": {"type": "str", "default": ""},
    "keep": {"type": "bool", "default": True},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    params = module.params
    with errors_reported(module):
        run = run_of_this_module()  # first: whatever fails here leaves no lock behind
        lock = Lock(Bucket(make_client(module), params["bucket"]))
        result = lock.result(params, check_mode=module.check_mode)
        if result.warning:
            module.warn(result.warning)
        if result.new and params["keep"]:
            keep(lock, str(result.token), run)
        module.exit_json(changed=result.deleted is not None, token=result.token, lock=result.deleted)


if __name__ == "__main__":
    main()
