#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_costs_info
short_description: What the configuration, and what there is of it, costs
description:
  - Reads what the project has, adds up a month of it with and without Always Free, and lists the VM's runs with their
    costs, by Google's timestamps.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.reads, cost_configuration, google_api]
options:
  hours_per_week:
    description: Hours that the VM runs in a week, for the estimate; at most 168.
    type: float
    default: 1.0
  monthly_ceiling_usd:
    description: What the hours of VMs beyond Always Free may cost in a calendar month (UTC), in dollars.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Add up what a month costs
  gcp_costs_info:
    configuration:
      vm_name: ml-training-vm
      zone: us-central1-a
      bucket: fanops-m4-models
    prices: pricing/google_cloud.yml
    hours_per_week: 1
  register: __costs
"""

RETURN = r"""
report:
  description: >-
    The prices' day, machine types, the bills of a month (always_on, estimate, stopped) line by line, the runs, this month against its
    ceiling, and the sources. Amounts are dollars; with_free has Always Free taken off.
  returned: success
  type: dict
lines:
  description: The same as tables for a terminal.
  returned: success
  type: list
  elements: str
summary:
  description: The same in one line.
  returned: success
  type: str
"""

from decimal import Decimal

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, errors_reported, google_module, make_client
from ansible.module_utils.fanops.costs import ceiling, report
from ansible.module_utils.fanops.costs.options import (
    CEILING_OPTION,
    CONFIGURATION_OPTIONS,
    load_ceiling,
    load_prices,
    load_wanted,
)
from ansible.module_utils.fanops.costs.project_reader import google_now, read_holdings, read_runs

OPTIONS = {
    **SHARED_OPTIONS,
    **CONFIGURATION_OPTIONS,
    **CEILING_OPTION,
    "hours_per_week": {"type": "float", "default": 1.0},
}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    prices, wanted, limit = load_prices(module), load_wanted(module), load_ceiling(module)
    hours = module.params["hours_per_week"]
    if not 0 <= hours <= 168:
        module.fail_json(msg=f"hours_per_week is {hours}: a week has 168 hours. Give a number from 0 to 168.")
    with errors_reported(module):
        client = make_client(module)
        found = read_holdings(client, wanted, bucket_size=True)
        past = read_runs(client, wanted, found)
        now = google_now(client)
        data = report.report(wanted, found, prices, Decimal(str(hours)), past, now)
        data["ceiling"] = ceiling.facts(ceiling.read_uses(client, wanted, found, now, past), limit, now, prices)
        module.exit_json(changed=False, report=data, lines=report.lines(data), summary=report.summary(data))


if __name__ == "__main__":
    main()
