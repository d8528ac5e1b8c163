# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's side: every question that a run depends on, asked at once and changing nothing.

What cannot be seen because an API is still switched off is no defect, for the run switches it on: it is reported as
``unseen``, to be looked at again then.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ansible.module_utils.fanops.api import errors
from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.preflight import policies
from ansible.module_utils.fanops.preflight.access import STORAGE, Access
from ansible.module_utils.fanops.preflight.compute import Compute
from ansible.module_utils.fanops.preflight.findings import Finding, names

MANAGER = "https://cloudresourcemanager.googleapis.com/v1/projects"
#: batchGet takes no more.
SERVICES_AT_ONCE = 30
PARALLEL = 8


class Survey:
    """Asks everything; ``findings`` and ``unseen`` are the answer."""

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        self.client = client
        self.options = options
        self.unseen: list[str] = []
        self._refused: list[tuple[str, GoogleApiError]] = []
        self._number = ""
        self._hidden = False

    def findings(self) -> list[Finding]:
        """Ask; return the defects in the order of the checks."""
        first = self._project()
        if first and first[0].check == "credentials":
            return first
        access = Access(self.client, self.options)
        compute = Compute(self.client, self.options)
        checks: list[tuple[str, Callable[[], list[Finding]]]] = [
            ("permissions", access.permissions),
            ("billing", self._billing),
            ("APIs", self._apis),
            ("identities", access.identities),
            ("build account", access.builder),
            ("grants", lambda: access.grants(self._number)),
            ("machine type", compute.machine_type),
            ("quota", compute.quota),
            ("network", compute.network),
            ("bucket", lambda: self._bucket(access)),
            *[
                (each.names[0], partial(policies.check, self.client, self.options, each))
                for each in policies.CONSTRAINTS
            ],
        ]
        with ThreadPoolExecutor(PARALLEL) as pool:
            answers = dict(zip([name for name, _ in checks], pool.map(self._seen, checks), strict=True))
        if self._hidden and not access.any_held:
            first = [self._no_project()]
        if first:
            # Without the project, or any right in it, the rest would only repeat it.
            return first
        if not answers["permissions"] and not answers["billing"]:
            # The account holds what is asked for and is refused all the same: then Google's own words have to do.
            answers["refused"] = [Finding(name, error.found, error.remedy) for name, error in self._refused]
        return [finding for found in answers.values() for finding in found]

    def _seen(self, check: tuple[str, Callable[[], list[Finding]]]) -> list[Finding]:
        name, ask = check
        try:
            return ask()
        except GoogleApiError as error:
            if error.service_disabled:
                self.unseen.append(name)
            elif error.status == 403:
                self._refused.append((name, error))
            else:
                return [Finding(name, f"could not {error.attempting}: {error.found}", error.remedy or "run again")]
        return []

    # -- project, billing, APIs ----------------------------------------------------------------------------------

    def _project(self) -> list[Finding]:
        """The first call: it proves the credentials as well."""
        try:
            found = self.client.get(f"{MANAGER}/{segment(self.client.project)}", attempting="read the project")
        except GoogleApiError as error:
            if error.status == 401 or error.status is None:
                return [Finding("credentials", error.found, error.remedy or errors.CREDENTIALS_REMEDY)]
            if error.service_disabled:
                self.unseen.append("project")
                return []
            # A refusal may be one missing permission; whether it is more, the test of the permissions shows.
            self._hidden = error.status == 403
            return [] if self._hidden else [self._no_project()]
        self._number = str(found.get("projectNumber", ""))
        if found.get("lifecycleState", "ACTIVE") == "ACTIVE":
            return []
        remedy = f"gcloud projects undelete {self.client.project}"
        return [Finding("project", f"project {self.client.project} is about to be deleted", remedy)]

    def _no_project(self) -> Finding:
        who = self.client.account or "this account"
        return Finding(
            "project",
            f"there is no project {self.client.project} that {who} may use",
            "export GCP_PROJECT=<one that 'gcloud projects list' shows>, or have its owner grant the deployer's role "
            f"(the commands are in {self.options['role_file']})",
        )

    def _billing(self) -> list[Finding]:
        project = self.client.project
        url = f"https://cloudbilling.googleapis.com/v1/projects/{segment(project)}/billingInfo"
        if self.client.get(url, attempting="read the project's billing").get("billingEnabled"):
            return []
        found = f"project {project} has no billing account, which even Always Free needs"
        remedy = (
            f"gcloud billing projects link {project} --billing-account=<one that 'gcloud billing accounts list' shows>"
        )
        return [Finding("billing", found, remedy)]

    def _apis(self) -> list[Finding]:
        project, wanted = self.client.project, list(self.options["services"])
        off: list[str] = []
        for start in range(0, len(wanted), SERVICES_AT_ONCE):
            answer = self.client.get(
                f"https://serviceusage.googleapis.com/v1/projects/{project}/services:batchGet",
                attempting="read which APIs are enabled",
                params={
                    "names": [f"projects/{project}/services/{n}" for n in wanted[start : start + SERVICES_AT_ONCE]]
                },
            )
            states = {item["name"].rsplit("/", 1)[-1]: item.get("state") for item in answer.get("services", [])}
            off += [name for name in wanted[start : start + SERVICES_AT_ONCE] if states.get(name) != "ENABLED"]
        if not off or self._may_enable():
            return []
        found = f"these APIs are off, and {self.client.account or 'this account'} may not switch them on: {names(off)}"
        return [Finding("APIs", found, f"gcloud services enable {' '.join(off)} --project={project}")]

    def _may_enable(self) -> bool:
        answer = self.client.call(
            "POST", f"{MANAGER}/{segment(self.client.project)}:testIamPermissions",
            attempting="test permissions", body={"permissions": ["serviceusage.services.enable"]}, repeatable=True,
        )  # fmt: skip
        return bool(answer.get("permissions"))

    # -- bucket ------------------------------------------------------------------------------------------

    def _bucket(self, access: Access) -> list[Finding]:
        name, region = self.options["bucket"], self.options["region"]
        other = f"-e model_bucket={self.client.project}-models, or another name that is free"
        taken = Finding("bucket", f"the bucket name {name} is taken by another project", other)
        url = f"{STORAGE}/b/{segment(name)}"
        try:
            bucket = self.client.find(url, attempting=f"read bucket {name}", params={"projection": "noAcl"})
        except GoogleApiError as error:
            if error.status == 403 and not access.has_bucket():
                return [taken]
            raise
        if bucket is None:
            return []
        if self._number and str(bucket.get("projectNumber")) != self._number:
            return [taken]
        if bucket.get("location", "").upper() != region.upper():
            found = f"bucket {name} is in {bucket.get('location')} and cannot be moved to {region}"
            return [Finding("bucket", found, f"-e gcp_region={bucket.get('location', '').lower()}, or {other}")]
        if bucket.get("retentionPolicy") or bucket.get("defaultEventBasedHold"):
            found = f"bucket {name} retains its objects, so that the pointer to the live release could not be replaced"
            clear = f"gcloud storage buckets update gs://{name} --clear-retention-period --no-default-event-based-hold"
            return [Finding("bucket", found, f"{clear}, or {other}")]
        return []
