# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom roles of a project.

Store kind `iam.customRoles`, key the resource name `projects/P/roles/ID`, a document as the API shows it (without
`name`); a deleted role keeps its document with `deleted`, carries nothing, and can be undeleted.
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import Any

from rehearsal.store import Store

KIND = "iam.customRoles"
ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
ROLE_NAME = re.compile(r"projects/[^/]+/roles/[^/]+")
STAGES = ("ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED", "EAP")
Role = dict[str, Any]


class CustomRoles:
    """Reads and writes custom roles, and says what they carry."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> Role | None:
        """Return a role, deleted or not; None when there is none."""
        return self._store.get(KIND, name)

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
        return self._store.list(KIND, f"projects/{project}/roles/")

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
