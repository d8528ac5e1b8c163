#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: free_tier_guard
short_description: Refuse what would leave Google's Always Free tier, or pass the month's ceiling
description:
  - Reads which VMs, disks, addresses and which bucket the project has, and judges them together with what is wanted.
  - Fails, in one line, with every violation, what it would cost a month, and how to avoid or to allow it.
  - With O(allow_billable=true) it passes, with the same findings as warnings, as long as the month stays below
    O(monthly_ceiling_usd).
  - The ceiling allows nothing. It limits what O(allow_billable) allows, namely the hours of VMs beyond Always Free and the external
    addresses of those hours. Disks, buckets and functions cost the same whether a VM is started or not, so it leaves them out.
  - A project whose Compute Engine API is switched off has no VM, disk or address.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, cost_configuration, google_api]
options:
  allow_billable:
    description: Whether costs are meant.
    type: bool
    default: false
  monthly_ceiling_usd:
    description: What the hours of VMs beyond Always Free may cost in a calendar month (UTC), in dollars.
    type: float
    default: 0
  starts_vm:
    description: Whether a VM is going to be started. Without a start nothing can pass the ceiling.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Refuse what would leave Always Free
  free_tier_guard:
    configuration:
      vm_name: ml-training-vm
      zone: us-central1-a
      machine_type: e2-small
      bucket: fanops-m4-models
    prices: pricing/google_cloud.yml
    allow_billable: true
  register: __guard
"""

RETURN = r"""
findings:
  description: What would be billed, each with its rule, what was found, dollars a month, how to avoid and to allow it.
  returned: always
  type: list
  elements: dict
  sample: [{rule: disk-size, found: "vm_disk_size_gb is 50, and 30 GB are free", month: 0.8}]
month:
  description: Dollars a month of all findings at list price, each resource counted once.
  returned: always
  type: float
  sample: 12.23
summary:
  description: One line, which always names the external address's price.
  returned: always
  type: str
ceiling:
  description: The month, its sum beyond Always Free, the ceiling and what is left of it, in dollars, and a line about it. Null where
    nothing billable would be started.
  returned: always
  type: dict
  sample: {month: 2026-11, spent: 0.31, ceiling: 5.0, left: 4.69}
machine:
  description: The training VM's machine type and status as it is (null without a VM), the type wanted, the difference in
    dollars a month at list price (null where a price is not listed), and a sentence about it.
  returned: always
  type: dict
plan_notes:
  description: What a plan says of the costs.
  returned: always
  type: list
  elements: str
as_of:
  description: The day that the prices are of.
  returned: always
  type: str
  sample: "2026-11-23"
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, errors_reported, google_module, make_client
from ansible.module_utils.fanops.costs import ceiling
from ansible.module_utils.fanops.costs.findings import refusal
from ansible.module_utils.fanops.costs.guard import facts, judge
from ansible.module_utils.fanops.costs.options import (
    CEILING_OPTION,
    CONFIGURATION_OPTIONS,
    load_ceiling,
    load_prices,
    load_wanted,
)
from ansible.module_utils.fanops.costs.project_reader import read_holdings

OPTIONS = {
    **SHARED_OPTIONS,
    **CONFIGURATION_OPTIONS,
    **CEILING_OPTION,
    "allow_billable": {"type": "bool", "default": False},
    "starts_vm": {"type": "bool", "default": True},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    prices, wanted, limit = load_prices(module), load_wanted(module), load_ceiling(module)
    with errors_reported(module):
        found = read_holdings(client := make_client(module), wanted)
        findings = judge(wanted, found, prices)
        result = {**facts(findings, wanted, found, prices), "ceiling": None}
        if findings and not module.params["allow_billable"]:
            module.fail_json(msg=refusal(findings, prices), **result)
        if findings and module.params["starts_vm"]:
            result["ceiling"], refused = ceiling.judge_start(client, wanted, found, limit, prices)
            if refused:
                module.fail_json(msg=refused, **result)
        for finding in findings:
            module.warn(f"Billable: {finding.line}")
        module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
