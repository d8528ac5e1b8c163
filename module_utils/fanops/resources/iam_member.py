# SPDX-License-Identifier: GPL-3.0-or-later
"""One member of one role in an IAM policy, and the policy documents it lives in."""

from __future__ import annotations

import copy
from typing import Any

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.reconciler import VISIBLE_WITHIN, Resource

RESOURCE_TYPES = ("project", "bucket", "service_account", "run_service")
#: How often a write that lost against another writer is repeated.
CONFLICTS = 8


class PolicyDocument:
    """Reads and writes the IAM policy of one resource. The four APIs differ only in verb and place."""

    def __init__(self, client: Client, resource_type: str, resource: str, region: str = "") -> None:
        self.client = client
        self.kind = resource_type
        self.title = f"{resource_type.replace('_', ' ')} {resource}"
        project = client.project
        self._base = {
            "project": f"https://cloudresourcemanager.googleapis.com/v1/projects/{segment(resource)}",
            "bucket": f"https://storage.googleapis.com/storage/v1/b/{segment(resource)}/iam",
            "service_account": f"https://iam.googleapis.com/v1/projects/{project}/serviceAccounts/{segment(resource)}",
            "run_service": (
                f"https://run.googleapis.com/v2/projects/{project}/locations/{region}/services/{segment(resource)}"
            ),
        }[resource_type]

    def read(self) -> dict[str, Any]:
        """The policy, in version 3 so that conditions are shown instead of hidden."""
        attempting = f"read the IAM policy of {self.title}"
        version = {"options.requestedPolicyVersion": 3}
        if self.kind == "bucket":
            return self.client.get(self._base, attempting=attempting, params={"optionsRequestedPolicyVersion": 3})
        if self.kind == "run_service":
            return self.client.get(f"{self._base}:getIamPolicy", attempting=attempting, params=version)
        url = f"{self._base}:getIamPolicy"
        if self.kind == "service_account":
            return self.client.call("POST", url, attempting=attempting, params=version, repeatable=True)
        body = {"options": {"requestedPolicyVersion": 3}}
        return self.client.call("POST", url, attempting=attempting, body=body, repeatable=True)

    def write(self, policy: dict[str, Any]) -> None:
        """Replace the policy; fails with 409 or 412 if it changed since it was read."""
        attempting = f"change the IAM policy of {self.title}"
        if self.kind == "bucket":
            self.client.call("PUT", self._base, attempting=attempting, body=policy)
        else:
            # Safe to repeat: a policy that was written already has another etag, and the second write is a conflict.
            self.client.call(
                "POST", f"{self._base}:setIamPolicy", attempting=attempting, body={"policy": policy}, repeatable=True
            )


def bound(binding: dict[str, Any], role: str, condition: dict[str, Any] | None) -> bool:
    """Whether a binding is of the role and, told by its title, of the condition."""
    return binding.get("role") == role and _title(binding.get("condition")) == _title(condition)


def _title(condition: dict[str, Any] | None) -> str | None:
    return condition.get("title", "") if condition else None


def _expression(condition: dict[str, Any] | None) -> str | None:
    return condition.get("expression") if condition else None


def has_member(policy: dict[str, Any], role: str, member: str, condition: dict[str, Any] | None = None) -> bool:
    """Whether ``member`` has ``role`` under just this condition (None: without one)."""
    return any(
        member in binding.get("members", [])
        for binding in policy.get("bindings", [])
        if bound(binding, role, condition) and _expression(binding.get("condition")) == _expression(condition)
    )


