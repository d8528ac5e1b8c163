# SPDX-License-Identifier: GPL-3.0-or-later
"""Which permissions a predefined role carries.

The table is `roles.json`: `includedPermissions` may use `*` for any run of characters, `excludedPermissions`
takes single ones out again, `includedRoles` adds another role's permissions.
Source: https://cloud.google.com/iam/docs/roles-permissions, limited to the services rehearsed here.
"""

from __future__ import annotations

import functools
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("roles.json")


@functools.cache
def table() -> dict[str, dict[str, Any]]:
    """Role name to its row: title, description, includedPermissions, excludedPermissions, includedRoles."""
    roles: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))["roles"]
    return roles


def exists(role: str) -> bool:
    """Return true for a predefined role of the table."""
    return role in table()


def patterns(role: str) -> list[str]:
    """Return what a predefined role carries, as patterns; exclusions are not taken out."""
    row = table().get(role, {})
    own = list(row.get("includedPermissions", ()))
    return own + [pattern for other in row.get("includedRoles", ()) for pattern in patterns(other)]


@functools.cache
def grants(role: str, permission: str) -> bool:
    """Return true when `role` carries `permission`; an unknown role carries nothing."""
    row = table().get(role)
    if row is None or any(fnmatchcase(permission, glob) for glob in row.get("excludedPermissions", ())):
        return False
    if any(fnmatchcase(permission, glob) for glob in row.get("includedPermissions", ())):
        return True
    return any(grants(other, permission) for other in row.get("includedRoles", ()))
