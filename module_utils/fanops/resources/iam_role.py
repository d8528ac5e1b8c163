# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's custom IAM role: exactly the permissions that are listed."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.reconcile.fields import Field
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource


def role_name(project: str, role_id: str) -> str:
    """The name by which policies refer to a custom role."""
    return f"projects/{project}/roles/{role_id}"


class IamRole(Resource):
    """One custom role. Google keeps a deleted one for a week under its id, so it is undeleted rather than created."""

    kind = "custom role"
    fields = (
        Field("title", "title", ""),
        Field("description", "description", ""),
        Field("permissions", "includedPermissions", []),
        Field("stage", "stage"),
    )
    _deleted = False

    @property
    def _collection(self) -> str:
        return f"https://iam.googleapis.com/v1/projects/{self.client.project}/roles"

    @property
    def _url(self) -> str:
        return f"{self._collection}/{segment(self.options['name'])}"

    def fetch(self) -> dict[str, Any] | None:
        """The role, None where there is none or it is deleted."""
        found = self.client.find(self._url, attempting=f"read {self.title}")
        if found is not None:
            found.setdefault("stage", "ALPHA")  # the stage of number 0, which Google leaves out
        self._deleted = bool(found and found.get("deleted"))
        return None if self._deleted else found

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return {"name": role_name(self.client.project, self.options["name"]), **(current or {}), **self.body()}

    def create(self) -> None:
        """Make it, or bring a deleted one back and make it what is wanted."""
        if self._deleted:
            self.client.call("POST", f"{self._url}:undelete", attempting=f"undelete {self.title}", body={})
            self._patch([field.option for field in self.fields])
            return
        body = {"roleId": self.options["name"], "role": self.body()}
        self.client.call("POST", self._collection, attempting=f"create {self.title}", body=body, repeatable=True)

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """Change what differs."""
        changed = plan.differences.options
        plan.act(f"update {self.title}: {', '.join(changed)}", lambda: self._patch(changed))

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it; members that hold it lose its permissions at once."""
        self.client.call("DELETE", self._url, attempting=f"delete {self.title}")

    def _patch(self, options: list[str]) -> None:
        body = self.body(options)
        self.client.call(
            "PATCH",
            self._url,
            attempting=f"update {self.title}",
            body=body,
            params={"updateMask": ",".join(body)},
        )
