# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing answers an account that holds nothing: every method says which permission it takes, and asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

import rehearsal.services.handlers  # noqa: F401 - registers them
from rehearsal.wire.calls import PUBLIC, REGISTRY, SIGNED_IN, Call, CheckedInside, method
from rehearsal.wire.discovery import DOCUMENTS

PROJECT = "fanops-rehearsal"
NOBODY = f"nobody@{PROJECT}.iam.gserviceaccount.com"
#: What stands in a path; anything else is called "x".
VALUES = {
    "project": PROJECT, "projectId": PROJECT, "projectsId": PROJECT, "zone": "us-central1-a", "region": "us-central1",
    "locationsId": "us-central1", "bucket": "models", "sourceBucket": "models", "destinationBucket": "models",
    "servicesId": "compute.googleapis.com", "serviceAccountsId": NOBODY, "namespacesId": PROJECT,
}  # fmt: skip


def documented(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from node.get("methods", {}).values()
    for resource in node.get("resources", {}).values():
        yield from documented(resource)


def requests() -> Iterator[tuple[str, str, str]]:
    """Yield (method id, verb, URL) of every method that has a handler, in every version of its API."""
    folder = resources.files("googleapiclient.discovery_cache.documents")
    for name in DOCUMENTS:
        document = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
        for found in documented(document):
            if found["id"] in REGISTRY.methods:
                template = found.get("flatPath", found["path"])
                path = re.sub(r"\{\+?(\w+)\}", lambda match: VALUES.get(match[1], "x"), template)
                yield found["id"], found["httpMethod"], f"{document['rootUrl']}{document['servicePath']}{path}"


REQUESTS = list(requests())


def test_every_method_with_a_handler_is_asked() -> None:
    assert {method_id for method_id, _, _ in REQUESTS} == set(REGISTRY.methods)


def test_an_account_without_roles_is_refused_by_every_method(ask: Any, control_plane: Any) -> None:
    identity = control_plane.identity
    identity.accounts.create(PROJECT, NOBODY, display_name="Holds nothing")
    for service in identity.services_gated():
        identity.services.enable(PROJECT, service)
    control_plane.store.put("buckets", "models", {"project": PROJECT, "resource": {"name": "models"}})
    token = identity.access_token(NOBODY)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answered = {}
    for method_id, verb, url in REQUESTS:
        permission = REGISTRY.methods[method_id].permission
        status = ask(verb, url, b"" if verb in ("GET", "DELETE") else b"{}", headers=headers).status_code
        if permission in (PUBLIC, SIGNED_IN) or status == 403:
            continue
        # Only what is checked inside may find something else wrong first.
        if not isinstance(permission, CheckedInside) or status not in (400, 404):
            answered[f"{method_id} {url}"] = status
    assert answered == {}


@pytest.fixture
def project_get(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method whose handler is taken away, for a test to write another."""
    monkeypatch.setattr(REGISTRY, "methods", dict(REGISTRY.methods))
    del REGISTRY.methods["cloudresourcemanager.projects.get"]
    return "cloudresourcemanager.projects.get"


def test_a_method_cannot_be_registered_without_its_permission(project_get: str) -> None:
    with pytest.raises(TypeError, match="permission"):
        method(project_get)  # type: ignore[call-arg]
    for nothing in ("", None):
        with pytest.raises(ValueError, match="needed"):
            method(project_get, permission=nothing)(lambda call: {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name what it checks"):
        CheckedInside()


@pytest.mark.parametrize("checks", [(), ("resourcemanager.projects.delete",)])
def test_a_handler_that_does_not_check_what_it_says_answers_nothing(
    ask: Any, project_get: str, checks: tuple[str, ...]
) -> None:
    @method(project_get, permission=CheckedInside("resourcemanager.projects.get"))
    def careless(call: Call) -> dict[str, Any]:
        for permission in checks:
            call.cloud.identity.authorize(call.principal, permission, PROJECT)
        return {"projectId": PROJECT}

    answer = ask("GET", f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}")
    assert answer.status_code == 500 and PROJECT not in answer.get_data(as_text=True)


def test_what_no_permission_guards_is_a_list_that_somebody_wrote() -> None:
    found = [*REGISTRY.methods.items(), *((route.method_id, route.implementation) for route in REGISTRY.raw)]
    assert {name for name, implementation in found if implementation.permission is SIGNED_IN} == {
        "artifactregistry.projects.locations.operations.get",  # no role has a permission of its operations
        "cloudfunctions.projects.locations.functions.testIamPermissions",
        "cloudresourcemanager.projects.list",
        "cloudresourcemanager.projects.search",
        "cloudresourcemanager.projects.testIamPermissions",
        "compute.imageFamilyViews.get",
        "compute.images.get",
        "compute.images.getFromFamily",
        "compute.images.list",
        "iam.projects.serviceAccounts.testIamPermissions",
        "iam.roles.get",  # the predefined ones, which everybody may read
        "iam.roles.list",
        "iamcredentials.projects.serviceAccounts.getAllowedLocations",
        "oauth2.userinfo.get",
        "oslogin.users.getLoginProfile",
        "oslogin.users.importSshPublicKey",
        "run.projects.locations.services.testIamPermissions",
        "secretmanager.projects.secrets.testIamPermissions",
        "storage.buckets.testIamPermissions",
    }
    assert {name for name, implementation in found if implementation.permission is PUBLIC} == {
        "cloudfunctions.download",
        "cloudfunctions.upload",
        "compute.batch",
        "functions.invoke",
        "oauth2.accountCerts",
        "oauth2.certs",
        "oauth2.revoke",
        "oauth2.token",
        "oauth2.tokeninfo",
        "sts.token",
        "storage.xml",
        "storage.objects.insert",  # the next part of an upload session
    }
