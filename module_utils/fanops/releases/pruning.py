# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing old releases: never the live one, one of the last, a young one, or a file that one of those needs."""

from __future__ import annotations

import datetime
from functools import partial
from typing import Any

from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource
from ansible.module_utils.fanops.releases.listing import (
    BLOBS,
    MANIFESTS,
    Bucket,
    read_manifest,
    read_pointer,
)


class Pruning(Resource):
    """The releases of a bucket, less those that nobody needs.

    A publisher builds on young objects only. A rollback marks what it uses; deleting asks for the object as it was
    listed, so either the mark comes first and the object stays, or it is gone and the rollback stops before its swap.
    """

    kind = "releases of"

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        self.bucket = Bucket(client, options["bucket"])
        self._superfluous: list[dict[str, Any]] = []
        self._stopped = False

    @property
    def title(self) -> str:
        """The bucket."""
        return f"{self.kind} gs://{self.bucket.name}"

    def fetch(self) -> dict[str, Any]:
        """Every manifest and file, and which of them are superfluous.

        The pointer is read after the listing: what was promoted meanwhile is then known to be needed.
        """
        manifests, blobs = self.bucket.list(MANIFESTS), self.bucket.list(BLOBS)
        pointer, _ = read_pointer(self.bucket)
        lately: dict[str, None] = {}  # the releases that were live, latest first, each once
        for entry in pointer.promotions() if pointer else ():
            lately.setdefault(entry.manifest)
        needed = set(list(lately)[: self.options["keep"]])
        kept = [item for item in manifests if _digest(item) in needed or self._young(item)]
        referenced = {
            entry["path"] for item in kept for entry in read_manifest(self.bucket, _digest(item))["files"].values()
        }
        kept += [item for item in blobs if item["name"] in referenced or self._young(item)]
        names = {item["name"] for item in kept}
        # Manifests first: whoever finds one must find its files.
        self._superfluous = [item for item in [*manifests, *blobs] if item["name"] not in names]
        return {
            "kept": sorted(names),
            "superfluous": [item["name"] for item in self._superfluous],
            "superfluous_bytes": sum(int(item["size"]) for item in self._superfluous),
        }

    def wanted(self) -> dict[str, Any]:
        """Nothing superfluous."""
        return {"superfluous": []}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """What is superfluous."""
        return {"superfluous": current["superfluous"]}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """The same, less what is superfluous."""
        return {"kept": (current or {})["kept"], "superfluous": [], "superfluous_bytes": 0}

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List one deletion for each object."""
        for item in self._superfluous:
            plan.act(f"delete {item['name']}", partial(self._delete, item))

    def _delete(self, item: dict[str, Any]) -> None:
        if self._stopped or self.bucket.delete(item):
            return
        self._stopped = True  # its files may be needed as well
        self.client.warnings.append(
            f"{item['name']} came into use while it was about to be deleted: stopped, run again."
        )

    def _young(self, item: dict[str, Any]) -> bool:
        used = max(item["updated"], (item.get("metadata") or {}).get("used", ""))
        age = datetime.datetime.now(datetime.timezone.utc) - _moment(used)
        return age < datetime.timedelta(hours=self.options["grace_hours"])


def _digest(item: dict[str, Any]) -> str:
    return str(item["name"]).removeprefix(MANIFESTS).removesuffix(".json")


def _moment(text: str) -> datetime.datetime:
    """RFC 3339 as Google and Python write it."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
