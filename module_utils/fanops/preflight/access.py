# SPDX-License-Identifier: GPL-3.0-or-later
"""What each identity may do: the deployer by Google's own test, the others by what would stop them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.preflight.findings import Finding, names

ACT_AS = "iam.serviceAccounts.actAs"
SET_POLICY = "resourcemanager.projects.setIamPolicy"
#: The permissions of Cloud Storage that belong to a project. The others may come from the bucket's own policy, as an owner's do.
ON_PROJECT = frozenset({"storage.buckets.create", "storage.buckets.list"})
STORAGE = "https://storage.googleapis.com/storage/v1"
#: Google tests no more at once.
TESTED_AT_ONCE = 100
#: Predefined roles that carry what ``grants`` asks for.
CARRIER_ROLES = ("roles/owner", "roles/editor", "roles/compute.admin", "roles/compute.instanceAdmin.v1")
#: Any of these lets the account build. A custom role may as well; that is taken on trust.
BUILDER_ROLES = ("roles/cloudbuild.builds.builder", "roles/editor", "roles/owner")


class Access:
    """The deployer, the accounts that it puts to work, and the one that builds."""

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        self.client = client
        self.options = options
        self.any_held = False
        self._project = segment(client.project)
        self._iam = f"https://iam.googleapis.com/v1/projects/{self._project}"

    def permissions(self) -> list[Finding]:
        """Permissions of the deployer's role file that this account does not hold on the project."""
        wanted = list(self.options["permissions"])
        asked, held = [*wanted, SET_POLICY], set[str]()
        for start in range(0, len(asked), TESTED_AT_ONCE):
            url = f"https://cloudresourcemanager.googleapis.com/v1/projects/{self._project}:testIamPermissions"
            held |= self._tested(url, asked[start : start + TESTED_AT_ONCE])
        self.any_held = bool(held)
        at_bucket = [p for p in wanted if p.startswith("storage.") and p not in held | ON_PROJECT]
        if at_bucket and self.any_held:
            held |= self._held_at_bucket(at_bucket, owner=SET_POLICY in held)
        missing = [name for name in wanted if name not in held]
        if ACT_AS in missing and held and all(self._may_act_as(account) for account in self.options["accounts"]):
            missing.remove(ACT_AS)
        if not missing:
            return []
        who = self.client.account or "this account"
        found = f"{who} lacks {names(missing)} in project {self.client.project}"
        return [Finding("permissions", found, self._grant())]

    def identities(self) -> list[Finding]:
        """Service accounts that exist but are disabled: the run would find out only when the VM or function starts."""
        found = []
        for email in self.options["accounts"]:
            account = self._account(email)
            if account and account.get("disabled"):
                remedy = f"gcloud iam service-accounts enable {email} --project={self.client.project}"
                found.append(Finding("identities", f"service account {email} is disabled", remedy))
        return found

    def builder(self) -> list[Finding]:
        """The account that builds functions, which newer organisations give no role at all."""
        project, region = self.client.project, segment(self.options["region"])
        url = f"https://cloudbuild.googleapis.com/v1/projects/{self._project}/locations/{region}/defaultServiceAccount"
        answer = self.client.get(url, attempting="find out which account builds")
        email = basename(answer.get("serviceAccountEmail", ""))
        roles = [b["role"] for b in self._bindings() if f"serviceAccount:{email}" in b.get("members", [])]
        if not email or any(role in BUILDER_ROLES or not role.startswith("roles/") for role in roles):
            return []
        remedy = (
            f"gcloud projects add-iam-policy-binding {project} --condition=None "
            f"--member=serviceAccount:{email} --role={BUILDER_ROLES[0]}"
        )
        return [Finding("build account", f"the account that builds functions, {email}, may not build", remedy)]

    def has_bucket(self) -> bool:
        """Whether the project has the bucket: a name that exists and is not listed is another project's."""
        name = self.options["bucket"]
        listed = self.client.pages(
            f"{STORAGE}/b", attempting="list the project's buckets",
            params={"project": self.client.project, "prefix": name, "fields": "items(name),nextPageToken"},
        )  # fmt: skip
        return any(bucket["name"] == name for page in listed for bucket in page.get("items", []))

    def _held_at_bucket(self, permissions: list[str], *, owner: bool) -> set[str]:
        """Which of them the bucket's policy gives. A new bucket's gives an owner of the project all of them."""
        if not self.has_bucket():
            return set(permissions) if owner else set()
        url = f"{STORAGE}/b/{segment(self.options['bucket'])}/iam/testPermissions"
        answer = self.client.get(url, attempting="test permissions on the bucket", params={"permissions": permissions})
        return set(answer.get("permissions", []))

    def grants(self, number: str) -> list[Finding]:
        """What other accounts need on the project, which only its owner can give: one finding with all the commands.

        ``number`` is the project's, which the e-mail addresses of Google's own agents carry.
        """
        wanted = self.options["grants"]
        bindings = self._bindings() if wanted else []
        missing, commands = [], []
        for grant in wanted:
            email, project = grant["account"].format(number=number), self.client.project
            member, role = f"serviceAccount:{email}", f"projects/{project}/roles/{grant['role']}"
            held = [b["role"] for b in bindings if member in b.get("members", []) and not b.get("condition")]
            custom = self.client.find(f"https://iam.googleapis.com/v1/{role}", attempting=f"read {grant['role']}") or {}
            complete = grant["permission"] in custom.get("includedPermissions", []) and not custom.get("deleted")
            if any(name in CARRIER_ROLES for name in held) or (complete and role in held):
                continue
            missing.append(f"{email} lacks {grant['permission']}")
            if email.endswith(f"@{project}.iam.gserviceaccount.com") and not self._account(email):
                commands.append(f"gcloud iam service-accounts create {email.partition('@')[0]} --project={project}")
            if not complete:
                verb = "undelete" if custom.get("deleted") else "update" if custom else "create"
                permissions = "" if custom.get("deleted") else f" --permissions={grant['permission']}"
                commands.append(f"gcloud iam roles {verb} {grant['role']} --project={project}{permissions}")
            commands.append(
                f"gcloud projects add-iam-policy-binding {project} --condition=None --member={member} --role={role}"
            )
        return [Finding("grants", names(missing), " && ".join(commands))] if missing else []

    def _account(self, email: str) -> dict[str, Any] | None:
        url = f"{self._iam}/serviceAccounts/{segment(email)}"
        return self.client.find(url, attempting=f"read service account {email}")

    def _bindings(self) -> list[dict[str, Any]]:
        policy = self.client.call(
            "POST", f"https://cloudresourcemanager.googleapis.com/v1/projects/{self._project}:getIamPolicy",
            attempting="read the project's IAM policy", body={"options": {"requestedPolicyVersion": 3}}, repeatable=True,
        )  # fmt: skip
        return list(policy.get("bindings", []))

    def _tested(self, url: str, permissions: list[str]) -> set[str]:
        body = {"permissions": permissions}
        answer = self.client.call("POST", url, attempting="test permissions", body=body, repeatable=True)
        return set(answer.get("permissions", []))

    def _may_act_as(self, email: str) -> bool:
        """Whether the permission was given on this one account, which is narrower than on the project."""
        url = f"{self._iam}/serviceAccounts/{segment(email)}:testIamPermissions"
        try:
            return ACT_AS in self._tested(url, [ACT_AS])
        except GoogleApiError:
            return False

    def _grant(self) -> str:
        """The commands that make the role what its file says, and give it to this account."""
        file, project = self.options["role_file"], self.client.project
        role = Path(file).stem
        account = self.client.account
        kind = "serviceAccount" if account.endswith(".gserviceaccount.com") else "user"
        member = f"{kind}:{account}" if account else "user:<you>"
        return (
            f"gcloud iam roles {'update' if self._exists(role) else 'create'} {role} --project={project} --file={file} "
            f"&& gcloud projects add-iam-policy-binding {project} --condition=None --member={member} "
            f"--role=projects/{project}/roles/{role}"
        )

    def _exists(self, role: str) -> bool:
        try:
            return self.client.find(f"{self._iam}/roles/{role}", attempting=f"read custom role {role}") is not None
        except GoogleApiError:
            return True  # may not look: whoever was given a part of the role has the role
