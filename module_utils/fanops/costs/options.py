# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that the guard and the cost report share, and what is made of them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.fanops.core import cron
from ansible.module_utils.fanops.costs.prices import Prices
from ansible.module_utils.fanops.costs.project_inventory import Wanted

CONFIGURATION_OPTIONS: dict[str, Any] = {
    "configuration": {
        "type": "dict",
        "required": True,
        "options": {
            "vm_name": {"type": "str", "required": True},
            "zone": {"type": "str", "required": True},
            "fallback_zones": {"type": "list", "elements": "str", "default": []},
            "machine_type": {"type": "str", "default": "e2-micro"},
            "resizes": {"type": "bool", "default": False},
            "disk_type": {"type": "str", "default": "pd-standard"},
            "disk_size_gb": {"type": "int", "default": 30},
            "workers": {"type": "int", "default": 0},
            "bucket": {"type": "str", "required": True},
            "bucket_location": {"type": "str", "default": "us-central1"},
            "bucket_storage_class": {"type": "str", "default": "STANDARD"},
            "soft_delete_seconds": {"type": "int", "default": 0},
            "function_min_instances": {"type": "int", "default": 0},
            "function_memory": {"type": "str", "default": "512Mi"},
            "function_cpu": {"type": "float", "default": 1.0},
            "function_max_instances": {"type": "int", "default": 3},
            "function_region": {"type": "str", "default": "us-central1"},
            "schedule": {"type": "str", "default": ""},
            "timezone": {"type": "str", "default": "UTC"},
            "max_run_seconds": {"type": "int", "default": 7200},
        },
    },
    "prices": {"type": "path", "required": True},
}
#: What the hours of VMs beyond Always Free may cost in a calendar month.
CEILING_OPTION: dict[str, Any] = {"monthly_ceiling_usd": {"type": "float", "default": 0}}


def load_prices(module: AnsibleModule) -> Prices:
    """The price file; ends the module where it cannot be read or lacks something."""
    path = module.params["prices"]
    try:
        return Prices(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        module.fail_json(msg=f"Could not read the prices from {path}: {error}. Restore it: git checkout -- {path}")
        raise


def load_wanted(module: AnsibleModule) -> Wanted:
    """What is asked for; ends the module where the function's memory or the schedule is none."""
    try:
        wanted = Wanted.of(module.params["configuration"])
    except ValueError as error:
        module.fail_json(msg=f"Could not judge the configuration: {error}. Set function_memory.")
        raise
    try:
        if wanted.schedule:
            cron.check(wanted.schedule, wanted.timezone)
    except ValueError as error:
        module.fail_json(msg=f"Could not judge the schedule: {error}. Set it in inventory/group_vars/all/training.yml.")
    return wanted


def load_ceiling(module: AnsibleModule) -> Decimal:
    """The month's ceiling in dollars; ends the module where it is less than nothing."""
    given = module.params["monthly_ceiling_usd"]
    if not 0 <= given < float("inf"):
        module.fail_json(
            msg=f"monthly_ceiling_usd is {given}: set dollars from 0 up in inventory/group_vars/all/costs.yml, 0 for Always Free only."
        )
    return Decimal(str(given))
