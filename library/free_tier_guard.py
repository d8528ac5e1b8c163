#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: free_tier_guard
short_description: Refuse what would leave Google's Always Free tier
description:
  - Reads which VMs, disks, addresses and which bucket the project has, and judges them together with what is wanted.
  - Fails, in one line, with every violation, what it would cost a month, and how to avoid or to allow it.
  - With O(allow_billable=true) it passes, with the same findings as warnings.
  - A project whose Compute Engine API is switched off has no VM, disk or address.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Reads only, in check mode as otherwise.
  diff_mode:
    support: none
    description: There is nothing to change.
options:
  configuration:
    description: What the site's variables ask for, as far as it can cost money.
    type: dict
    required: true
    suboptions:
      vm_name:
        description: The training VM's name.
        type: str
        required: true
      zone:
        description: The training VM's zone.
        type: str
        required: true
      fallback_zones:
        description: Zones that the VM may be in instead.
        type: list
        elements: str
        default: []
      machine_type:
        description: Its machine type.
        type: str
        default: e2-micro
      resizes:
        description: Whether a running VM is about to get that machine type, so that the one it has does not count.
        type: bool
        default: false
      disk_type:
        description: The type of its boot disk.
        type: str
        default: pd-standard
      disk_size_gb:
        description: The size of its boot disk, in GB as Google counts disks (GiB).
        type: int
        default: 30
      workers:
        description: Further VMs of a training on several machines.
        type: int
        default: 0
      bucket:
        description: The bucket of the releases.
        type: str
        required: true
      bucket_location:
        description: Its location. A bucket that exists is judged by where it is.
        type: str
        default: us-central1
      bucket_storage_class:
        description: Its default storage class.
        type: str
        default: STANDARD
      soft_delete_seconds:
        description: For how long it keeps deleted objects.
        type: int
        default: 0
      function_min_instances:
        description: Instances of the function that are kept warm.
        type: int
        default: 0
      function_memory:
        description: Memory of an instance of the function, such as V(512Mi).
        type: str
        default: 512Mi
  prices:
    description: Path of the price file (pricing/google_cloud.yml of this repository).
    type: path
    required: true
  allow_billable:
    description: Whether costs are meant.
    type: bool
    default: false
  project:
    description:
      - The Google Cloud project id.
      - The environment variable E(GCP_PROJECT) is used where the option is not set.
    type: str
    required: true
  auth_kind:
    description:
      - Where the credentials come from. V(application) means application default credentials.
      - The environment variable E(GCP_AUTH_KIND) is used where the option is not set. Without either, a given
        O(service_account_file) or O(access_token) decides, and V(application) is the rest.
    type: str
    choices: [application, serviceaccount, accesstoken]
  service_account_file:
    description:
      - Path of a service account's JSON key, for O(auth_kind=serviceaccount).
      - The environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used where the option is not set.
    type: path
  access_token:
    description:
      - An OAuth access token, for O(auth_kind=accesstoken).
      - The environment variable E(GCP_ACCESS_TOKEN) is used where the option is not set.
    type: str
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 300
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
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: when a call failed
  type: dict
"""

from typing import Any

from ansible.module_utils.fanops.cost_options import CONFIGURATION_OPTIONS, load_prices, load_wanted
from ansible.module_utils.fanops.findings import Finding, refusal, together, total
from ansible.module_utils.fanops.guard_rules import judge
from ansible.module_utils.fanops.holdings import Holdings, Wanted
from ansible.module_utils.fanops.options import SHARED_OPTIONS, errors_reported, google_module, make_client
from ansible.module_utils.fanops.prices import Prices, cents
from ansible.module_utils.fanops.project_reader import read_holdings

OPTIONS = {
    **SHARED_OPTIONS,
    **CONFIGURATION_OPTIONS,
    "allow_billable": {"type": "bool", "default": False},
}


def machine(wanted: Wanted, found: Holdings, prices: Prices) -> dict[str, Any]:
    """What changes for the VM's machine type, and what that costs."""
    ours = found.ours(wanted)
    now = ours.machine_type if ours else wanted.machine_type
    old, new = prices.vm_hour(now), prices.vm_hour(wanted.machine_type)
    machine: dict[str, Any] = {
        "current": {"machine_type": ours.machine_type, "status": ours.status, "zone": ours.zone} if ours else None,
        "wanted": wanted.machine_type,
        "difference_month": None,
        "price": "Price: not known, because pricing/google_cloud.yml does not list both types.",
    }
    if old is not None and new is not None:
        before, after = cents(old * prices.month), cents(new * prices.month)
        machine["difference_month"] = float(after - before)
        machine["price"] = (
            f"Price: ${old:.6f} an hour before, ${new:.6f} after; "
            f"${before} a month before, ${after} after ({after - before:+})."
        )
    return machine


def result(findings: list[Finding], wanted: Wanted, found: Holdings, prices: Prices) -> dict[str, Any]:
    """What the module returns, whether it refuses or not."""
    verdict = f"Billable: {together(findings, prices)}" if findings else f"Free by the rules of {prices.as_of}"
    return {
        "findings": [finding.facts() for finding in findings],
        "month": float(total(findings)[0]),
        "summary": f"{verdict}. {prices.ipv4_note}",
        "machine": machine(wanted, found, prices),
        "as_of": prices.as_of,
        "plan_notes": [f"cost    {verdict}"],
    }


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    prices, wanted = load_prices(module), load_wanted(module)
    with errors_reported(module):
        found = read_holdings(make_client(module), wanted.bucket)
        findings = judge(wanted, found, prices)
        facts = result(findings, wanted, found, prices)
        if findings and not module.params["allow_billable"]:
            module.fail_json(msg=refusal(findings, prices), **facts)
        for finding in findings:
            module.warn(f"Billable: {finding.line}")
        module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
