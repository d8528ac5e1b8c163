# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of gce_instance to and from the Compute v1 schema. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ansible.module_utils.fanops.api.client import basename

PREFIX = "https://www.googleapis.com/compute/v1/projects"
DEFAULT_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
SHIELDED = {
    "secure_boot": "enableSecureBoot",
    "vtpm": "enableVtpm",
    "integrity_monitoring": "enableIntegrityMonitoring",
}


def text(value: Any) -> str:
    """A label or metadata value. YAML turns TRUE into a boolean, and Google's agents look for the word."""
    return str(value).upper() if isinstance(value, bool) else str(value)


def wanted(options: dict[str, Any]) -> dict[str, Any]:
    """The options that can be compared with an instance; None = not managed."""
    shielded = options["shielded"]
    return {
        "machine_type": options["machine_type"],
        "labels": None if options["labels"] is None else {key: text(value) for key, value in options["labels"].items()},
        "metadata": (
            None if options["metadata"] is None else {key: text(value) for key, value in options["metadata"].items()}
        ),
        "tags": options["tags"],
        "network": options["network"],
        "disk_size_gb": options["disk_size_gb"],
        "external_ip": options["external_ip"],
        "service_account_email": options["service_account_email"],
        "scopes": options["scopes"],
        "max_run_seconds": options["max_run_seconds"],
        "deletion_protection": options["deletion_protection"],
        "shielded": (
            None if shielded is None else {key: value for key, value in shielded.items() if value is not None} or None
        ),
    }


def view(instance: dict[str, Any]) -> dict[str, Any]:
    """An instance in the words of ``wanted``."""
    nic = (instance.get("networkInterfaces") or [{}])[0]
    disk = (instance.get("disks") or [{}])[0]
    account = (instance.get("serviceAccounts") or [{}])[0]
    seconds = instance.get("scheduling", {}).get("maxRunDuration", {}).get("seconds")
    shielded = instance.get("shieldedInstanceConfig", {})
    return {
        "machine_type": basename(instance.get("machineType", "")),
        "labels": instance.get("labels", {}),
        "metadata": {item["key"]: item.get("value", "") for item in instance.get("metadata", {}).get("items", [])},
        "tags": instance.get("tags", {}).get("items", []),
        "network": basename(nic.get("network", "")),
        "disk_size_gb": int(disk["diskSizeGb"]) if disk.get("diskSizeGb") else None,
        "external_ip": bool(nic.get("accessConfigs")),
        "service_account_email": account.get("email"),
        "scopes": account.get("scopes", []),
        "max_run_seconds": int(seconds) if seconds else None,
        "deletion_protection": instance.get("deletionProtection", False),
        "shielded": {option: shielded.get(field, False) for option, field in SHIELDED.items()},
    }


