# SPDX-License-Identifier: GPL-3.0-or-later
"""Who used which permission, and who was refused it: the evidence for least privilege.

Store kind `iam.usage`, key `PRINCIPAL PERMISSION`, `{"granted": times, "denied": times}`. Only checks that decided a
request count, not questions such as testIamPermissions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rehearsal.services.iam import roles
from rehearsal.services.iam.custom_roles import KIND as CUSTOM
from rehearsal.services.iam.custom_roles import CustomRoles

if TYPE_CHECKING:
    from rehearsal.store import Store

KIND, POLICIES, ACCOUNTS = "iam.usage", "iam.policies", "serviceAccounts"


@dataclass
class Report:
    """One principal's permissions. `granted` maps a permission (or pattern) to the roles that carry it."""

    roles: list[str] = field(default_factory=list)
    granted: dict[str, list[str]] = field(default_factory=dict)
    exercised: dict[str, int] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)

    @property
    def unused(self) -> list[str]:
        """What is granted and was never exercised."""
        return [name for name in self.granted if not any(fnmatchcase(used, name) for used in self.exercised)]

    def as_dict(self) -> dict[str, Any]:
        """Return it as `rehearsal permissions --output json` prints it."""
        return {**vars(self), "unused": self.unused}


def count(store: Store, principal: str, permission: str, granted: bool) -> None:
    """Count one decision."""
    key = f"{principal or 'anonymous'} {permission}"
    with store.lock:
        known = store.get(KIND, key) or {"granted": 0, "denied": 0}
        known["granted" if granted else "denied"] += 1
        store.put(KIND, key, known)


def forget(store: Store) -> int:
    """Begin to count anew; returns how many counts there were."""
    return sum(store.delete(KIND, key) for key, _ in store.list(KIND))


def reports(store: Store, pattern: str = "*") -> dict[str, Report]:
    """Return principal -> report for everybody who was counted or holds a custom role, Google's own agents excepted."""
    agents = {email for email, account in store.list(ACCOUNTS) if account.get("agent")}
    found: dict[str, Report] = {}
    for key, counts in store.list(KIND):
        principal, _, permission = key.partition(" ")
        report = found.setdefault(principal, Report())
        if counts["granted"]:
            report.exercised[permission] = counts["granted"]
        if counts["denied"]:
            report.denied[permission] = counts["denied"]
    custom = {name for name, _ in store.list(CUSTOM)}
    for resource, policy in store.list(POLICIES):
        for binding in policy.get("bindings", []):
            for member in binding["members"]:
                principal = member.partition(":")[2]
                if principal in found or binding["role"] in custom:
                    _add(store, found.setdefault(principal, Report()), binding["role"], resource)
    return {name: found[name] for name in sorted(found) if fnmatchcase(name, pattern) and name not in agents}


def _add(store: Store, report: Report, role: str, resource: str) -> None:
    report.roles.append(f"{role} on {resource}")
    for permission in CustomRoles(store).permissions(role) or roles.patterns(role):
        holders = report.granted.setdefault(permission, [])
        if role not in holders:
            holders.append(role)
