# SPDX-License-Identifier: GPL-3.0-or-later
"""Every permission that exists here: what a custom role may carry."""

from __future__ import annotations

import functools

from rehearsal.errors import ApiError
from rehearsal.services.iam import roles
from rehearsal.wire.calls import REGISTRY

# They exist, but only an organisation's custom roles may carry them.
ORGANISATION_ONLY = frozenset({"resourcemanager.projects.list", "resourcemanager.projects.create"})
# They exist on Google, and nothing here asks for them.
UNCHECKED = frozenset({"cloudfunctions.functions.call", "run.services.delete"})


def check_permissions(permissions: list[str]) -> None:
    """Raise ApiError 400 for a permission that a project's custom role cannot carry."""
    for permission in permissions:
        if permission in ORGANISATION_ONLY or permission not in known_permissions():
            raise ApiError(400, "badRequest", f"Permission {permission} is not valid.")


@functools.cache
def known_permissions() -> frozenset[str]:
    """Return every permission that is checked here or that a predefined role names."""
    named = {name for row in roles.table().values() for name in row.get("includedPermissions", ()) if "*" not in name}
    return UNCHECKED | named | frozenset(name for found in REGISTRY.implementations() for name in found.permissions)
