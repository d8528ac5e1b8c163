# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an instance: itself, its ssh host keys, its serial log and who switched it on and off."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.resources.instance import locate
from ansible.module_utils.fanops.resources.instance_body import metadata_of, shown
from ansible.module_utils.fanops.resources.power_history import power_history

#: Bytes of serial log to read: enough for a boot.
SERIAL_TAIL = 65536


#: Guests publish their host keys one by one. This type is enough, and an answer with all of them would depend on the moment.
KEY_TYPE = "ssh-ed25519"


def read_host_keys(client: Client, url: str, title: str, timeout: int) -> list[str]:
    """The published host key of type ssh-ed25519; waits for it up to ``timeout`` seconds, fails when it does not come."""

    def probe() -> list[str] | None:
        found = client.find(
            f"{url}/getGuestAttributes",
            attempting=f"read the host keys of {title}",
            params={"queryPath": "hostkeys/"},
        )
        items = ((found or {}).get("queryValue") or {}).get("items") or []
        return [f"{item['key']} {item['value']}" for item in items if item["key"] == KEY_TYPE] or None

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
    if metadata_of(instance).get("enable-guest-attributes", "").upper() != "TRUE":
        raise GoogleApiError(
            f"read the host keys of {title}",
            "its metadata enable-guest-attributes is not TRUE",
            "Debian publishes host keys at the first boot only: delete the instance and create it with that metadata.",
        )


def read_instance(client: Client, params: dict[str, Any]) -> dict[str, Any]:
    """What ``gce_instance_info`` returns for its options."""
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
