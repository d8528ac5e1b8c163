#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcp_service_account
short_description: Manage a service account
description:
  - Creates, renames or deletes a service account. It makes no keys, for programs on Google Cloud need none.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Predicts the change without making it.
  diff_mode:
    support: full
    description: Returns what differs, before and after.
extends_documentation_fragment: [google_api]
options:
  name:
    description: The account id, the part of the e-mail address before the V(@). 6 to 30 characters.
    type: str
    required: true
  display_name:
    description: Name shown in the console.
    type: str
  state:
    description: Whether the account exists.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Give the training VM an identity of its own
  gcp_service_account:
    name: m4-trainer
    display_name: Trains the sponsor model
  register: __trainer

- name: Delete it
  gcp_service_account:
    name: m4-trainer
    state: absent
"""

RETURN = r"""
service_account:
  description: The account as the IAM API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {email: m4-trainer@my-project.iam.gserviceaccount.com, displayName: Trains the sponsor model}
plan:
  description: Per resource its name, what is done to it (C(none), C(create), C(update), C(delete), C(power)), and the actions.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource, reconcile

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "display_name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


class ServiceAccount(Resource):
    """An IAM service account."""

    kind = "service account"

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
        return self.client.find(self._url, attempting=f"read {self.title}")

    def wanted(self) -> dict[str, Any]:
        return {"email": self._email, "display_name": self.options["display_name"]}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        return {"email": current.get("email"), "display_name": current.get("displayName", "")}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        shown = {"displayName": self.options["display_name"]} if self.options["display_name"] is not None else {}
        return {**(current or {"email": self._email}), **shown}

    def create(self) -> None:
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
        plan.act(f"rename {self.title}", self._rename)

    def _rename(self) -> None:
        self.client.call(
            "PATCH",
            self._url,
            attempting=f"rename {self.title}",
            body={"serviceAccount": {"displayName": self.options["display_name"]}, "updateMask": "displayName"},
        )

    def delete(self, current: dict[str, Any]) -> None:
        self.client.call("DELETE", self._url, attempting=f"delete {self.title}")


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        client = make_client(module, patient=True)
        outcome = reconcile(ServiceAccount(client, module.params), module.params["state"], check_mode=module.check_mode)
        exit_with(module, outcome, "service_account")


if __name__ == "__main__":
    main()
