# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM policies: one document a resource, read-modify-write guarded by an etag.

Resources are named relative to their service: `projects/P`, `buckets/NAME`, `serviceAccounts/EMAIL`,
`projects/P/locations/R/services/ID`. A policy is `{"version": 1, "etag": base64, "bindings": [{"role", "members"}]}`,
of version 3 where a binding has a condition.
"""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any, NotRequired, TypedDict

from rehearsal import trouble
from rehearsal.errors import ApiError
from rehearsal.services.iam import conditions, roles
from rehearsal.services.iam.custom_roles import CustomRoles
from rehearsal.store import Store

KIND = "iam.policies"
# Store kind with one document per resource (or "*" for all): {"seconds": N} makes a changed binding count only
# N seconds later, as it may on Google ("policy changes take effect within minutes").
DELAYS = "iam.delays"
# What Google answers for a resource whose policy was never set.
EMPTY_ETAG = "ACAB"
CONFLICT = (
    "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. "
    "The request's ETag '{sent}' did not match the current policy's ETag '{current}'."
)
SPECIAL_MEMBERS = ("allUsers", "allAuthenticatedUsers")
MEMBER_KINDS = (
    "user",
    "serviceAccount",
    "group",
    "domain",
    "deleted",
    "principal",
    "principalSet",
    "projectOwner",
    "projectEditor",
    "projectViewer",
)
CONVENIENCE_ROLES = {"projectOwner": "roles/owner", "projectEditor": "roles/editor", "projectViewer": "roles/viewer"}


class Binding(TypedDict):
    """Who holds a role, under which condition."""

    role: str
    members: list[str]
    condition: NotRequired[dict[str, str]]


class Policy(TypedDict, total=False):
    """A policy as the API shows it and takes it."""

    version: int
    etag: str
    bindings: list[Binding]


def decoded(etag: str) -> bytes:
    """Return an etag's bytes: clients re-encode it, in either base64 alphabet, so only the bytes are compared."""
    try:
        return base64.urlsafe_b64decode(etag.replace("+", "-").replace("/", "_") + "=" * (-len(etag) % 4))
    except ValueError:
        return etag.encode()


def member_of(email: str) -> str:
    """Return the policy member for a principal's e-mail address."""
    if email.startswith("principal://"):
        return email
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{email}"


def normalised(bindings: list[Binding]) -> list[Binding]:
    """Merge bindings of the same role and condition, drop empty ones, sort: as Google returns a policy it was given."""
    merged: dict[tuple[str, str], Binding] = {}
    for binding in bindings:
        condition = binding.get("condition")
        slot = merged.setdefault((binding["role"], repr(condition)), {"role": binding["role"], "members": []})
        if condition:
            slot["condition"] = condition
        slot["members"] += [m for m in binding.get("members", []) if m not in slot["members"]]
    kept = [merged[key] for key in sorted(merged) if merged[key]["members"]]
    for binding in kept:
        binding["members"].sort()
    return kept


class Policies:
    """Reads and writes policies, and answers whether a principal holds a permission."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._custom = CustomRoles(store)

    def get(self, resource: str) -> Policy:
        """Return the policy of a resource as its API returns it; an empty one where none was set."""
        document = self._store.get(KIND, resource) or {}
        policy: Policy = {"version": 1, "etag": document.get("etag", EMPTY_ETAG)}
        if document.get("bindings"):
            policy["bindings"] = document["bindings"]
            if any(binding.get("condition") for binding in document["bindings"]):
                policy["version"] = 3
        return policy

    def set(self, resource: str, policy: Policy, etag: str = "") -> Policy:
        """Replace the policy of a resource and return the new one.

        Where `etag` (or the policy's own) is given, it must be the current one; ApiError 409 ABORTED otherwise.
        """
        sent = etag or policy.get("etag", "")
        with self._store.lock:
            current = self.get(resource)
            if sent and decoded(sent) != decoded(current["etag"]):
                raise ApiError(409, "aborted", CONFLICT.format(sent=sent, current=current["etag"]), status="ABORTED")
            before = self._counting(resource)
            document: dict[str, Any] = {
                "bindings": normalised(policy.get("bindings", [])),
                "etag": base64.b64encode(secrets.token_bytes(8)).decode(),
            }
            delay = (self._store.get(DELAYS, resource) or self._store.get(DELAYS, "*") or {}).get("seconds", 0)
            if delay:
                trouble.count_hit(self._store, "iam-delay")
                document |= {"before": before, "visible_at": time.time() + float(delay)}
            self._store.put(KIND, resource, document)
            return self.get(resource)

    def delete(self, resource: str) -> None:
        """Forget the policy of a deleted resource."""
        self._store.delete(KIND, resource)

    def rename_member(self, old: str, new: str) -> None:
        """Replace a member in every policy: a deleted account's bindings are marked, so a namesake inherits nothing."""
        with self._store.lock:
            for resource, document in self._store.list(KIND):
                changed = False
                for binding in document.get("bindings", []):
                    if old in binding["members"]:
                        binding["members"] = sorted({new if m == old else m for m in binding["members"]})
                        changed = True
                if changed:
                    document["etag"] = base64.b64encode(secrets.token_bytes(8)).decode()
                    self._store.put(KIND, resource, document)

    def allows(self, principal: str, permission: str, resources: tuple[str, ...], target: str) -> bool:
        """Whether `principal` ("" for nobody) holds `permission` through the policy of any of `resources`.

        `target` is the resource that the request is about, which conditions look at.
        """
        about = conditions.target_of(target)
        return any(self._allows(principal, permission, resource, about) for resource in resources)

    def has_role(self, principal: str, role: str, resource: str) -> bool:
        """Whether the resource's own policy gives `principal` the role by name."""
        member = member_of(principal)
        return any(b["role"] == role and member in b["members"] for b in self._counting(resource))

    def _allows(self, principal: str, permission: str, resource: str, target: conditions.Target) -> bool:
        return any(
            self._carries(binding["role"], permission)
            and any(self._is(principal, m) for m in binding["members"])
            and ("condition" not in binding or conditions.holds(binding["condition"]["expression"], target))
            for binding in self._counting(resource)
        )

    def _carries(self, role: str, permission: str) -> bool:
        if role.startswith("roles/"):
            return roles.grants(role, permission)
        return permission in self._custom.permissions(role)

    def _is(self, principal: str, member: str) -> bool:
        if member == "allUsers":
            return True
        if not principal:
            return False
        if member in ("allAuthenticatedUsers", member_of(principal)):
            return True
        kind, _, project = member.partition(":")
        role = CONVENIENCE_ROLES.get(kind)
        return role is not None and self.has_role(principal, role, f"projects/{project}")

    def _counting(self, resource: str) -> list[Binding]:
        """Return the bindings in force now, which trail the stored ones while a delay runs."""
        document = self._store.get(KIND, resource) or {}
        if document.get("visible_at", 0) > time.time():
            return list(document.get("before", []))
        return list(document.get("bindings", []))
