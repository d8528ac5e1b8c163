# SPDX-License-Identifier: GPL-3.0-or-later
"""A firewall rule of a VPC network, for incoming traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.fields import Field
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource


class FirewallRule(Resource):
    """An ingress rule."""

    kind = "firewall rule"

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        networks = f"{compute_url(client.project)}/global/networks"
        self.fields = (
            Field("network", "network", "", read=basename, write=lambda name: f"{networks}/{name}"),
            Field("source_ranges", "sourceRanges", []),
            Field("allowed", "allowed", [], read=_read_allowed, write=_write_allowed),
            Field("target_tags", "targetTags", []),
            Field("description", "description", ""),
        )

    @property
    def _path(self) -> str:
        return f"global/firewalls/{segment(self.options['name'])}"

    def fetch(self) -> dict[str, Any] | None:
        """What there is of it, None if nothing."""
        return self.client.find(f"{compute_url(self.client.project)}/{self._path}", attempting=f"read {self.title}")

    def body(self, only: Sequence[str] | None = None) -> dict[str, Any]:
        """The rule as Compute v1 wants it."""
        return {"name": self.options["name"], "direction": "INGRESS", **super().body(only)}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        return {**(current or {}), **self.body()}

    def validate(self) -> None:
        """An open rule must be asked for in full."""
        missing = [name for name in ("source_ranges", "allowed") if not self.options[name]]
        if missing:
            raise GoogleApiError(
                f"create {self.title}",
                f"{' and '.join(missing)} not given",
                "Give both: an open rule must be asked for in full.",
            )

    def create(self) -> None:
        """Make it."""
        self.client.compute("POST", "global/firewalls", attempting=f"create {self.title}", body=self.body())

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List what has to change."""
        changed = ", ".join(plan.differences.options)
        plan.act(
            f"update {self.title}: {changed}",
            lambda: self.client.compute("PATCH", self._path, attempting=f"update {self.title}", body=self.body()),
        )

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it."""
        self.client.compute("DELETE", self._path, attempting=f"delete {self.title}")


def _read_allowed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"protocol": item["IPProtocol"], "ports": item.get("ports", [])} for item in found]


def _write_allowed(wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"IPProtocol": item["protocol"], **({"ports": item["ports"]} if item["ports"] else {})} for item in wanted]
