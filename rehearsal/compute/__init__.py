# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Engine v1. Importing this package registers its handlers."""

from __future__ import annotations

from rehearsal.compute import (
    addresses,
    batch,
    catalogue_methods,
    changes,
    disks,
    firewalls,
    images,
    insert,
    instances,
    networks,
    operation_methods,
    power,
    projects,
    resource_policies,
    startup,
)

__all__ = [
    "addresses",
    "batch",
    "catalogue_methods",
    "changes",
    "disks",
    "firewalls",
    "images",
    "insert",
    "instances",
    "networks",
    "operation_methods",
    "power",
    "projects",
    "resource_policies",
    "startup",
]
