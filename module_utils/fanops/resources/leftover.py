# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk, an address or a schedule that a VM left behind."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import basename, compute_url, segment
from ansible.module_utils.fanops.reconcile.reconciler import Resource

COLLECTIONS = {
    "disk": "zones/{place}/disks/{name}",
    "address": "regions/{place}/addresses/{name}",
    "schedule": "regions/{place}/resourcePolicies/{name}",
}


class Leftover(Resource):
    """A disk, an address or a schedule that nothing needs any more."""

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.options['kind']} {self.options['name']} in {self.options['place']}"

    @property
    def path(self) -> str:
        """The resource, relative to the project."""
        place, name = segment(self.options["place"]), segment(self.options["name"])
        return COLLECTIONS[self.options["kind"]].format(place=place, name=name)

    def fetch(self) -> dict[str, Any] | None:
        """What there is of it, None if nothing."""
        return self.client.find(f"{compute_url(self.client.project)}/{self.path}", attempting=f"read {self.title}")

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """What there is, in option words."""
        return {
            "size_gb": current.get("sizeGb"),
            "address": current.get("address"),
            "users": [basename(user) for user in current.get("users", [])],
        }

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it."""
        self.client.compute("DELETE", self.path, attempting=f"delete {self.title}")
