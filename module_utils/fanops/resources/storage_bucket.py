# SPDX-License-Identifier: GPL-3.0-or-later
"""A Cloud Storage bucket of this project: its settings, and what is in it when it is deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ansible.module_utils.fanops.api.client import segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.fields import Field, texts
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource

BASE = "https://storage.googleapis.com/storage/v1/b"


class StorageBucket(Resource):
    """A bucket of *this* project: one that exists elsewhere is an error, not a bucket to adopt."""

    kind = "bucket"
    fields = (
        Field("location", "location", "", read=str.upper, normalize=str.upper),
        Field("storage_class", "storageClass"),
        Field("labels", "labels", {}, normalize=texts),
        Field("uniform_access", "iamConfiguration.uniformBucketLevelAccess.enabled", False),
        Field("public_access_prevention", "iamConfiguration.publicAccessPrevention", "inherited"),
        Field("soft_delete_seconds", "softDeletePolicy.retentionDurationSeconds", 0, read=int, write=str),
    )

    @property
    def _url(self) -> str:
        return f"{BASE}/{segment(self.options['name'])}"

    def fetch(self) -> dict[str, Any] | None:
        """What there is of it, None if nothing."""
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
            "Choose another name.",
            status=cause.status if cause else 409,
            reason="taken",
            google_message=cause.google_message if cause else "",
        )

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return {"name": self.options["name"], **(current or {}), **self.body()}

    def create(self) -> None:
        """Make it."""
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
        """List what has to change."""
        if "location" in plan.differences:
            raise GoogleApiError(
                f"move {self.title} to {self.options['location']}",
                f"it is in {current['location']} and a bucket cannot be moved",
                f"Set the location to {current['location'].lower()}, or choose another name.",
            )
        changed = plan.differences.options
        plan.act(f"update {self.title}: {', '.join(changed)}", lambda: self._patch(changed))

    def _patch(self, changed: list[str]) -> None:
        self.client.call("PATCH", self._url, attempting=f"update {self.title}", body=self.body(changed))

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it."""
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
