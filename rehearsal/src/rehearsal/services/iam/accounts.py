# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects, service accounts and their keys.

Store kinds: `projects` (key: project id), `serviceAccounts` (key: e-mail; a deleted account keeps its document with
`deletedAt`, seconds since the epoch, so that it can be undeleted for 30 days), `serviceAccountKeys` (key:
`EMAIL/KEYID`; the private half is stored for Google-managed keys only).
"""

from __future__ import annotations

import datetime
import secrets
import time
from typing import Any, NotRequired, TypedDict, cast

from rehearsal import trouble
from rehearsal.errors import ApiError
from rehearsal.services.iam import keys
from rehearsal.services.iam.policies import Policies
from rehearsal.store import Store

PROJECTS, ACCOUNTS, KEYS = "projects", "serviceAccounts", "serviceAccountKeys"
UNDELETE_SECONDS = 30 * 86_400
KEYS_PER_ACCOUNT = 10


class Project(TypedDict):
    """A project as the store keeps it; the number is text, as Google writes it."""

    projectId: str
    projectNumber: str
    name: str
    createTime: str


class Account(TypedDict):
    """A service account as the store keeps it; `agent` says that it is one of Google's own."""

    email: str
    projectId: str
    uniqueId: str
    displayName: NotRequired[str]
    description: NotRequired[str]
    disabled: NotRequired[bool]
    agent: NotRequired[bool]
    visibleFrom: NotRequired[float]
    deletedAt: NotRequired[float]


class Key(TypedDict):
    """A key as the store keeps it: `certificate` and `private` are PEM text."""

    uniqueId: str
    certificate: str
    validAfterTime: str
    validBeforeTime: str
    keyType: str
    private: NotRequired[str]
    disabled: NotRequired[bool]


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 with Z, the form of every google.protobuf.Timestamp."""
    moment = datetime.datetime.fromtimestamp(time.time() if seconds is None else seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def agent_emails(number: str) -> dict[str, str]:
    """Google's own agents in a project, and the role each holds there."""
    return {
        f"service-{number}@compute-system.iam.gserviceaccount.com": "roles/compute.serviceAgent",
        f"service-{number}@gcf-admin-robot.iam.gserviceaccount.com": "roles/cloudfunctions.serviceAgent",
        f"service-{number}@serverless-robot-prod.iam.gserviceaccount.com": "roles/run.serviceAgent",
        f"service-{number}@gcp-sa-cloudbuild.iam.gserviceaccount.com": "roles/cloudbuild.serviceAgent",
        f"{number}@cloudbuild.gserviceaccount.com": "roles/cloudbuild.builds.builder",
    }


