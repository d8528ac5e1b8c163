#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_project_services
short_description: Enable Google APIs in a project
description:
  - Enables the given APIs (services) that are not enabled yet. Others are left alone.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  services:
    description: Service names, such as V(compute.googleapis.com).
    type: list
    elements: str
    required: true
  state:
    description: V(enabled) is the only state, for disabling an API can delete what it holds.
    type: str
    choices: [enabled]
    default: enabled
"""

EXAMPLES = r"""
- name: Enable what the project needs
  gcp_project_services:
    services:
      - compute.googleapis.com
      - cloudfunctions.googleapis.com
      - run.googleapis.com

- name: See which are missing
  gcp_project_services:
    services: [compute.googleapis.com]
  check_mode: true
  register: __missing
"""

RETURN = r"""
services:
  description: State of each service asked for, V(ENABLED) or V(DISABLED).
  returned: success
  type: dict
  sample: {compute.googleapis.com: ENABLED}
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.project_services import ProjectServices

OPTIONS = {
    **SHARED_OPTIONS,
    "services": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["enabled"], "default": "enabled"},
}


def main() -> None:
    """Run the module."""
    manage(google_module(OPTIONS), ProjectServices, "services")


if __name__ == "__main__":
    main()
