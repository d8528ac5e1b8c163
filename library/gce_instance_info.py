#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gce_instance_info
short_description: Read a Compute Engine instance, its ssh host keys, its serial log and who switched it on and off
description:
  - Returns the instance, and on request the ssh host keys that the guest published as guest attributes.
  - Host keys read through the authenticated API let ssh check strictly from the first connection on.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Reads only, in check mode as otherwise.
  diff_mode:
    support: none
    description: There is nothing to change.
extends_documentation_fragment: [google_api]
options:
  name:
    description: The instance's name.
    type: str
    required: true
  zone:
    description: The zone.
    type: str
    required: true
  fallback_zones:
    description: Other zones to look for it in.
    type: list
    elements: str
  host_keys:
    description:
      - Whether to read the host keys. The instance must be running.
      - It must have been created with the metadata V(enable-guest-attributes=TRUE).
    type: bool
    default: false
  host_keys_timeout:
    description: Seconds to wait for a guest that is still booting. With V(0), missing keys are no error.
    type: int
    default: 180
  serial_port:
    description: Whether to read the serial log.
    type: bool
    default: false
  history:
    description: Whether to read when it was made, started, stopped and deleted, and by whom.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the host keys of the VM
  gce_instance_info:
    name: ml-training-vm
    zone: us-central1-a
    host_keys: true
  register: __vm

- name: Read the serial log
  gce_instance_info:
    name: ml-training-vm
    zone: us-central1-a
    serial_port: true
"""

RETURN = r"""
instance:
  description: The instance as the Compute API returns it, null when there is none.
  returned: success
  type: dict
host_keys:
  description: The host keys, each as C(type base64). Empty when not asked for or when the instance is not running.
  returned: success
  type: list
  elements: str
  sample: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."]
serial_output:
  description: The last part of the serial log, null when not asked for.
  returned: success
  type: str
history:
  description:
    - Events of the last weeks, oldest first, null when not asked for. Each has C(event) (created, started, stopped,
      deleted), C(at), C(by) (an account, C(the guest) or C(Google)), C(zone), C(operation) and C(failed).
    - The instance need not exist any more.
  returned: success
  type: list
  elements: dict
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, errors_reported, google_module, make_client
from ansible.module_utils.fanops.resources.instance import locate
from ansible.module_utils.fanops.resources.instance_body import shown, view
from ansible.module_utils.fanops.resources.power_history import power_history

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "zone": {"type": "str", "required": True},
    "fallback_zones": {"type": "list", "elements": "str"},
    "host_keys": {"type": "bool", "default": False},
    "host_keys_timeout": {"type": "int", "default": 180},
    "serial_port": {"type": "bool", "default": False},
    "history": {"type": "bool", "default": False},
}
#: Bytes of serial log to read: enough for a boot.
SERIAL_TAIL = 65536


def read_host_keys(client: Client, url: str, title: str, timeout: int) -> list[str]:
    """The published host keys, sorted; waits for them up to ``timeout`` seconds, fails when they do not come."""

    def probe() -> list[str] | None:
        found = client.find(
            f"{url}/getGuestAttributes",
            attempting=f"read the host keys of {title}",
            params={"queryPath": "hostkeys/"},
        )
        items = ((found or {}).get("queryValue") or {}).get("items") or []
        return sorted(f"{item['key']} {item['value']}" for item in items) or None

    if timeout <= 0:
        return probe() or []
    try:
        return client.until(
            probe, attempting=f"read the host keys of {title}", waiting_for="the guest attribute hostkeys/",
            every=2.0, timeout=timeout,
        )  # fmt: skip
    except GoogleApiError as error:
        if error.reason != "timeout":
            raise
        raise GoogleApiError(
            error.attempting,
            error.found,
            "The guest publishes them at its first boot: look at its serial log (option serial_port).",
            reason="timeout",
        ) from error


def check_published(instance: dict[str, Any], title: str) -> None:
    """Fail at once where the keys can never come."""
    if view(instance)["metadata"].get("enable-guest-attributes", "").upper() != "TRUE":
        raise GoogleApiError(
            f"read the host keys of {title}",
            "its metadata enable-guest-attributes is not TRUE",
            "Debian publishes host keys at the first boot only: delete the instance and create it with that metadata.",
        )


def read(client: Client, params: dict[str, Any]) -> dict[str, Any]:
    """All that was asked for."""
    instance = locate(client, params["name"], [params["zone"], *(params["fallback_zones"] or [])])
    history = power_history(client, params["name"]) if params["history"] else None
    result: dict[str, Any] = {"instance": shown(instance), "host_keys": [], "serial_output": None, "history": history}
    if instance is None:
        return result
    zone = basename(instance["zone"])
    title = f"instance {params['name']} in {zone}"
    url = f"{compute_url(client.project)}/zones/{segment(zone)}/instances/{segment(params['name'])}"
    if params["host_keys"] and instance["status"] == "RUNNING":
        if params["host_keys_timeout"] > 0:
            check_published(instance, title)
        result["host_keys"] = read_host_keys(client, url, title, params["host_keys_timeout"])
    if params["serial_port"]:
        answer = client.find(
            f"{url}/serialPort",
            attempting=f"read the serial log of {title}",
            params={"port": 1, "start": str(-SERIAL_TAIL)},
        )
        result["serial_output"] = (answer or {}).get("contents", "")
    return result


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        module.exit_json(changed=False, **read(make_client(module), module.params))


if __name__ == "__main__":
    main()
