# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret Manager: secrets and their versions, who may read them, and the texts of its refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

P, NUMBER = "fanops-rehearsal", "projects/{number}/secrets/urls"
SECRETS = f"https://secretmanager.googleapis.com/v1/projects/{P}/secrets"
ACCOUNT = f"m4-trainer@{P}.iam.gserviceaccount.com"
VALUE = base64.b64encode(b"https://example.org/hook").decode()


@pytest.fixture
def secret(ask: Any, control_plane: Any) -> str:
    """A secret without a version; return its name."""
    control_plane.identity.services.enable(P, "secretmanager.googleapis.com")
    made = call(ask, "POST", "?secretId=urls", {"replication": {"automatic": {}}, "labels": {"app": "fanops-m4"}})
    assert made["name"] == f"projects/{control_plane.identity.project_number(P)}/secrets/urls"
    return str(made["name"])


def call(ask: Any, verb: str, path: str, body: Any = None, status: int = 200, **headers: Any) -> Any:
    answer = ask(verb, f"{SECRETS}{path}", b"" if body is None else json.dumps(body).encode(), **headers)
    assert answer.status_code == status, answer.get_data()
    return answer.get_json()


def error(ask: Any, verb: str, path: str, body: Any = None, **headers: Any) -> tuple[int, str, str]:
    answer = ask(verb, f"{SECRETS}{path}", b"" if body is None else json.dumps(body).encode(), **headers)
    found = answer.get_json()["error"]
    return answer.status_code, found["status"], found["message"]


def test_a_secret_lives_from_create_to_delete(ask: Any, secret: str) -> None:
    assert error(ask, "POST", "?secretId=urls", {"replication": {"automatic": {}}}) == (
        409,
        "ALREADY_EXISTS",
        f"Secret [{secret}] already exists.",
    )
    assert call(ask, "GET", "")["secrets"] == [call(ask, "GET", "/urls")]
    stale = call(ask, "GET", "/urls")["etag"]
    changed = call(ask, "PATCH", "/urls?updateMask=annotations", {"annotations": {"version": "1"}, "etag": stale})
    assert changed["annotations"] == {"version": "1"} and changed["labels"] == {"app": "fanops-m4"}
    assert error(ask, "PATCH", "/urls?updateMask=labels", {"etag": stale})[:2] == (400, "FAILED_PRECONDITION")
    assert error(ask, "PATCH", "/urls?updateMask=replication", {})[0] == 400
    assert error(ask, "PATCH", "/urls", {"labels": {}})[0] == 400
    call(ask, "DELETE", "/urls")
    assert error(ask, "GET", "/urls") == (404, "NOT_FOUND", f"Secret [{secret}] not found.")
    assert call(ask, "GET", "") == {}


def test_versions_count_up_and_the_latest_is_the_last(ask: Any, secret: str, control_plane: Any) -> None:
    nothing = (404, "NOT_FOUND", f"Secret [{secret}] not found or has no versions.")
    assert error(ask, "GET", "/urls/versions/latest:access") == nothing
    for number in (1, 2):
        made = call(ask, "POST", "/urls:addVersion", {"payload": {"data": VALUE}})
        assert (made["name"], made["state"]) == (f"{secret}/versions/{number}", "ENABLED")
    found = call(ask, "GET", "/urls/versions/latest:access")
    assert found["name"] == f"{secret}/versions/2" and found["payload"]["data"] == VALUE
    wrong = {"payload": {"data": VALUE, "dataCrc32c": str(int(found["payload"]["dataCrc32c"]) + 1)}}
    assert error(ask, "POST", "/urls:addVersion", wrong)[0] == 400
    assert error(ask, "POST", "/urls:addVersion", {"payload": {"data": ""}})[0] == 400
    listed = call(ask, "GET", "/urls/versions?pageSize=1")
    assert [one["name"] for one in listed["versions"]] == [f"{secret}/versions/2"] and listed["totalSize"] == 2
    assert error(ask, "GET", "/urls/versions/3")[2] == f"Secret Version [{secret}/versions/3] not found."
    assert VALUE not in str([entry.body for entry in control_plane.log.entries()])


