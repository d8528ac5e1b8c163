# SPDX-License-Identifier: GPL-3.0-or-later
"""Every permission that exists here: what a custom role may carry."""

from __future__ import annotations

import functools

from rehearsal.errors import ApiError
from rehearsal.services.iam import roles
from rehearsal.wire.calls import REGISTRY

# They exist, but only an organisation's custom roles may carry them.
ORGANISATION_ONLY = frozenset({"resourcemanager.projects.list", "resourcemanager.projects.create"})
# Checked inside handlers, so that no registration names them.
INLINE = frozenset(
    {
        "cloudfunctions.functions.call",
        "compute.disks.create",
        "compute.disks.setLabels",
        "compute.networks.updatePolicy",
        "compute.subnetworks.use",
        "compute.subnetworks.useExternalIp",
        "iam.roles.create",
        "iam.roles.delete",
        "iam.roles.undelete",
        "iam.roles.update",
        "orgpolicy.policy.get",
        "run.services.delete",
        "run.services.setIamPolicy",
        "serviceusage.services.disable",
        "serviceusage.services.enable",
    }
)


def check_permissions(permissions: list[str]) -> None:
    """Raise ApiError 400 for a permission that a project's custom role cannot carry."""
    for permission in permissions:
        if permission in ORGANISATION_ONLY or permission not in known_permissions():
            raise ApiError(400, "badRequest", f"Permission {permission} is not valid.")


@functools.cache
def known_permissions() -> frozenset[str]:
    """Return every permission that is checked here or that a predefined role names."""
    named = {name for row in roles.table().values() for name in row.get("includedPermissions", ()) if "*" not in name}
    registered = [*REGISTRY.methods.values(), *(route.implementation for route in REGISTRY.raw)]
    return INLINE | named | {implementation.permission for implementation in registered if implementation.permission}
