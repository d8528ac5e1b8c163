# SPDX-License-Identifier: GPL-3.0-or-later
"""What the project's owner does in tests: break things, mend them, and take permissions away from the deployer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests
import yaml
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2.credentials import Credentials

from tests.rehearsal.conftest import REPOSITORY, Rehearsal

PROJECT = "fanops-rehearsal"
ROLE_FILE = REPOSITORY / "roles/project_foundation/files/fanops_m4_deployer.yml"
DEPLOYER = f"deployer@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
IAM = f"https://iam.googleapis.com/v1/projects/{PROJECT}"
SERVICES = f"https://serviceusage.googleapis.com/v1/projects/{PROJECT}/services"
COMPUTE = f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}"


def permissions() -> list[str]:
    """The permissions of the deployer's role file."""
    listed: list[str] = yaml.safe_load(ROLE_FILE.read_text())["includedPermissions"]
    return listed


class Owner:
    """Calls Google's APIs as the owner, a person signed in by gcloud, through the front door as everybody does."""

    def __init__(self, cloud: Rehearsal) -> None:
        self.cloud = cloud
        self.environment = cloud.environment | json.loads(
            cloud.rehearsal("env", "--identity", "owner", "--output", "json").output
        )
        plain = self._through_the_door(requests.Session())
        file = self.environment["CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"]
        credentials = Credentials.from_authorized_user_file(file)
        self._session = self._through_the_door(AuthorizedSession(credentials, auth_request=Request(plain)))

    def _through_the_door(self, session: Any) -> Any:
        session.trust_env = False
        session.proxies = {"https": self.environment["HTTPS_PROXY"]}
        session.verify = self.environment["REQUESTS_CA_BUNDLE"]
        return session

    def call(self, verb: str, url: str, body: Any = None, ok: tuple[int, ...] = (200,)) -> Any:
        """One call; its status must be one of `ok`."""
        answer = self._session.request(verb, url, json=body)
        assert answer.status_code in ok, f"{verb} {url}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Write an object."""
        url = f"https://storage.googleapis.com/upload/storage/v1/b/{bucket}/o"
        answer = self._session.post(url, params={"uploadType": "media", "name": name}, data=content)
        assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"

    def objects(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        """The resources of a bucket's objects whose names begin so, the oldest first."""
        url: str | None = f"https://storage.googleapis.com/storage/v1/b/{bucket}/o?prefix={quote(prefix, safe='')}"
        found: list[dict[str, Any]] = []
        while url:
            page = self.call("GET", url)
            found += page.get("items", [])
            token = page.get("nextPageToken")
            url = f"{url.partition('&')[0]}&pageToken={token}" if token else None
        return sorted(found, key=lambda item: str(item["updated"]))

    def read(self, bucket: str, name: str) -> Any:
        """The JSON document in an object."""
        return self.call(
            "GET", f"https://storage.googleapis.com/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        )

    def enable_apis(self) -> None:
        inputs = yaml.safe_load((REPOSITORY / "inventory/group_vars/all/project.yml").read_text())
        self.call("POST", f"{SERVICES}:batchEnable", {"serviceIds": inputs["project_services"]})

    def ensure_account(self, name: str) -> str:
        """Have a service account; returns its address."""
        self.call("POST", f"{IAM}/serviceAccounts", {"accountId": name}, ok=(200, 409))
        return f"{name}@{PROJECT}.iam.gserviceaccount.com"

    def let_schedules_act(self, *schedule: str) -> None:
        """Type the commands with which the preflight of a scheduled site ends."""
        refused = self.cloud.playbook("playbooks/validate_inputs.yml", *schedule)
        assert refused.code == 2 and "lacks compute.instances.start" in refused.output, refused.output[-3000:]
        line = next(line for line in refused.output.splitlines() if "Fix it: gcloud" in line)
        granted = self.cloud.run("bash", "-ec", line.partition("Fix it: ")[2], **self.environment)
        assert granted.code == 0, granted.output

    def set_role(self, held: list[str]) -> None:
        """Make the deployer's role carry just these permissions."""
        url = f"{IAM}/roles/{ROLE_FILE.stem}?updateMask=includedPermissions"
        self.call("PATCH", url, {"includedPermissions": held})

    @contextmanager
    def without(self, *taken: str) -> Iterator[None]:
        """Take permissions away from the deployer for a while."""
        self.set_role([name for name in permissions() if name not in taken])
        try:
            yield
        finally:
            self.set_role(permissions())
