#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gcs_bucket
short_description: Manage a Cloud Storage bucket
description:
  - Creates a bucket, corrects its settings, or deletes it.
  - Bucket names are shared by all of Google Cloud. A name that belongs to another project is refused, in check mode
    too.
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
    description: The bucket's name.
    type: str
    required: true
  location:
    description: Region or multi-region. It cannot be changed later.
    type: str
    default: us-central1
  storage_class:
    description: Default storage class of its objects.
    type: str
    choices: [STANDARD, NEARLINE, COLDLINE, ARCHIVE]
  labels:
    description: Labels to set. Labels that are not mentioned are left alone.
    type: dict
  uniform_access:
    description: Whether access is decided by IAM only, without access control lists on objects.
    type: bool
  public_access_prevention:
    description: V(enforced) forbids making anything in it public.
    type: str
    choices: [enforced, inherited]
  soft_delete_seconds:
    description: How long deleted objects can be restored, and are billed. V(0) switches it off.
    type: int
  state:
    description: Whether the bucket exists. Only an empty bucket can be deleted, unless O(force=true).
    type: str
    choices: [present, absent]
    default: present
  force:
    description: With O(state=absent), delete the bucket's objects first, in all their versions.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Create the bucket of the releases
  gcs_bucket:
    name: fanops-m4-models
    location: us-central1
    storage_class: STANDARD
    uniform_access: true
    public_access_prevention: enforced
    soft_delete_seconds: 0
    labels: {app: fanops-m4, managed-by: ansible}

- name: Delete it
  gcs_bucket:
    name: fanops-m4-models
    state: absent
"""

RETURN = r"""
bucket:
  description: The bucket as the Cloud Storage API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {name: fanops-m4-models, location: US-CENTRAL1, storageClass: STANDARD}
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
from urllib.parse import quote

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import (
    SHARED_OPTIONS,
    errors_reported,
    exit_with,
    google_module,
    make_client,
)
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource, reconcile

BASE = "https://storage.googleapis.com/storage/v1/b"

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "location": {"type": "str", "default": "us-central1"},
    "storage_class": {"type": "str", "choices": ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"]},
    "labels": {"type": "dict"},
    "uniform_access": {"type": "bool"},
    "public_access_prevention": {"type": "str", "choices": ["enforced", "inherited"]},
    "soft_delete_seconds": {"type": "int"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "force": {"type": "bool", "default": False},
}


class Bucket(Resource):
    """A bucket of *this* project: one that exists elsewhere is an error, not a bucket to adopt."""

    kind = "bucket"

    @property
    def _url(self) -> str:
        return f"{BASE}/{segment(self.options['name'])}"

    def fetch(self) -> dict[str, Any] | None:
        name = self.options["name"]
        # Listing our project's buckets proves ownership with one call; reading the bucket by name would not.
        pages = self.client.pages(
            BASE,
            attempting=f"look for {self.title} in project {self.client.project}",
            params={"project": self.client.project, "prefix": name, "projection": "noAcl"},
        )
        for page in pages:
            for bucket in page.get("items", []):
                if bucket["name"] == name:
                    return dict(bucket)
        if self.options["state"] == "present":
            self._refuse_foreign()
        return None

    def _refuse_foreign(self) -> None:
        try:
            found = self.client.find(self._url, attempting=f"read {self.title}")
        except GoogleApiError as error:
            if error.status == 403:
                raise self._taken(error) from error
            raise
        if found is not None:
            raise self._taken()

    def _taken(self, cause: GoogleApiError | None = None) -> GoogleApiError:
        name = self.options["name"]
        return GoogleApiError(
            f"create bucket {name} in project {self.client.project}",
            f"bucket name {name} is taken by another project",
            "Choose another model_bucket.",
            status=cause.status if cause else 409,
            reason="taken",
            google_message=cause.google_message if cause else "",
        )

    def wanted(self) -> dict[str, Any]:
        options = self.options
        return {
            "location": options["location"].upper(),
            "storage_class": options["storage_class"],
            "labels": _texts(options["labels"]),
            "uniform_access": options["uniform_access"],
            "public_access_prevention": options["public_access_prevention"],
            "soft_delete_seconds": options["soft_delete_seconds"],
        }

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        access = current.get("iamConfiguration", {})
        return {
            "location": current.get("location", "").upper(),
            "storage_class": current.get("storageClass"),
            "labels": current.get("labels", {}),
            "uniform_access": access.get("uniformBucketLevelAccess", {}).get("enabled", False),
            "public_access_prevention": access.get("publicAccessPrevention", "inherited"),
            "soft_delete_seconds": int(current.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)),
        }

    def body(self, options: list[str] | None = None) -> dict[str, Any]:
        """The request body for the given options (None = all that are set)."""
        wanted = {
            name: value
            for name, value in self.wanted().items()
            if value is not None and (options is None or name in options)
        }
        access: dict[str, Any] = {}
        if "uniform_access" in wanted:
            access["uniformBucketLevelAccess"] = {"enabled": wanted["uniform_access"]}
        if "public_access_prevention" in wanted:
            access["publicAccessPrevention"] = wanted["public_access_prevention"]
        body = {
            "location": wanted.get("location"),
            "storageClass": wanted.get("storage_class"),
            "labels": wanted.get("labels"),
            "iamConfiguration": access or None,
        }
        if "soft_delete_seconds" in wanted:
            body["softDeletePolicy"] = {"retentionDurationSeconds": str(wanted["soft_delete_seconds"])}
        return {name: value for name, value in body.items() if value is not None}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        return {"name": self.options["name"], **(current or {}), **self.body()}

    def create(self) -> None:
        try:
            self.client.call(
                "POST",
                BASE,
                attempting=f"create {self.title} in project {self.client.project}",
                params={"project": self.client.project},
                body={"name": self.options["name"], **self.body()},
                repeatable=True,
            )
        except GoogleApiError as error:
            if error.already_exists and error.attempts == 1:
                raise self._taken(error) from error
            raise

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        if "location" in plan.differences:
            raise GoogleApiError(
                f"move {self.title} to {self.options['location']}",
                f"it is in {current['location']} and a bucket cannot be moved",
                f"Set the location to {current['location'].lower()}, or choose another model_bucket.",
            )
        changed = plan.differences.options
        plan.act(f"update {self.title}: {', '.join(changed)}", lambda: self._patch(changed))

    def _patch(self, changed: list[str]) -> None:
        self.client.call("PATCH", self._url, attempting=f"update {self.title}", body=self.body(changed))

    def delete(self, current: dict[str, Any]) -> None:
        if self.options["force"]:
            self._delete_objects()
        self.client.call("DELETE", self._url, attempting=f"delete {self.title}")

    def _delete_objects(self) -> None:
        attempting = f"empty {self.title}"
        pages = self.client.pages(
            f"{self._url}/o",
            attempting=attempting,
            params={"versions": "true", "fields": "items(name,generation),nextPageToken"},
        )
        for found in [item for page in pages for item in page.get("items", [])]:
            url = f"{self._url}/o/{quote(found['name'], safe='')}"
            try:
                self.client.call("DELETE", url, attempting=attempting, params={"generation": found["generation"]})
            except GoogleApiError as error:
                if error.status != 404:  # somebody else was faster
                    raise


def _texts(labels: dict[str, Any] | None) -> dict[str, str] | None:
    return None if labels is None else {key: str(value) for key, value in labels.items()}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        client = make_client(module, patient=True)
        outcome = reconcile(Bucket(client, module.params), module.params["state"], check_mode=module.check_mode)
        exit_with(module, outcome, "bucket")


if __name__ == "__main__":
    main()
