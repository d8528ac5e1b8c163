# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom roles, conditions on names, the deployer's own role, and the record of what was exercised."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from rehearsal import cli
from rehearsal.services.iam import conditions, known_permissions

ROLES = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/roles"
IAM = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts"
STORAGE = "https://storage.googleapis.com"
BUCKET = f"{STORAGE}/storage/v1/b/models"
OWN = "fanops-rehearsal"
TRAINER = f"m4-trainer@{OWN}.iam.gserviceaccount.com"


def post(ask: Any, url: str, body: Any, verb: str = "POST", status: int = 200, **options: Any) -> Any:
    answer = ask(verb, url, json.dumps(body).encode(), **options)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def bearer(control_plane: Any, email: str) -> dict[str, str]:
    token = control_plane.identity.access_token(email)["access_token"]
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def test_a_custom_role_lives_from_create_to_undelete(ask: Any) -> None:
    role = {"title": "Reader", "includedPermissions": ["storage.objects.get"], "stage": "GA"}
    made = post(ask, ROLES, {"roleId": "reader", "role": role})
    assert made["name"] == f"projects/{OWN}/roles/reader"
    assert post(ask, ROLES, {"roleId": "reader", "role": role}, status=409)["error"]["status"] == "ALREADY_EXISTS"
    change = {"includedPermissions": ["storage.objects.list", "storage.objects.get"], "title": "ignored"}
    changed = post(ask, f"{ROLES}/reader?updateMask=includedPermissions", change, "PATCH")
    assert (changed["title"], changed["includedPermissions"]) == (
        "Reader",
        ["storage.objects.get", "storage.objects.list"],
    )
    stale = {"includedPermissions": [], "etag": made["etag"]}
    assert post(ask, f"{ROLES}/reader", stale, "PATCH", 409)["error"]["status"] == "ABORTED"
    assert ask("DELETE", f"{ROLES}/reader").get_json()["deleted"] is True
    assert "reader" not in ask("GET", ROLES).get_data(as_text=True)
    assert "reader" in ask("GET", f"{ROLES}?showDeleted=true").get_data(as_text=True)
    post(ask, ROLES, {"roleId": "reader", "role": role}, status=400)
    assert "deleted" not in post(ask, f"{ROLES}/reader:undelete", {})


@pytest.mark.parametrize(
    ("role_id", "permissions"),
    [("x", []), ("good", ["compute.instances.gett"]), ("good", ["resourcemanager.projects.list"])],
    ids=["id too short", "no such permission", "for organisations only"],
)
def test_an_impossible_role_is_refused(ask: Any, role_id: str, permissions: list[str]) -> None:
    post(ask, ROLES, {"roleId": role_id, "role": {"includedPermissions": permissions}}, status=400)


def test_what_a_role_can_carry_is_listed_page_by_page(ask: Any) -> None:
    url = "https://iam.googleapis.com/v1/permissions:queryTestablePermissions"
    body: dict[str, Any] = {"fullResourceName": f"//cloudresourcemanager.googleapis.com/projects/{OWN}", "pageSize": 50}
    found: dict[str, Any] = {}
    while True:
        page = post(ask, url, body)
        assert len(page["permissions"]) <= 50 and not found.keys() & {each["name"] for each in page["permissions"]}
        found |= {each["name"]: each for each in page["permissions"]}
        if "nextPageToken" not in page:
            break
        body["pageToken"] = page["nextPageToken"]
    assert found["storage.objects.get"] == {"name": "storage.objects.get", "stage": "GA"}
    assert found["resourcemanager.projects.list"]["customRolesSupportLevel"] == "NOT_SUPPORTED"
    assert (
        set(found) - known_permissions.ORGANISATION_ONLY
        == known_permissions.known_permissions() - known_permissions.ORGANISATION_ONLY
    )
    post(ask, url, body | {"fullResourceName": "projects/elsewhere"}, status=400)


def test_a_custom_role_gives_what_it_carries_as_long_as_it_exists(control_plane: Any, ask: Any) -> None:
    identity = control_plane.identity
    post(ask, IAM, {"accountId": "m4-trainer"})
    post(ask, ROLES, {"roleId": "reader", "role": {"includedPermissions": ["storage.objects.get"]}})
    role, member = f"projects/{OWN}/roles/reader", f"serviceAccount:{TRAINER}"
    identity.set_policy("buckets/models", {"bindings": [{"role": role, "members": [member]}]})

    def may(permission: str) -> bool:
        return bool(identity.allowed(TRAINER, permission, OWN, "buckets/models"))

    assert may("storage.objects.get") and not may("storage.objects.list")
    ask("DELETE", f"{ROLES}/reader")
    assert not may("storage.objects.get")
    identity.set_policy("buckets/models", identity.get_policy("buckets/models"))  # the old binding may stay
    post(ask, f"{ROLES}/reader:undelete", {})
    assert may("storage.objects.get")
    absent = post(ask, f"{IAM}/{TRAINER}:setIamPolicy", {"policy": {"bindings": [{"role": f"{role}x"}]}}, status=400)
    assert "does not exist in the resource's hierarchy" in absent["error"]["message"]


