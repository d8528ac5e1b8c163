# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance schedule that starts one VM: a resource policy in the VM's region, attached to the VM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.fields import Field
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource
from ansible.module_utils.fanops.resources.instance import locate

POLICY = "instanceSchedulePolicy"


class InstanceSchedule(Resource):
    """The schedule ``name`` and its attachment to ``instance``; "absent" detaches and deletes it."""

    kind = "instance schedule"
    fields = (
        Field("schedule", f"{POLICY}.vmStartSchedule.schedule"),
        Field("timezone", f"{POLICY}.timeZone"),
        Field("description", "description", ""),
    )

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        self._vm: dict[str, Any] | None = None
        #: Policies of this name in other regions, where the VM was before.
        self._left: list[dict[str, Any]] = []

    @property
    def _region(self) -> str:
        zone = basename(self._vm["zone"]) if self._vm else self.options["zone"]
        return str(zone).rpartition("-")[0]

    def fetch(self) -> dict[str, Any] | None:
        """The policy in the VM's region with ``attached``, None if there is none. A VM may have been made elsewhere."""
        zones = [self.options["zone"], *(self.options["fallback_zones"] or [])]
        self._vm = locate(self.client, self.options["instance"], zones)
        url = f"{compute_url(self.client.project)}/aggregated/resourcePolicies"
        pages = self.client.pages(
            url, attempting=f"read {self.title}", params={"filter": f"name = {self.options['name']}"}
        )
        found = [
            p for page in pages for scope in page.get("items", {}).values() for p in scope.get("resourcePolicies", [])
        ]
        here = [policy for policy in found if basename(policy["region"]) == self._region]
        self._left = [policy for policy in found if policy not in here]
        return {**here[0], "attached": self._attached(here[0])} if here else None

    def wanted(self) -> dict[str, Any]:
        """The schedule, and that the VM follows it where there is one."""
        return {**super().wanted(), "attached": True if self._vm else None}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The schedule in option words."""
        return {**super().view(current), "attached": current["attached"]}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be, but for when it runs next."""
        return {**(current or {}), **self.body(), "attached": self._vm is not None}

    def body(self, only: Sequence[str] | None = None) -> dict[str, Any]:
        """The policy as Compute v1 wants it."""
        return {"name": self.options["name"], **super().body(only)}

    def plan(self, current: dict[str, Any] | None, state: str) -> Plan:
        """List what has to be done. The policy comes before its attachment, and goes after it."""
        plan = Plan()
        stale = self._left + ([current] if current and state == "absent" else [])
        for policy in stale:
            if self._attached(policy):
                plan.act(
                    f"detach {self.title} from {self.options['instance']}", partial(self._attach, "remove", policy)
                )
            plan.act(f"delete {self.title}", partial(self._delete, policy))
        if state == "absent":
            if current:
                plan.differences.compare(dict.fromkeys(self.view(current), ""), self.view(current))
            return plan
        plan.differences.compare(self.wanted(), self.view(current) if current else {})
        if current is None:
            plan.act(f"create {self.title}", lambda: self._send("POST", ""))
        elif any(field.option in plan.differences for field in self.fields):
            plan.act(f"update {self.title}", lambda: self._send("PATCH", f"/{segment(self.options['name'])}"))
        if self._vm is None:
            plan.warnings.append(
                f"{self.options['instance']} does not exist: {self.title} starts nothing until it does."
            )
        elif not current or not current["attached"]:
            plan.act(f"attach {self.title} to {self.options['instance']}", lambda: self._attach("add", None))
        return plan

    def _attached(self, policy: dict[str, Any]) -> bool:
        links = (self._vm or {}).get("resourcePolicies", [])
        return any(
            link.endswith(f"/regions/{basename(policy['region'])}/resourcePolicies/{policy['name']}") for link in links
        )

    def _send(self, method: str, name: str) -> None:
        path = f"regions/{self._region}/resourcePolicies{name}"
        self.client.compute(method, path, attempting=f"set {self.title}", body=self.body())

    def _delete(self, policy: dict[str, Any]) -> None:
        path = f"regions/{basename(policy['region'])}/resourcePolicies/{segment(policy['name'])}"
        self.client.compute("DELETE", path, attempting=f"delete {self.title}")

    def _attach(self, verb: str, policy: dict[str, Any] | None) -> None:
        """Attach or detach; a grant to Google's agent that was made a moment ago may not count yet."""
        vm = self._vm or {}
        region = basename(policy["region"]) if policy else self._region
        link = f"projects/{self.client.project}/regions/{region}/resourcePolicies/{self.options['name']}"
        path = f"zones/{basename(vm['zone'])}/instances/{segment(vm['name'])}/{verb}ResourcePolicies"
        deadline = self.client.clock() + self.options["patience_seconds"]
        while True:
            try:
                self.client.compute("POST", path, attempting=f"{verb} {self.title}", body={"resourcePolicies": [link]})
                return
            except GoogleApiError as error:
                if error.status != 412 or self.client.clock() > deadline:
                    raise
            self.client.sleep(5.0)
