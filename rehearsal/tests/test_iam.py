# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM: service accounts, policies with their etag, and who is allowed what."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from google.auth import jwt

from rehearsal.errors import ApiError
from rehearsal.services.iam import policies, roles

IAM = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts"
PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"
CREDENTIALS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
TRAINER = "m4-trainer@fanops-rehearsal.iam.gserviceaccount.com"
OWN = "fanops-rehearsal"


def post(ask: Any, url: str, body: Any) -> Any:
    return ask("POST", url, json.dumps(body).encode())


@pytest.fixture
def trainer(ask: Any) -> str:
    answer = post(ask, IAM, {"accountId": "m4-trainer", "serviceAccount": {"displayName": "Trainer"}})
    assert answer.status_code == 200, answer.get_data()
    return str(answer.get_json()["email"])


def bearer(control_plane: Any, email: str) -> dict[str, str]:
    token = control_plane.identity.access_token(email)["access_token"]
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def test_a_service_account_lives_from_create_to_delete_and_back(ask: Any, trainer: str) -> None:
    assert trainer == TRAINER
    found = ask("GET", f"{IAM}/{TRAINER}").get_json()
    assert found["displayName"] == "Trainer" and len(found["uniqueId"]) == 21
    assert TRAINER in [a["email"] for a in ask("GET", IAM).get_json()["accounts"]]
    again = post(ask, IAM, {"accountId": "m4-trainer"})
    assert (again.status_code, again.get_json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    body = {"serviceAccount": {"displayName": "New"}, "updateMask": "displayName"}
    assert ask("PATCH", f"{IAM}/{TRAINER}", json.dumps(body).encode()).get_json()["displayName"] == "New"
    older = ask("PUT", f"{IAM}/{TRAINER}", b'{"displayName": "Newer"}').get_json()
    assert (older["displayName"], older["uniqueId"]) == ("Newer", found["uniqueId"])
    assert ask("DELETE", f"{IAM}/{TRAINER}").status_code == 200
    assert ask("GET", f"{IAM}/{TRAINER}").status_code == 404
    back = post(ask, f"{IAM}/{found['uniqueId']}:undelete", {})
    assert back.get_json()["restoredAccount"]["uniqueId"] == found["uniqueId"]
    assert ask("GET", f"{IAM}/{TRAINER}").status_code == 200


@pytest.mark.parametrize("account_id", ["short", "Capital-name", "ends-with-", "1-begins-with-digit", "x" * 31, ""])
def test_an_impossible_account_id_is_refused(ask: Any, account_id: str) -> None:
    assert post(ask, IAM, {"accountId": account_id}).status_code == 400


def test_a_key_is_shown_once_and_listed_until_it_is_deleted(ask: Any, trainer: str) -> None:
    answer = post(ask, f"{IAM}/{trainer}/keys", {}).get_json()
    document = json.loads(base64.b64decode(answer["privateKeyData"]))
    assert document["client_email"] == trainer
    key_id = document["private_key_id"]
    listed = ask("GET", f"{IAM}/{trainer}/keys?keyTypes=USER_MANAGED").get_json()["keys"]
    assert [key["name"].rpartition("/")[2] for key in listed] == [key_id]
    assert "privateKeyData" not in listed[0]
    assert ask("DELETE", f"{IAM}/{trainer}/keys/{key_id}").status_code == 200
    assert "keys" not in ask("GET", f"{IAM}/{trainer}/keys?keyTypes=USER_MANAGED").get_json()


def test_an_account_has_ten_keys_at_most(ask: Any, trainer: str) -> None:
    for _ in range(10):
        assert post(ask, f"{IAM}/{trainer}/keys", {}).status_code == 200
    refused = post(ask, f"{IAM}/{trainer}/keys", {})
    assert (refused.status_code, refused.get_json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert len(ask("GET", f"{IAM}/{trainer}/keys?keyTypes=USER_MANAGED").get_json()["keys"]) == 10


def test_a_policy_is_written_only_over_the_one_that_was_read(ask: Any, trainer: str) -> None:
    policy = post(ask, f"{PROJECT}:getIamPolicy", {}).get_json()
    assert len(base64.b64decode(policy["etag"])) == 8
    binding = {"role": "roles/logging.viewer", "members": [f"serviceAccount:{trainer}"]}
    changed = policy | {"bindings": [*policy["bindings"], binding]}
    first = post(ask, f"{PROJECT}:setIamPolicy", {"policy": changed})
    assert first.status_code == 200 and binding in first.get_json()["bindings"]
    second = post(ask, f"{PROJECT}:setIamPolicy", {"policy": changed})
    assert (second.status_code, second.get_json()["error"]["status"]) == (409, "ABORTED")
    assert second.get_json()["error"]["message"].startswith("There were concurrent policy changes.")


@pytest.mark.parametrize(
    ("role", "member", "message"),
    [
        ("roles/viewer", "serviceAccount:no@fanops-rehearsal.iam.gserviceaccount.com", "Service account no@"),
        ("roles/nonsense", "allUsers", "Role roles/nonsense is not supported for this resource."),
        ("roles/viewer", "someone@example.com", "The member someone@example.com is of an unknown type."),
    ],
)
def test_a_binding_to_nobody_or_of_no_role_is_refused(ask: Any, role: str, member: str, message: str) -> None:
    policy = post(ask, f"{PROJECT}:getIamPolicy", {}).get_json()
    policy["bindings"].append({"role": role, "members": [member]})
    answer = post(ask, f"{PROJECT}:setIamPolicy", {"policy": policy})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["message"].startswith(message)


def test_a_project_cannot_lose_its_last_owner(ask: Any) -> None:
    assert post(ask, f"{PROJECT}:setIamPolicy", {"policy": {"bindings": []}}).status_code == 400


def test_a_namesake_of_a_deleted_account_inherits_nothing(control_plane: Any, ask: Any, trainer: str) -> None:
    identity, member = control_plane.identity, f"serviceAccount:{trainer}"
    identity.set_policy("buckets/b", {"bindings": [{"role": "roles/storage.objectUser", "members": [member]}]})
    assert identity.allowed(trainer, "storage.objects.create", OWN, "buckets/b")
    ask("DELETE", f"{IAM}/{trainer}")
    post(ask, IAM, {"accountId": "m4-trainer"})
    assert not identity.allowed(trainer, "storage.objects.create", OWN, "buckets/b")
    (binding,) = identity.get_policy("buckets/b")["bindings"]
    assert binding["members"][0].startswith(f"deleted:{member}?uid=")


def test_rights_come_from_the_resource_or_its_project_and_no_further(control_plane: Any, trainer: str) -> None:
    identity, member = control_plane.identity, f"serviceAccount:{trainer}"
    identity.set_policy("buckets/mine", {"bindings": [{"role": "roles/storage.objectViewer", "members": [member]}]})
    assert identity.allowed(trainer, "storage.objects.get", OWN, "buckets/mine")
    assert identity.allowed(trainer, "storage.objects.get", OWN, "buckets/mine/objects/a/b")
    assert not identity.allowed(trainer, "storage.objects.create", OWN, "buckets/mine")
    assert not identity.allowed(trainer, "storage.objects.get", OWN, "buckets/other")
    assert not identity.allowed(identity.owner, "compute.instances.list", "foreign-project")
    with pytest.raises(ApiError, match=r"Required 'compute\.instances\.create' permission for 'projects/p/zones/z'"):
        identity.authorize(trainer, "compute.instances.create", OWN, "projects/p/zones/z")


def test_whoever_edits_the_project_is_its_project_editor(control_plane: Any, trainer: str) -> None:
    identity, member = control_plane.identity, f"serviceAccount:{trainer}"
    writers = {"role": "roles/storage.objectAdmin", "members": [f"projectEditor:{OWN}"]}
    identity.set_policy("buckets/mine", {"bindings": [writers]})
    assert not identity.allowed(trainer, "storage.objects.delete", OWN, "buckets/mine")
    policy = identity.get_policy(f"projects/{OWN}")
    policy["bindings"].append({"role": "roles/editor", "members": [member]})
    identity.set_policy(f"projects/{OWN}", policy)
    assert identity.allowed(trainer, "storage.objects.delete", OWN, "buckets/mine")


def test_the_public_is_let_in_only_where_the_policy_says_so(control_plane: Any) -> None:
    identity, service = control_plane.identity, "projects/p/locations/r/services/s"
    assert not identity.allowed("", "run.routes.invoke", OWN, service)
    identity.set_policy(service, {"bindings": [{"role": "roles/run.invoker", "members": ["allAuthenticatedUsers"]}]})
    assert not identity.allowed("", "run.routes.invoke", OWN, service)
    assert identity.allowed("fan@example.com", "run.routes.invoke", OWN, service)
    identity.set_policy(service, {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]})
    assert identity.allowed("", "run.routes.invoke", OWN, service)


def test_a_binding_can_be_made_to_count_only_later(
    control_plane: Any, trainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, now = control_plane.identity, [1000.0]
    monkeypatch.setattr(policies, "time", SimpleNamespace(time=lambda: now[0]))
    control_plane.store.put("iam.delays", "*", {"seconds": 30})
    bindings = [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{trainer}"]}]
    assert identity.set_policy("buckets/late", {"bindings": bindings})["bindings"] == bindings
    assert not identity.allowed(trainer, "storage.objects.get", OWN, "buckets/late")
    now[0] += 31
    assert identity.allowed(trainer, "storage.objects.get", OWN, "buckets/late")


def test_impersonation_takes_a_role_that_even_an_owner_does_not_have(
    control_plane: Any, ask: Any, trainer: str
) -> None:
    identity = control_plane.identity
    identity.services.enable("fanops-rehearsal", "iamcredentials.googleapis.com")
    url = f"{CREDENTIALS}/{trainer}:generateAccessToken"
    body = {"scope": ["https://www.googleapis.com/auth/cloud-platform"]}
    refused = post(ask, url, body)
    assert refused.status_code == 403
    assert "Permission 'iam.serviceAccounts.getAccessToken' denied on resource" in refused.get_data(as_text=True)
    creator = {"role": "roles/iam.serviceAccountTokenCreator", "members": [f"user:{identity.owner}"]}
    assert post(ask, f"{IAM}/{trainer}:setIamPolicy", {"policy": {"bindings": [creator]}}).status_code == 200
    token = post(ask, url, body).get_json()["accessToken"]
    assert identity.tokens.access(token).email == trainer
    claims = identity.verify_id_token(
        post(ask, f"{CREDENTIALS}/{trainer}:generateIdToken", {"audience": "a", "includeEmail": True}).get_json()[
            "token"
        ]
    )
    assert (claims["aud"], claims["email"]) == ("a", trainer)
    signed = post(ask, f"{CREDENTIALS}/{trainer}:signBlob", {"payload": base64.b64encode(b"blob").decode()}).get_json()
    email = trainer.replace("@", "%40")
    certificates = ask("GET", f"https://www.googleapis.com/robot/v1/metadata/x509/{email}", headers={}).get_json()
    public: Any = x509.load_pem_x509_certificate(certificates[signed["keyId"]].encode()).public_key()
    public.verify(base64.b64decode(signed["signedBlob"]), b"blob", padding.PKCS1v15(), hashes.SHA256())
    signed = post(ask, f"{CREDENTIALS}/{trainer}:signJwt", {"payload": json.dumps({"sub": trainer})}).get_json()
    assert jwt.decode(signed["signedJwt"], certs=certificates, verify=False)["sub"] == trainer
    head, _, signature = signed["signedJwt"].rpartition(".")
    public.verify(base64.urlsafe_b64decode(signature + "=="), head.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert post(ask, f"{CREDENTIALS}/{trainer}:signJwt", {"payload": "no claims"}).status_code == 400
    assert ask("POST", f"{IAM}/{trainer}:getIamPolicy", b"{}").get_json()["bindings"] == [creator]


def test_nothing_is_above_a_project(ask: Any) -> None:
    answer = post(ask, f"{PROJECT}:getAncestry", {}).get_json()
    assert answer == {"ancestor": [{"resourceId": {"type": "project", "id": OWN}}]}


def test_who_may_not_look_learns_nothing_about_what_exists(control_plane: Any, ask: Any, trainer: str) -> None:
    headers = bearer(control_plane, trainer)
    for name in (trainer, "not-there@fanops-rehearsal.iam.gserviceaccount.com"):
        answer = ask("GET", f"{IAM}/{name}", headers=headers)
        assert answer.status_code == 403
    assert ask("GET", PROJECT.replace("fanops-rehearsal", "does-not-exist")).status_code == 403


def test_each_role_of_the_table_means_something() -> None:
    for name, row in roles.table().items():
        assert name.startswith("roles/") and row["title"]
        assert row.get("includedPermissions") or row.get("includedRoles"), name
        assert all(roles.exists(other) for other in row.get("includedRoles", ())), name
    assert roles.grants("roles/owner", "iam.serviceAccounts.actAs")
    assert not roles.grants("roles/editor", "resourcemanager.projects.setIamPolicy")
    assert not roles.grants("roles/viewer", "compute.instances.create")
    assert roles.grants("roles/artifactregistry.writer", "artifactregistry.repositories.downloadArtifacts")
    assert not roles.grants("roles/nonsense", "compute.instances.get")