def test_a_condition_limits_a_writer_to_its_prefixes(control_plane: Any, ask: Any, storage_server: Any) -> None:
    uniform = {"uniformBucketLevelAccess": {"enabled": True}}
    post(ask, f"{STORAGE}/storage/v1/b?project={OWN}", {"name": "models", "iamConfiguration": uniform})
    post(ask, IAM, {"accountId": "m4-trainer"})
    role = {"includedPermissions": ["storage.objects.create", "storage.objects.delete"]}
    post(ask, ROLES, {"roleId": "writer", "role": role})
    prefix = "projects/_/buckets/models/objects"
    condition = {
        "title": "releases",
        "expression": f'resource.name.startsWith("{prefix}/blobs/") || resource.name == "{prefix}/current.json"',
    }
    binding = {
        "role": f"projects/{OWN}/roles/writer",
        "members": [f"serviceAccount:{TRAINER}"],
        "condition": condition,
    }
    initial = ask("GET", f"{BUCKET}/iam").get_json()["bindings"]
    post(ask, f"{BUCKET}/iam", {"bindings": [*initial, binding], "version": 1}, "PUT", 400)
    policy = post(ask, f"{BUCKET}/iam", {"bindings": [*initial, binding], "version": 3}, "PUT")
    assert policy["version"] == 3 and binding in policy["bindings"]
    headers = bearer(control_plane, TRAINER)

    def upload(name: str) -> int:
        url = f"{STORAGE}/upload/storage/v1/b/models/o?uploadType=media&name={name}"
        return int(ask("POST", url, b"data", headers=headers).status_code)

    assert [upload(name) for name in ("blobs/1", "current.json", "current.json", "model.joblib", "blob")] == [
        200, 200, 200, 403, 403,
    ]  # fmt: skip
    assert ask("GET", f"{BUCKET}/o", headers=headers).status_code == 403
    # Who may read objects but not list them does not learn that one is missing.
    post(ask, ROLES, {"roleId": "getter", "role": {"includedPermissions": ["storage.objects.get"]}})
    reader = {"role": f"projects/{OWN}/roles/getter", "members": [f"serviceAccount:{TRAINER}"]}
    post(ask, f"{BUCKET}/iam", policy | {"bindings": [binding, reader]}, "PUT")
    assert ask("GET", f"{BUCKET}/o/current.json", headers=headers).status_code == 200
    missing = ask("GET", f"{BUCKET}/o/missing", headers=headers)
    assert missing.status_code == 403 and "storage.objects.list" in missing.get_data(as_text=True)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('resource.name.startsWith("projects/_/buckets/b/objects/a/")', True),
        ("resource.name.startsWith('projects/_/buckets/b/objects/c')", False),
        ('resource.type == "storage.googleapis.com/Object" && resource.name.endsWith("/x")', True),
        ('!(resource.type == "storage.googleapis.com/Bucket") || resource.name == ""', True),
        ('resource.name == "a" || resource.name == "b" && resource.type != ""', False),
    ],
)
def test_conditions_are_evaluated(expression: str, value: bool) -> None:
    assert conditions.holds(expression, conditions.target_of("buckets/b/objects/a/x")) is value


@pytest.mark.parametrize(
    "expression",
    ["", 'request.time < timestamp("2030-01-01T00:00:00Z")', 'resource.name == "a" or true', 'resource.name == "a")',
     'resource.name.matches("a")', "resource.name == resource.type", "true"],
)  # fmt: skip
def test_a_condition_that_is_not_understood_is_never_taken_for_anything(expression: str) -> None:
    with pytest.raises(conditions.ConditionError):
        conditions.check(expression)


def test_the_deployers_role_is_one_that_google_would_take_and_all_that_it_has(control_plane: Any) -> None:
    role = yaml.safe_load(control_plane.settings.deployer_role.read_text())
    known_permissions.known_permissions.cache_clear()
    known_permissions.check_permissions(role["includedPermissions"])
    identity = control_plane.identity
    assert all(identity.allowed(identity.deployer, name, OWN) for name in role["includedPermissions"])
    for beyond in (
        "resourcemanager.projects.setIamPolicy",
        "iam.serviceAccountKeys.create",
        "iam.serviceAccounts.disable",
    ):
        assert not identity.allowed(identity.deployer, beyond, OWN)
        assert identity.allowed(identity.owner, beyond, OWN)


def test_what_was_exercised_refused_and_left_unused_is_counted(
    control_plane: Any, ask: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = control_plane.identity
    for service in ("iam", "cloudresourcemanager"):
        identity.services.enable(OWN, f"{service}.googleapis.com")
    headers = bearer(control_plane, identity.deployer)
    assert ask("GET", f"{IAM}/{TRAINER}", headers=headers).status_code == 404
    assert ask("POST", f"{IAM}/{TRAINER}/keys", b"{}", headers=headers).status_code == 403
    question = {"permissions": ["iam.roles.undelete"]}
    project = f"https://cloudresourcemanager.googleapis.com/v1/projects/{OWN}:testIamPermissions"
    assert post(ask, project, question, headers=headers)["permissions"] == ["iam.roles.undelete"]
    monkeypatch.setattr(cli, "load", lambda: control_plane.settings)
    assert cli.main(["permissions", "--principal", "deployer@*", "--output", "json"]) == 0
    report = json.loads(capsys.readouterr().out)[identity.deployer]
    assert (report["exercised"], report["denied"]) == (
        {"iam.serviceAccounts.get": 1},
        {"iam.serviceAccountKeys.create": 1},
    )
    assert "iam.roles.undelete" in report["unused"] and "iam.serviceAccounts.get" not in report["unused"]
    assert cli.main(["permissions"]) == 0
    shown = capsys.readouterr().out
    assert "1 exercised" in shown and "refused    iam.serviceAccountKeys.create x1" in shown