@pytest.mark.parametrize(("verb", "state"), [("disable", "DISABLED"), ("destroy", "DESTROYED")])
def test_a_version_that_is_not_enabled_is_not_read(ask: Any, secret: str, verb: str, state: str) -> None:
    for _ in range(2):
        call(ask, "POST", "/urls:addVersion", {"payload": {"data": VALUE}})
    assert call(ask, "POST", f"/urls/versions/2:{verb}", {})["state"] == state
    # The latest is the last one made, whatever its state.
    for version in ("2", "latest"):
        assert error(ask, "GET", f"/urls/versions/{version}:access") == (
            400, "FAILED_PRECONDITION", f"Secret Version [{secret}/versions/2] is in {state} state.",
        )  # fmt: skip
    assert call(ask, "GET", "/urls/versions/1:access")["payload"]["data"] == VALUE
    assert ("destroyTime" in call(ask, "GET", "/urls/versions/2")) == (verb == "destroy")
    again = ask("POST", f"{SECRETS}/urls/versions/2:enable", b"{}")
    assert again.status_code == (400 if verb == "destroy" else 200)


def test_only_who_holds_the_role_on_the_secret_reads_it(ask: Any, secret: str, control_plane: Any) -> None:
    identity = control_plane.identity
    identity.accounts.create(P, ACCOUNT, display_name="Trainer")
    headers = {
        "Authorization": f"Bearer {identity.access_token(ACCOUNT)['access_token']}",
        "Content-Type": "application/json",
    }
    call(ask, "POST", "/urls:addVersion", {"payload": {"data": VALUE}})
    call(ask, "POST", "?secretId=other", {"replication": {"automatic": {}}})
    call(ask, "POST", "/other:addVersion", {"payload": {"data": VALUE}})
    refused = error(ask, "GET", "/urls/versions/latest:access", headers=headers)
    assert refused[:2] == (403, "PERMISSION_DENIED")
    assert refused[2] == (
        f"Permission 'secretmanager.versions.access' denied for resource 'projects/{P}/secrets/urls' (or it may not exist)."
    )
    policy = call(ask, "GET", "/urls:getIamPolicy")
    binding = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{ACCOUNT}"]}
    call(ask, "POST", "/urls:setIamPolicy", {"policy": {"bindings": [binding], "etag": policy["etag"]}})
    assert call(ask, "GET", "/urls/versions/latest:access", headers=headers)["payload"]["data"] == VALUE
    asked = {"permissions": ["secretmanager.versions.access", "secretmanager.versions.add"]}
    held = call(ask, "POST", "/urls:testIamPermissions", asked, headers=headers)
    assert held == {"permissions": ["secretmanager.versions.access"]}
    for verb, path in (("GET", "/other/versions/latest:access"), ("GET", "/urls"), ("GET", ""), ("DELETE", "/urls")):
        assert error(ask, verb, path, headers=headers)[0] == 403
    # The policy goes with the secret, so a namesake inherits nobody.
    call(ask, "DELETE", "/urls")
    call(ask, "POST", "?secretId=urls", {"replication": {"automatic": {}}})
    assert "bindings" not in call(ask, "GET", "/urls:getIamPolicy")


def test_editors_do_not_read_secrets() -> None:
    from rehearsal.services.iam import roles

    assert roles.grants("roles/owner", "secretmanager.versions.access")
    assert not roles.grants("roles/editor", "secretmanager.versions.access")
    assert not roles.grants("roles/viewer", "secretmanager.versions.access")


@pytest.mark.parametrize(
    "body",
    [{"replication": {"userManaged": {}}}, {"replication": {"automatic": {}}, "ttl": "300s"}],
    ids=["own replicas", "expiry"],
)
def test_what_a_secret_lacks_here_answers_405(ask: Any, secret: str, body: Any) -> None:
    call(ask, "POST", "?secretId=more", body, 405)
    call(ask, "GET", "?filter=labels.app:x", None, 405)


def test_a_secret_without_replication_or_with_an_impossible_name_is_refused(ask: Any, secret: str) -> None:
    assert error(ask, "POST", "?secretId=more", {})[0] == 400
    assert error(ask, "POST", "?secretId=a.b", {"replication": {"automatic": {}}})[0] == 400