def with_member(
    policy: dict[str, Any], role: str, member: str, *, present: bool, condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A copy of ``policy`` in which ``member`` has, or does not have, ``role`` under ``condition``. The etag is kept.

    A binding under a condition of the same title but another expression is an older form of this one: it goes.
    """
    if has_member(policy, role, member, condition) == present:
        return policy
    changed = copy.deepcopy(policy)
    bindings: list[dict[str, Any]] = changed.setdefault("bindings", [])
    for binding in [binding for binding in bindings if bound(binding, role, condition)]:
        binding["members"] = [other for other in binding.get("members", []) if other != member]
    changed["bindings"] = bindings = [binding for binding in bindings if binding.get("members")]
    if present:
        mine = [b for b in bindings if bound(b, role, condition) and b.get("condition") == condition]
        if not mine:
            mine = [{"role": role, "members": []} | ({"condition": condition} if condition else {})]
            bindings.extend(mine)
        mine[0]["members"].append(member)
    if any(binding.get("condition") for binding in bindings):
        changed["version"] = 3
    return changed


class IamMember(Resource):
    """A member's role. "Created" by adding it to the policy, "deleted" by removing it.

    :param must_exist: False in check mode, where the thing that carries the policy may still have to be made.
    """

    def __init__(self, client: Client, options: dict[str, Any], *, must_exist: bool = True) -> None:
        super().__init__(client, options)
        self.verbs = ("grant", "revoke")
        resource = options["resource"] or client.project
        self._document = PolicyDocument(client, options["resource_type"], resource, options["region"] or "")
        self._condition: dict[str, Any] | None = options.get("condition")
        self._must_exist = must_exist and options["state"] == "present"
        self._policy: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """Role, member and resource."""
        where = f" ({self._condition['title']})" if self._condition else ""
        role = self.options["role"]
        name = role.rpartition("/")[2] if role.startswith(("projects/", "organizations/")) else role
        return f"{name} for {self.options['member'].rpartition(':')[2]} on {self._document.title}{where}"

    def fetch(self) -> dict[str, Any] | None:
        """The binding, None where the member does not have the role."""
        self._policy = self._patiently(self._read)
        role, member = self.options["role"], self.options["member"]
        if self._policy is None or not has_member(self._policy, role, member, self._condition):
            return None
        return self.wanted()

    def wanted(self) -> dict[str, Any]:
        """Role, member and condition."""
        condition = {"condition": self._condition} if self._condition else {}
        return {"role": self.options["role"], "member": self.options["member"], **condition}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The binding is its own view."""
        return current

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """The binding."""
        return self.wanted()

    def create(self) -> None:
        """Add the member."""
        self._change(present=True)

    def delete(self, current: dict[str, Any]) -> None:
        """Remove the member."""
        self._change(present=False)

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._document.read()
        except GoogleApiError as error:
            if error.status == 404 and not self._must_exist:
                return None
            raise

    def _change(self, *, present: bool) -> None:
        for attempt in range(1, CONFLICTS + 1):
            policy = self._policy if self._policy is not None else self._document.read()
            self._policy = None
            wanted = with_member(
                policy, self.options["role"], self.options["member"], present=present, condition=self._condition
            )
            if wanted == policy:  # somebody else, or our own write whose answer got lost
                return
            try:
                self._patiently(lambda wanted=wanted: self._document.write(wanted))
                return
            except GoogleApiError as error:
                if error.status not in (409, 412) or attempt == CONFLICTS:
                    raise
            self.client.sleep(0.2 * 2**attempt)

    def _patiently(self, call: Any) -> Any:
        """Call, and repeat for a minute while an account or role made seconds ago is not visible everywhere."""
        deadline = self.client.clock() + VISIBLE_WITHIN
        while True:
            try:
                return call()
            except GoogleApiError as error:
                if not self._must_exist or not self._may_be_new(error) or self.client.clock() > deadline:
                    raise
            self.client.sleep(3.0)

    def _may_be_new(self, error: GoogleApiError) -> bool:
        if self._document.kind == "service_account" and error.status in (403, 404):
            return not error.service_disabled
        text = error.google_message.lower()
        if self.options["role"].startswith("projects/") and error.status == 400 and "does not exist in the" in text:
            return True
        return (
            self.options["member"].startswith("serviceAccount:")
            and error.status in (400, 404)
            and "does not exist" in text
            and "service account" in text
        )
