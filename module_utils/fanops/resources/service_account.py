# SPDX-License-Identifier: GPL-3.0-or-later
"""An IAM service account."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.reconcile.fields import Field
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource


class ServiceAccount(Resource):
    """An IAM service account."""

    kind = "service account"
    fields = (Field("display_name", "displayName", ""),)

    @property
    def _email(self) -> str:
        return f"{self.options['name']}@{self.client.project}.iam.gserviceaccount.com"

    @property
    def _collection(self) -> str:
        return f"https://iam.googleapis.com/v1/projects/{self.client.project}/serviceAccounts"

    @property
    def _url(self) -> str:
        return f"{self._collection}/{segment(self._email)}"

    def fetch(self) -> dict[str, Any] | None:
        """What there is of it, None if nothing."""
        return self.client.find(self._url, attempting=f"read {self.title}")

    def wanted(self) -> dict[str, Any]:
        """The options, and the address that follows from the name."""
        return {"email": self._email, **super().wanted()}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The same of the account that there is."""
        return {"email": current.get("email"), **super().view(current)}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return {**(current or {"email": self._email}), **self.body()}

    def create(self) -> None:
        """Make it."""
        self.client.call(
            "POST",
            self._collection,
            attempting=f"create {self.title}",
            body={
                "accountId": self.options["name"],
                "serviceAccount": {"displayName": self.options["display_name"] or ""},
            },
            repeatable=True,
        )

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List what has to change."""
        plan.act(f"rename {self.title}", self._rename)

    def _rename(self) -> None:
        self.client.call(
            "PATCH",
            self._url,
            attempting=f"rename {self.title}",
            body={"serviceAccount": {"displayName": self.options["display_name"]}, "updateMask": "displayName"},
        )

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it."""
        self.client.call("DELETE", self._url, attempting=f"delete {self.title}")
