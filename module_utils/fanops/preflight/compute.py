# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the training VM could be had: its type in its zone, its share of the quotas, its network."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import Client, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.preflight.findings import Finding

QUOTA_PAGE = "https://console.cloud.google.com/iam-admin/quotas"


class Compute:
    """Asks nothing when no VM is needed."""

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        self.client = client
        self.options = options
        self._base = compute_url(client.project)
        self._zone = f"{self._base}/zones/{segment(options['zone'])}"

    def machine_type(self) -> list[Finding]:
        """The machine type exists in the zone, and the zone exists."""
        if not self.options["vm_needed"]:
            return []
        found = self._machine_type()
        return [found] if isinstance(found, Finding) else []

    def quota(self) -> list[Finding]:
        """The region's quotas leave room for what the VM does not use already."""
        if not self.options["vm_needed"]:
            return []
        region, project = self.options["region"], self.client.project
        kind = self._machine_type()
        if isinstance(kind, Finding):
            return []
        needed = self._needed(int(kind.get("guestCpus", 0)))
        answer = self.client.find(f"{self._base}/regions/{segment(region)}", attempting=f"read region {region}")
        if answer is None:
            remedy = "-e gcp_region=<one that 'gcloud compute regions list' shows>"
            return [Finding("quota", f"there is no region {region}", remedy)]
        short = []
        for quota in answer.get("quotas", []):
            metric, room = quota["metric"], float(quota["limit"]) - float(quota["usage"])
            if metric in needed and needed[metric] > room:
                short.append(f"{metric}: {needed[metric]:g} needed, {max(room, 0):g} of {quota['limit']:g} left")
        if not short:
            return []
        found = f"the quota of {region} has no room for {self.options['machine_type']} ({'; '.join(short)})"
        remedy = f"ask for more at {QUOTA_PAGE}?project={project}, or -e gcp_region=<another of Always Free's regions>"
        return [Finding("quota", found, remedy)]

    def network(self) -> list[Finding]:
        """The VPC network exists; an organisation may have its projects made without one."""
        if not self.options["vm_needed"]:
            return []
        name, project = self.options["network"], self.client.project
        url = f"{self._base}/global/networks/{segment(name)}"
        if self.client.find(url, attempting=f"read network {name}") is not None:
            return []
        remedy = f"gcloud compute networks create {name} --subnet-mode=auto --project={project}"
        return [Finding("network", f"project {project} has no network {name}", remedy)]

    def _machine_type(self) -> dict[str, Any] | Finding:
        kind, zone = self.options["machine_type"], self.options["zone"]
        url = f"{self._zone}/machineTypes/{segment(kind)}"
        try:
            return self.client.get(url, attempting=f"read machine type {kind} in {zone}")
        except GoogleApiError as error:
            if error.status not in (400, 404):
                raise
            if f"machineTypes/{kind}" in error.google_message or "machine type" in error.google_message.lower():
                remedy = f"-e vm_machine_type=<one that 'gcloud compute machine-types list --zones={zone}' shows>"
                return Finding("machine type", f"there is no machine type {kind} in zone {zone}", remedy)
            remedy = "-e gcp_zone=<one that 'gcloud compute zones list' shows>"
            return Finding("machine type", f"there is no zone {zone}", remedy)

    def _needed(self, cpus: int) -> dict[str, float]:
        """Quota metric -> what starting the VM takes beyond what it has."""
        name = self.options["vm_name"]
        vm = self.client.find(f"{self._zone}/instances/{segment(name)}", attempting=f"read VM {name}")
        if vm is None:
            disk = float(self.options["disk_size_gb"])
            return {"INSTANCES": 1.0, "CPUS": float(cpus), "IN_USE_ADDRESSES": 1.0, "DISKS_TOTAL_GB": disk}
        if vm.get("status") == "TERMINATED":
            return {"CPUS": float(cpus), "IN_USE_ADDRESSES": 1.0}
        return {}
