# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret of Secret Manager with one value, which only those read who may.

The value is written and never read: who makes a secret need not be able to read it. An annotation holds a slow, salted digest of the
value and the version that it is of, so a difference is found, also one that somebody else made by adding a version.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.fields import Field, texts
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource

HOST = "https://secretmanager.googleapis.com/v1"
DIGEST, VERSION = "fanops-value-digest", "fanops-value-version"
ROUNDS = 200_000
#: What a diff shows in place of the value.
GIVEN, OTHER, NONE = "(the one given)", "(another one)", "(none)"


class Secret(Resource):
    """The secret ``name``; of its versions only the one that holds ``value`` is kept."""

    kind = "secret"
    fields = (Field("labels", "labels", {}, normalize=texts),)

    @property
    def _url(self) -> str:
        return f"{HOST}/projects/{segment(self.client.project)}/secrets/{segment(self.options['name'])}"

    @property
    def _digest(self) -> str:
        salt = f"{self.client.project}/{self.options['name']}".encode()
        return hashlib.pbkdf2_hmac("sha256", self.options["value"].encode(), salt, ROUNDS).hex()

    def fetch(self) -> dict[str, Any] | None:
        """The secret, with those of its ``versions`` that are not destroyed, the newest first.

        None where there is none, or where none is wanted and the API is off.
        """
        try:
            found = self.client.find(self._url, attempting=f"read {self.title}")
        except GoogleApiError as error:
            if self.options["state"] != "absent" or not error.service_disabled:
                raise
            return None
        if found is None:
            return None
        pages = self.client.pages(f"{self._url}/versions", attempting=f"list the versions of {self.title}")
        versions = [version for page in pages for version in page.get("versions", [])]
        return {**found, "versions": [version for version in versions if version["state"] != "DESTROYED"]}

    def wanted(self) -> dict[str, Any]:
        """The labels, and that the value is the one given."""
        return {**super().wanted(), "value": GIVEN if self.options["value"] is not None else None}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The labels, and whether the value is the one given; never the value."""
        return {**super().view(current), "value": self._value(current)}

    def _value(self, current: dict[str, Any]) -> str:
        if not current["versions"]:
            return NONE
        newest, told = current["versions"][0], current.get("annotations", {})
        same = newest["state"] == "ENABLED" and told.get(VERSION) == newest["name"].rpartition("/")[2]
        if self.options["value"] is None:
            return OTHER
        return GIVEN if same and told.get(DIGEST) == self._digest else OTHER

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return {**(current or {"name": self._url.removeprefix(f"{HOST}/"), "versions": []}), **self.body()}

    def shown(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """The secret without what is only ours to compare."""
        return None if found is None else {key: value for key, value in found.items() if key != "annotations"}

    def plan(self, current: dict[str, Any] | None, state: str) -> Plan:
        """List what has to be done; a new secret gets its value in an action of its own."""
        plan = super().plan(current, state)
        if state == "present" and current is None and self.options["value"] is not None:
            plan.act(f"write the value of {self.title}", lambda: self._write({}))
        return plan

    def create(self) -> None:
        """Make it, without a value; Google chooses where it is kept."""
        collection, _, name = self._url.rpartition("/")
        body = {"replication": {"automatic": {}}, **self.body()}
        attempting = f"create {self.title}"
        self.client.call(
            "POST", collection, attempting=attempting, params={"secretId": name}, body=body, repeatable=True
        )

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List what has to change."""
        if "labels" in plan.differences:
            labels = {**current.get("labels", {}), **self.body()["labels"]}
            plan.act(f"label {self.title}", lambda: self._patch("labels", labels))
        if "value" in plan.differences:
            plan.act(f"write the value of {self.title}", lambda: self._write(current.get("annotations", {})))

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it with all of its versions."""
        self.client.call("DELETE", self._url, attempting=f"delete {self.title}")

    def _write(self, annotations: dict[str, str]) -> None:
        """Add the value as the latest version, note its digest, and destroy the versions before it."""
        attempting = f"write the value of {self.title}"
        body = {"payload": {"data": base64.b64encode(self.options["value"].encode()).decode()}}
        # A repetition makes a second version of the same value; the first is destroyed with the others.
        made = self.client.call("POST", f"{self._url}:addVersion", attempting=attempting, body=body, repeatable=True)
        number = made["name"].rpartition("/")[2]
        self._patch("annotations", {**annotations, DIGEST: self._digest, VERSION: number})
        for version in (self.fetch() or {}).get("versions", []):
            old = version["name"].rpartition("/")[2]
            if old != number:
                self.client.call(
                    "POST",
                    f"{self._url}/versions/{old}:destroy",
                    attempting=f"destroy version {old} of {self.title}",
                    body={},
                )

    def _patch(self, field: str, value: dict[str, str]) -> None:
        self.client.call(
            "PATCH",
            self._url,
            attempting=f"set the {field} of {self.title}",
            params={"updateMask": field},
            body={field: value},
        )
