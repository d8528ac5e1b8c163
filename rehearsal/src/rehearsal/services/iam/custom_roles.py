# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom roles of a project.

Store kind `iam.customRoles`, key the resource name `projects/P/roles/ID`, a document as the API shows it (without
`name`); a deleted role keeps its document with `deleted`, carries nothing, and can be undeleted for a week. For another thirty
days its id is taken; then it is free. https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from typing import Any

from rehearsal import trouble
from rehearsal.store import Store

KIND, DELETED = "iam.customRoles", "iam.customRoles.deleted"
UNDELETE_DAYS, FREE_DAYS = 7, 37
ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
ROLE_NAME = re.compile(r"projects/[^/]+/roles/[^/]+")
STAGES = ("ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED", "EAP")
Role = dict[str, Any]


class CustomRoles:
    """Reads and writes custom roles, and says what they carry."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> Role | None:
        """Return a role, or a deleted one that can be undeleted; None when there is none."""
        role = self._store.get(KIND, name)
        if role is None or (role.get("deleted") and self._days_deleted(name) >= UNDELETE_DAYS):
            return None
        return role

    def is_taken(self, name: str) -> bool:
        """Whether the name of a role deleted more than a week ago is not yet free."""
        role = self._store.get(KIND, name) or {}
        return bool(role.get("deleted")) and UNDELETE_DAYS <= self._days_deleted(name) < FREE_DAYS

    def delete(self, name: str, role: Role) -> Role:
        """Mark a role as deleted, and return it."""
        self._store.put(DELETED, name, {"time": time.time()})
        return self.put(name, role | {"deleted": True})

    def _days_deleted(self, name: str) -> float:
        deleted = (self._store.get(DELETED, name) or {"time": time.time()})["time"]
        older = int(trouble.setting(self._store, trouble.ROLE_AGE).get("days", 0))
        if older:
            trouble.count_hit(self._store, trouble.ROLE_AGE)
        return float(time.time() - deleted) / 86_400 + older

    def put(self, name: str, role: Role) -> Role:
        """Store a role under a new etag, and return it as the API shows it."""
        role = role | {"etag": base64.b64encode(secrets.token_bytes(8)).decode()}
        self._store.put(KIND, name, role)
        return self.shown(name, role)

    @staticmethod
    def shown(name: str, role: Role) -> Role:
        """Return a role as the API shows it: ALPHA is the stage of number 0, which is left out."""
        return {"name": name} | {key: value for key, value in role.items() if (key, value) != ("stage", "ALPHA")}

    def of_project(self, project: str) -> list[tuple[str, Role]]:
        """Return (name, role) of the project's custom roles, deleted ones included."""
        listed = self._store.list(KIND, f"projects/{project}/roles/")
        return [(name, role) for name, role in listed if self.get(name) is not None]

    def exists(self, name: str) -> bool:
        """Whether there is such a role and it is not deleted."""
        role = self.get(name)
        return role is not None and not role.get("deleted")

    def permissions(self, name: str) -> list[str]:
        """Return what a role carries now: nothing, when it is deleted, disabled or unknown."""
        role = self.get(name) or {}
        if role.get("deleted") or role.get("stage") == "DISABLED":
            return []
        return list(role.get("includedPermissions", []))