def insert_body(project: str, options: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The body of instances.insert."""
    zone = options["zone"]
    nic: dict[str, Any] = {"network": f"{PREFIX}/{project}/global/networks/{options['network'] or 'default'}"}
    if options["external_ip"] is not False:
        nic["accessConfigs"] = [access_config(options)]
    disk: dict[str, Any] = {
        "boot": True,
        # REST keeps the disk, and its bill, unless told otherwise.
        "autoDelete": True,
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "initializeParams": {
            "sourceImage": image["selfLink"],
            "diskType": f"{PREFIX}/{project}/zones/{zone}/diskTypes/{options['disk_type']}",
        },
    }
    if options["disk_size_gb"]:
        disk["initializeParams"]["diskSizeGb"] = str(options["disk_size_gb"])
    body: dict[str, Any] = {
        "name": options["name"],
        "machineType": f"{PREFIX}/{project}/zones/{zone}/machineTypes/{options['machine_type']}",
        "disks": [disk],
        "networkInterfaces": [nic],
        "scheduling": {
            # A VM that Google had to restart would have no watchdog: better stopped than forgotten.
            "automaticRestart": False,
            "onHostMaintenance": "MIGRATE",
            "provisioningModel": "STANDARD",
            **run_limit(options),
        },
    }
    values = wanted(options)
    if values["labels"]:
        body["labels"] = values["labels"]
        # A disk that should ever outlive its VM is found, and its cost explained, by the same labels.
        disk["initializeParams"]["labels"] = values["labels"]
    if values["metadata"]:
        body["metadata"] = {"items": _items(values["metadata"])}
    if values["tags"]:
        body["tags"] = {"items": values["tags"]}
    if values["service_account_email"]:
        body["serviceAccounts"] = [service_account(options)]
    if values["deletion_protection"] is not None:
        body["deletionProtection"] = values["deletion_protection"]
    if values["shielded"]:
        body["shieldedInstanceConfig"] = _shielded(values["shielded"])
    return body


def known(project: str, options: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
    """What the options say about the instance, in API words: all of it for a new one, the managed part otherwise."""
    if current is None:
        body = insert_body(project, options, {"selfLink": ""})
        body["disks"][0].pop("initializeParams")
        return body
    values = wanted(options)
    found: dict[str, Any] = {}
    if values["labels"] is not None:
        found["labels"] = {**current.get("labels", {}), **values["labels"]}
    if values["metadata"] is not None:
        found["metadata"] = {"items": set_metadata(current, values["metadata"])[1]["items"]}
    if values["machine_type"]:
        found["machineType"] = f"{PREFIX}/{project}/zones/{options['zone']}/machineTypes/{values['machine_type']}"
    if values["tags"] is not None:
        found["tags"] = {"items": values["tags"]}
    return found


def access_config(options: dict[str, Any]) -> dict[str, Any]:
    """An ephemeral external address."""
    return {"name": "External NAT", "type": "ONE_TO_ONE_NAT", "networkTier": options["network_tier"]}


def run_limit(options: dict[str, Any]) -> dict[str, Any]:
    """The part of ``scheduling`` that ends the VM's run: int64 as a string, and the action always spelled out."""
    if not options["max_run_seconds"]:
        return {}
    return {"maxRunDuration": {"seconds": str(options["max_run_seconds"])}, "instanceTerminationAction": "STOP"}


def service_account(options: dict[str, Any]) -> dict[str, Any]:
    """The identity of programs on the VM. The scopes cap IAM, so they are wide and IAM decides."""
    return {"email": options["service_account_email"], "scopes": options["scopes"] or DEFAULT_SCOPES}


def set_labels(current: dict[str, Any], labels: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The request that adds ``labels``; the API wants the full set, and the fingerprint of the one it replaces."""
    merged = {**current.get("labels", {}), **labels}
    return "setLabels", {"labels": merged, "labelFingerprint": current.get("labelFingerprint", "")}


def shown(instance: dict[str, Any] | None, managed: Collection[str] = ()) -> dict[str, Any] | None:
    """The instance as a module returns it: people keep secrets in metadata, so only ``managed`` keys have their value."""
    if not instance or not instance.get("metadata", {}).get("items"):
        return instance
    items = [
        item if item["key"] in managed else {"key": item["key"], "value": "(not shown)"}
        for item in instance["metadata"]["items"]
    ]
    return {**instance, "metadata": {**instance["metadata"], "items": items}}


def set_metadata(current: dict[str, Any], metadata: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The request that adds ``metadata``."""
    old = current.get("metadata", {})
    merged = {**{item["key"]: item.get("value", "") for item in old.get("items", [])}, **metadata}
    return "setMetadata", {"items": _items(merged), "fingerprint": old.get("fingerprint", "")}


def set_tags(current: dict[str, Any], tags: list[str]) -> tuple[str, dict[str, Any]]:
    """The request that replaces the network tags."""
    return "setTags", {"items": tags, "fingerprint": current.get("tags", {}).get("fingerprint", "")}


FINGERPRINTED: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {
    "labels": set_labels,
    "metadata": set_metadata,
    "tags": set_tags,
}


def offline_requests(
    options: dict[str, Any], current: dict[str, Any], changed: set[str]
) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(option, HTTP verb, method, body) of what can be changed on a stopped instance, for the ``changed`` options."""
    requests: list[tuple[str, str, str, dict[str, Any]]] = []
    if "machine_type" in changed:
        machine_type = f"zones/{options['zone']}/machineTypes/{options['machine_type']}"
        requests.append(("machine_type", "POST", "setMachineType", {"machineType": machine_type}))
    if "max_run_seconds" in changed:
        requests.append(("max_run_seconds", "POST", "setScheduling", run_limit(options)))
    if changed & {"service_account_email", "scopes"}:
        active = view(current)
        body = {
            "email": options["service_account_email"] or active["service_account_email"],
            "scopes": options["scopes"] or active["scopes"] or DEFAULT_SCOPES,
        }
        requests.append(("service_account_email", "POST", "setServiceAccount", body))
    if "shielded" in changed:
        body = _shielded(options["shielded"])
        requests.append(("shielded", "PATCH", "updateShieldedInstanceConfig", body))
    return requests


def _shielded(shielded: dict[str, Any]) -> dict[str, bool]:
    return {SHIELDED[option]: value for option, value in shielded.items() if value is not None}


def _items(metadata: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(metadata.items())]
