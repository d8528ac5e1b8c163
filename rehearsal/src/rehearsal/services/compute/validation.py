# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google demands of names, labels, tags, metadata and scheduling, and how it refuses the rest."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.services.compute import clock, errors

Document = dict[str, Any]

_NAME = re.compile(errors.NAME_PATTERN)
_METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
METADATA_VALUE_BYTES = 256 * 1024
METADATA_TOTAL_BYTES = 512 * 1024
SHORTEST_RUN, LONGEST_RUN = 30, 120 * 24 * 3600
LABELS, TAGS = 64, 64


def check_name(name: Any, field: str = "resource.name") -> str:
    """Return the name.

    Raises ApiError 400 when a Compute resource cannot have it.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise errors.invalid(field, name or "", f"Must be a match of regex '{errors.NAME_PATTERN}'")
    return name


def check_labels(labels: dict[str, str] | None, field: str = "resource.labels") -> dict[str, str]:
    """Return the labels (at most 64, lower case, 63 characters a key or value).

    Raises ApiError 400 for labels that Google would not take.
    """
    labels = labels or {}
    if len(labels) > LABELS:
        raise errors.invalid(field, "", f"The resource may have at most {LABELS} labels.")
    for key, value in labels.items():
        if not _label_characters(key) or not key or not key[0].isalpha():
            text = (
                f"Label key '{key}' violates format constraints. The key must start with a lowercase character, "
                "can only contain lowercase letters, numeric characters, underscores and dashes. "
                "The key can be at most 63 characters long. International characters are allowed."
            )
            raise errors.invalid(field, "", text)
        if not _label_characters(value):
            text = (
                f"Label value '{value}' violates format constraints. The value can only contain lowercase letters, "
                "numeric characters, underscores and dashes. The value can be at most 63 characters long. "
                "International characters are allowed."
            )
            raise errors.invalid(field, "", text)
    return labels


def _label_characters(text: str) -> bool:
    letters = (character for character in text if character not in "-_" and not character.isdigit())
    return len(text) <= 63 and all(letter.isalpha() and letter == letter.lower() for letter in letters)


def check_tags(items: list[str], field: str = "resource.tags.items") -> list[str]:
    """Return the network tags (at most 64, each spelled as a resource name).

    Raises ApiError 400 for tags that Google would not take.
    """
    if len(items) > TAGS:
        raise errors.invalid(field, "", f"At most {TAGS} tags are allowed.")
    for index, tag in enumerate(items):
        check_name(tag, f"{field}[{index}]")
    if len(set(items)) < len(items):
        raise errors.invalid(field, items, "Duplicate tags are not allowed.")
    return items


def check_metadata(items: list[Document] | None, field: str = "resource.metadata") -> list[Document]:
    """Return the items of a Metadata, each with a key and a value.

    Raises ApiError 400 for a bad or repeated key, a value above 256 KiB, or more than 512 KiB in all.
    """
    checked: list[Document] = []
    seen: set[str] = set()
    total = 0
    for index, item in enumerate(items or []):
        key, value = item.get("key"), item.get("value") or ""
        if not isinstance(key, str) or not _METADATA_KEY.fullmatch(key):
            raise errors.invalid(
                f"{field}.items[{index}].key", key or "", f"Must be a match of regex '{_METADATA_KEY.pattern}'"
            )
        if key in seen:
            raise errors.invalid(f"{field}.items[{index}].key", key, f"Duplicate metadata key: '{key}'.")
        seen.add(key)
        size = len(value.encode())
        if size > METADATA_VALUE_BYTES:
            text = f"Metadata value for key '{key}' is {size} bytes long, more than {METADATA_VALUE_BYTES}."
            raise errors.invalid(f"{field}.items[{index}].value", value[:32] + "...", text)
        total += size + len(key)
        checked.append({"key": key, "value": value})
    if total > METADATA_TOTAL_BYTES:
        text = f"The metadata is {total} bytes long in all, more than {METADATA_TOTAL_BYTES}."
        raise errors.invalid(f"{field}.items", "", text)
    return checked


def metadata_value(items: list[Document] | None, key: str) -> str | None:
    """Return the value of a metadata key, None when it is not set."""
    return next((item["value"] for item in items or [] if item["key"] == key), None)


def check_scheduling(scheduling: Document | None, field: str = "resource.scheduling") -> Document:
    """Return the scheduling with Google's defaults filled in.

    Raises ApiError 400 for a run duration outside 30 s to 120 days, for both a duration and a time, and for the
    combinations that Google forbids on preemptible VMs.
    """
    checked = {key: value for key, value in (scheduling or {}).items() if value is not None}
    spot = checked.get("provisioningModel") == "SPOT" or checked.get("preemptible") is True
    if spot and checked.get("automaticRestart") is True:
        text = "Scheduling must have preemptible be false when AutomaticRestart is true."
        raise errors.invalid(f"{field}.preemptible", "true", text)
    if spot and checked.get("onHostMaintenance") == "MIGRATE":
        raise errors.invalid(f"{field}.onHostMaintenance", "MIGRATE", "Must be TERMINATE for preemptible VMs.")
    if checked.get("maxRunDuration") and checked.get("terminationTime"):
        text = "Only one of maxRunDuration and terminationTime may be specified."
        raise errors.invalid(f"{field}.terminationTime", checked["terminationTime"], text)
    legacy = checked.get("preemptible") is True and checked.get("provisioningModel") != "SPOT"
    if legacy and (checked.get("maxRunDuration") or checked.get("terminationTime")):
        raise errors.invalid(f"{field}.preemptible", "true", "A preemptible VM cannot have a time limit.")
    if checked.get("maxRunDuration"):
        checked["maxRunDuration"] = _check_duration(checked["maxRunDuration"], f"{field}.maxRunDuration")
    elif "maxRunDuration" in checked:
        del checked["maxRunDuration"]
    if checked.get("terminationTime"):
        _check_termination_time(checked["terminationTime"], f"{field}.terminationTime")
    defaults = {
        "onHostMaintenance": "TERMINATE" if spot else "MIGRATE",
        "automaticRestart": not spot,
        "preemptible": spot,
        "provisioningModel": "SPOT" if spot else "STANDARD",
    }
    if checked.get("maxRunDuration") or checked.get("terminationTime"):
        defaults["instanceTerminationAction"] = "STOP"
    return defaults | checked


def _check_duration(duration: Document, field: str) -> Document:
    seconds = int(duration.get("seconds") or 0)
    if not SHORTEST_RUN <= seconds <= LONGEST_RUN:
        text = f"Must be between {SHORTEST_RUN} seconds and {LONGEST_RUN} seconds (120 days)."
        raise errors.invalid(f"{field}.seconds", seconds, text)
    return {"seconds": str(seconds)} | ({"nanos": duration["nanos"]} if duration.get("nanos") else {})


def _check_termination_time(text: str, field: str) -> None:
    try:
        ahead = clock.parse(text) - clock.now()
    except ValueError:
        raise errors.invalid(field, text, "Must be a time in RFC3339 text format.") from None
    if not SHORTEST_RUN <= ahead <= LONGEST_RUN:
        raise errors.invalid(field, text, "Must be between 30 seconds and 120 days in the future.")
