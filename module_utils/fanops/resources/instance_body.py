# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of gce_instance to and from the Compute v1 schema: one table, and what follows from it. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.fanops.api.client import basename
from ansible.module_utils.fanops.reconcile.fields import Field

PREFIX = "https://www.googleapis.com/compute/v1/projects"
DEFAULT_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
SHIELDED = {
    "secure_boot": "enableSecureBoot",
    "vtpm": "enableVtpm",
    "integrity_monitoring": "enableIntegrityMonitoring",
}
#: When an option can be set: with a new instance only, at any time, or on a stopped instance.
CREATE, LIVE, STOPPED = "create", "live", "stopped"


@dataclass(frozen=True)
class InstanceField(Field):
    """One option of an instance, and how it is changed."""

    when: str = CREATE
    #: Where a new instance has it, if that is not ``path``, and what it has without the option.
    create_path: str = ""
    initial: Any = None
    #: The method that changes it, and that method's body for (instance, wanted value).
    verb: str = ""
    request: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None
    method: str = "POST"


def instance_fields(project: str, options: dict[str, Any]) -> tuple[InstanceField, ...]:
    """Every option that describes an instance of ``project``."""
    zone, networks = f"zones/{options['zone']}", f"{PREFIX}/{project}/global/networks"

    def set_service_account(current: dict[str, Any], _value: Any) -> dict[str, Any]:
        active = (current.get("serviceAccounts") or [{}])[0]
        # The scopes cap IAM, so they are wide and IAM decides.
        scopes = options["scopes"] or active.get("scopes") or DEFAULT_SCOPES
        return {"email": options["service_account_email"] or active.get("email"), "scopes": scopes}

    # fmt: off
    return (
        InstanceField("machine_type", "machineType", "", when=STOPPED, read=basename,
                      write=lambda name: f"{PREFIX}/{project}/{zone}/machineTypes/{name}",
                      verb="setMachineType", request=lambda _, name: {"machineType": f"{zone}/machineTypes/{name}"}),
        InstanceField("labels", "labels", {}, when=LIVE, normalize=_texts, verb="setLabels", request=set_labels),
        InstanceField("metadata", "metadata.items", {}, when=LIVE, read=_mapping, write=_items, normalize=_texts,
                      verb="setMetadata", request=set_metadata),
        InstanceField("tags", "tags.items", [], when=LIVE, verb="setTags", request=set_tags),
        InstanceField("network", "networkInterfaces.0.network", "", initial="default", read=basename,
                      write=lambda name: f"{networks}/{name}"),
        InstanceField("disk_size_gb", "disks.0.diskSizeGb", read=int, write=str,
                      create_path="disks.0.initializeParams.diskSizeGb"),
        InstanceField("deletion_protection", "deletionProtection", False, when=LIVE, verb="setDeletionProtection"),
        InstanceField("external_ip", "networkInterfaces.0.accessConfigs", False, when=LIVE, initial=True, read=bool,
                      write=lambda wanted: [access_config(options)] if wanted else []),
        InstanceField("max_run_seconds", "scheduling", when=STOPPED, read=_limit_of, write=run_limit,
                      verb="setScheduling", request=lambda _, seconds: run_limit(seconds)),
        InstanceField("service_account_email", "serviceAccounts.0.email", when=STOPPED,
                      verb="setServiceAccount", request=set_service_account),
        InstanceField("scopes", "serviceAccounts.0.scopes", [], when=STOPPED, initial=DEFAULT_SCOPES,
                      verb="setServiceAccount", request=set_service_account),
        InstanceField("shielded", "shieldedInstanceConfig", dict.fromkeys(SHIELDED, False), when=STOPPED,
                      read=lambda found: {option: found.get(field, False) for option, field in SHIELDED.items()},
                      write=_shielded, normalize=lambda given: {k: v for k, v in given.items() if v is not None} or None,
                      verb="updateShieldedInstanceConfig", request=lambda _, wanted: _shielded(wanted), method="PATCH"),
    )
    # fmt: on