class Accounts:
    """Who exists: projects, service accounts, keys."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies

    def add_project(self, project: str, number: str, name: str) -> None:
        """Create the project unless it exists."""
        if self._store.get(PROJECTS, project) is None:
            created = Project(projectId=project, projectNumber=number, name=name, createTime=f"{timestamp()[:-1]}.000Z")
            self._store.put(PROJECTS, project, created)

    def project(self, name: str) -> Project | None:
        """Return the project by id or number, with or without a leading `projects/`; None when there is none."""
        wanted = name.removeprefix("projects/")
        found = self._store.get(PROJECTS, wanted)
        if found is None and wanted.isdigit():
            found = next((doc for _, doc in self._store.list(PROJECTS) if doc["projectNumber"] == wanted), None)
        return cast(Project | None, found)

    def projects(self) -> list[Project]:
        """All projects, by id."""
        return [cast(Project, document) for _, document in self._store.list(PROJECTS)]

    def create(
        self, project: str, email: str, *, display_name: str = "", description: str = "", agent: bool = False
    ) -> Account:
        """Create a service account; ApiError 409 when the address is taken."""
        with self._store.lock:
            current = self._store.get(ACCOUNTS, email)
            if current is not None and "deletedAt" not in current:
                message = f"Service account {email.split('@')[0]} already exists within project projects/{project}."
                details = [
                    {
                        "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                        "resourceName": self.name_of(cast(Account, current)),
                    }
                ]
                raise ApiError(409, "alreadyExists", message, details=details)
            account: Account = {"email": email, "projectId": project, "uniqueId": f"1{secrets.randbelow(10**20):020d}"}
            if display_name:
                account["displayName"] = display_name
            if description:
                account["description"] = description
            if agent:
                account["agent"] = True
            delay = trouble.seconds(self._store, trouble.ACCOUNT_DELAY)
            if delay:
                account["visibleFrom"] = time.time() + delay
            self._store.put(ACCOUNTS, email, account)
            return account

    def find(self, name: str) -> Account | None:
        """Return the live account by e-mail, unique id or full resource name; None when there is none."""
        wanted = name.rsplit("/", 1)[-1]
        account = self._store.get(ACCOUNTS, wanted)
        if account is None and wanted.isdigit():
            account = next((doc for _, doc in self._store.list(ACCOUNTS) if doc["uniqueId"] == wanted), None)
        if account is None or "deletedAt" in account:
            return None
        if account.get("visibleFrom", 0) > time.time():
            trouble.count_hit(self._store, trouble.ACCOUNT_DELAY)
            return None
        return cast(Account, account)

    def is_new(self, email: str) -> bool:
        """Whether the account was made so lately that not every part of Google knows it."""
        account = self._store.get(ACCOUNTS, email) or {}
        return "deletedAt" not in account and account.get("visibleFrom", 0) > time.time()

    def usable(self, email: str) -> Account | None:
        """Return the account when it may act: it exists and is not disabled."""
        account = self.find(email)
        return None if account is None or account.get("disabled") else account

    def in_project(self, project: str) -> list[Account]:
        """Return the project's accounts that its owner sees: Google's agents live in projects of Google's."""
        accounts = [cast(Account, document) for _, document in self._store.list(ACCOUNTS)]
        return [a for a in accounts if a["projectId"] == project and "deletedAt" not in a and not a.get("agent")]

    def update(self, email: str, **changes: Any) -> Account:
        """Change members of the account's document."""
        with self._store.lock:
            account = self._store.get(ACCOUNTS, email)
            if account is None:
                raise ApiError(404, "notFound", "Unknown service account")
            account |= changes
            self._store.put(ACCOUNTS, email, account)
            return cast(Account, account)

    def delete(self, email: str) -> None:
        """Delete the account: its tokens and keys stop working, its bindings are marked."""
        account = self.update(email, deletedAt=time.time())
        self._policies.rename_member(f"serviceAccount:{email}", self._deleted_member(account))
        self._policies.delete(f"serviceAccounts/{email}")

    def undelete(self, unique_id: str) -> Account | None:
        """Bring back an account deleted less than 30 days ago, unless its address was taken since; else None."""
        with self._store.lock:
            for email, document in self._store.list(ACCOUNTS):
                account = cast(Account, document)
                deleted = account.get("deletedAt")
                if account["uniqueId"] == unique_id and deleted and time.time() - deleted < UNDELETE_SECONDS:
                    del account["deletedAt"]
                    self._store.put(ACCOUNTS, email, account)
                    self._policies.rename_member(self._deleted_member(account), f"serviceAccount:{email}")
                    return account
        return None

    @staticmethod
    def name_of(account: Account) -> str:
        """Return the account's resource name."""
        return f"projects/{account['projectId']}/serviceAccounts/{account['email']}"

    @staticmethod
    def _deleted_member(account: Account) -> str:
        return f"deleted:serviceAccount:{account['email']}?uid={account['uniqueId']}"

    # Keys

    def new_key(self, account: Account, *, system_managed: bool = False) -> tuple[Key, keys.KeyPair]:
        """Make a key for the account; returns the stored document and the pair.

        ApiError 400 FAILED_PRECONDITION (Google's word) beyond ten user-managed keys.
        """
        email = account["email"]
        if not system_managed and len(self.keys(email, managed="USER_MANAGED")) >= KEYS_PER_ACCOUNT:
            raise ApiError(400, "failedPrecondition", "Precondition check failed.", status="FAILED_PRECONDITION")
        pair = keys.new_key_pair(account["uniqueId"])
        now = time.time()
        document: Key = {
            "uniqueId": account["uniqueId"],
            "certificate": pair.certificate_pem,
            "validAfterTime": timestamp(now),
            "validBeforeTime": timestamp(now + keys.CERTIFICATE_DAYS * 86_400),
            "keyType": "SYSTEM_MANAGED" if system_managed else "USER_MANAGED",
        }
        if system_managed:
            document["private"] = pair.private_pem
        self._store.put(KEYS, f"{email}/{pair.key_id}", document)
        return document, pair

    def keys(self, email: str, managed: str = "") -> list[tuple[str, Key]]:
        """(key id, document) of the account's keys, optionally of one `keyType`."""
        account = self.find(email)
        found = []
        for key, document in self._store.list(KEYS, f"{email}/"):
            # A namesake created after a deletion must not inherit the old account's keys.
            if account and document["uniqueId"] == account["uniqueId"] and managed in ("", document["keyType"]):
                found.append((key.rsplit("/", 1)[1], cast(Key, document)))
        return found

    def key(self, email: str, key_id: str) -> Key | None:
        """One key's document, None when there is none."""
        return dict(self.keys(email)).get(key_id)

    def put_key(self, email: str, key_id: str, document: Key) -> None:
        """Store a changed key document."""
        self._store.put(KEYS, f"{email}/{key_id}", document)

    def delete_key(self, email: str, key_id: str) -> bool:
        """Forget a key; whether it existed."""
        return self._store.delete(KEYS, f"{email}/{key_id}")

    def signing_key(self, account: Account) -> tuple[str, str]:
        """(key id, private PEM) of the Google-managed key that signs for the account; made when first needed."""
        with self._store.lock:
            for key_id, document in self.keys(account["email"], managed="SYSTEM_MANAGED"):
                return key_id, document["private"]
            _, pair = self.new_key(account, system_managed=True)
            return pair.key_id, pair.private_pem
