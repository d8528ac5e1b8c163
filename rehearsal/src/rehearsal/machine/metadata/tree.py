# SPDX-License-Identifier: GPL-3.0-or-later
"""How the metadata server's paths and listings map to the tree of a guest: `machine-type` is the field `machineType`."""

from __future__ import annotations

import re
from typing import Any

LITERAL_BELOW = {"attributes", "guestAttributes", "serviceAccounts"}
"""Names below these are data, not fields: they are not translated between `machine-type` and `machineType`."""


class NotFound(Exception):
    """There is no such metadata path."""


def descend(value: Any, parts: list[str], data: bool = False) -> Any:
    """Return what a path leads to; `data` means that no name is translated. Raises NotFound."""
    literal = data
    for part in parts:
        if isinstance(value, dict):
            key = part if literal else to_camel(part)
            if key not in value:
                raise NotFound
            # One level below `attributes` and its like is data; what comes below an account's name are fields again.
            value, literal = value[key], data or (key in LITERAL_BELOW and not literal)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise NotFound
    return value


def to_camel(part: str) -> str:
    """Return a path segment's field name: `machine-type` is `machineType`."""
    return re.sub(r"-([a-z0-9])", lambda match: match[1].upper(), part)


def to_kebab(key: str) -> str:
    """Return a field's path segment: `machineType` is `machine-type`."""
    return re.sub(r"([A-Z])", lambda match: f"-{match[1].lower()}", key)


def is_leaf_list(value: Any) -> bool:
    """Tell whether a value is a list of plain values, which is text and no folder."""
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def listing(value: Any, parts: list[str]) -> str:
    """Return a folder's listing: one name a line, folders with a slash."""
    if isinstance(value, list):
        return "".join(f"{number}/\n" for number in range(len(value)))
    literal = bool(parts) and (to_camel(parts[-1]) in LITERAL_BELOW or parts[:2] == ["instance", "guest-attributes"])
    lines = []
    for key, item in sorted(value.items()):
        folder = isinstance(item, dict) or (isinstance(item, list) and not is_leaf_list(item))
        lines.append((key if literal else to_kebab(key)) + ("/" if folder else ""))
    if parts[:2] == ["instance", "service-accounts"] and len(parts) == 3:
        lines += ["identity", "token"]
    return "".join(f"{line}\n" for line in sorted(lines))


def as_text(value: Any, prefix: str = "", literal: bool = False) -> str:
    """Return a value as text: a list as lines, a tree as `path value` lines."""
    if isinstance(value, dict):
        lines = []
        for key, item in sorted(value.items()):
            path = f"{prefix}{key if literal else to_kebab(key)}"
            nested = isinstance(item, dict) or (isinstance(item, list) and not is_leaf_list(item))
            text = as_text(item, f"{path}/", key in LITERAL_BELOW)
            lines.append(text if nested else "".join(f"{path} {line}\n" for line in text.splitlines() or [""]))
        return "".join(lines)
    if isinstance(value, list):
        if is_leaf_list(value):
            return "".join(f"{item}\n" for item in value)
        return "".join(as_text(item, f"{prefix}{number}/") for number, item in enumerate(value))
    if isinstance(value, bool):
        return str(value).upper()
    return str(value)