def insert_body(project: str, options: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The body of instances.insert."""
    disk_type = f"{PREFIX}/{project}/zones/{options['zone']}/diskTypes/{options['disk_type']}"
    disk: dict[str, Any] = {
        "boot": True,
        # REST keeps the disk, and its bill, unless it is asked to delete it.
        "autoDelete": True,
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "initializeParams": {"sourceImage": image["selfLink"], "diskType": disk_type},
    }
    body: dict[str, Any] = {"name": options["name"], "disks": [disk]}
    for field in instance_fields(project, options):
        value = field.wanted(options)
        value = field.initial if value in (None, "", []) else value
        if value or value is False:
            field.put(body, value, field.create_path)
    if not options["service_account_email"]:
        del body["serviceAccounts"]
    if "labels" in body:
        # A disk that should ever outlive its VM is found, and its cost explained, by the same labels.
        disk["initializeParams"]["labels"] = body["labels"]
    # A VM that Google had to restart would have no watchdog: better stopped than forgotten.
    fixed = {"automaticRestart": False, "onHostMaintenance": "MIGRATE", "provisioningModel": "STANDARD"}
    body["scheduling"] = {**fixed, **body.get("scheduling", {})}
    return body


def predicted(project: str, options: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
    """The instance after everything that can be changed was changed, as far as the options say."""
    if current is None:
        body = insert_body(project, options, {"selfLink": ""})
        body["disks"][0].pop("initializeParams")
        return body
    after = deepcopy(current)
    for field in instance_fields(project, options):
        value, found = field.wanted(options), field.view(current)
        if isinstance(value, dict):
            value = {**found, **value}
        if field.when != CREATE and value is not None and value != found:
            field.put(after, value)
    after["scheduling"] = {**current.get("scheduling", {}), **after.get("scheduling", {})}
    return after


def access_config(options: dict[str, Any]) -> dict[str, Any]:
    """An ephemeral external address."""
    return {"name": "External NAT", "type": "ONE_TO_ONE_NAT", "networkTier": options["network_tier"]}


def run_limit(seconds: int) -> dict[str, Any]:
    """The part of ``scheduling`` that ends the VM's run: int64 as a string, and the action always spelled out."""
    if not seconds:
        return {}
    return {"maxRunDuration": {"seconds": str(seconds)}, "instanceTerminationAction": "STOP"}


def set_labels(current: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """The body that adds ``labels``; the API wants the full set, and the fingerprint of the one it replaces."""
    merged = {**current.get("labels", {}), **labels}
    return {"labels": merged, "labelFingerprint": current.get("labelFingerprint", "")}


def set_metadata(current: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    """The body that adds ``metadata``."""
    merged = {**metadata_of(current), **metadata}
    return {"items": _items(merged), "fingerprint": current.get("metadata", {}).get("fingerprint", "")}


def set_tags(current: dict[str, Any], tags: list[str]) -> dict[str, Any]:
    """The body that replaces the network tags."""
    return {"items": tags, "fingerprint": current.get("tags", {}).get("fingerprint", "")}


def metadata_of(instance: dict[str, Any]) -> dict[str, str]:
    """The instance's metadata by key."""
    return _mapping(instance.get("metadata", {}).get("items", []))


def shown(instance: dict[str, Any] | None, managed: Collection[str] = ()) -> dict[str, Any] | None:
    """The instance as a module returns it: people keep secrets in metadata, so only ``managed`` keys have their value."""
    if not instance or not instance.get("metadata", {}).get("items"):
        return instance
    items = [
        item if item["key"] in managed else {"key": item["key"], "value": "(not shown)"}
        for item in instance["metadata"]["items"]
    ]
    return {**instance, "metadata": {**instance["metadata"], "items": items}}


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Labels or metadata. YAML turns TRUE into a boolean, and Google's agents look for the word."""
    return {key: str(value).upper() if isinstance(value, bool) else str(value) for key, value in values.items()}


def _limit_of(scheduling: dict[str, Any]) -> int | None:
    seconds = scheduling.get("maxRunDuration", {}).get("seconds")
    return int(seconds) if seconds else None


def _shielded(wanted: dict[str, bool]) -> dict[str, bool]:
    return {SHIELDED[option]: value for option, value in wanted.items()}


def _mapping(items: list[dict[str, str]]) -> dict[str, str]:
    return {item["key"]: item.get("value", "") for item in items}


def _items(metadata: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(metadata.items())]
