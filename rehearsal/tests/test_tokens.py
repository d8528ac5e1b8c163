# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: Google's own client library gets and checks them; what is forged, expired or meant for others is refused."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import google.auth
import google.auth.transport
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, identity_pool, jwt
from google.auth.exceptions import OAuthError, RefreshError
from google.oauth2 import id_token, service_account

from rehearsal.services.iam import keys
from rehearsal.services.iam.oauth import GRANT_TYPE
from rehearsal.services.iam.sign_in import ADC_CLIENT_ID, GCLOUD_CLIENT_ID, renew_subject_token
from rehearsal.store import Store

TOKEN_URI = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"


@pytest.fixture
def transport(control_plane: Any) -> Any:
    """google-auth's transport interface, straight into the gateway."""

    class Answer:
        def __init__(self, found: Any) -> None:
            self.status, self.headers, self.data = found.status_code, dict(found.headers), found.get_data()

    class Transport(google.auth.transport.Request):
        def __call__(
            self, url: Any, method: Any = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
        ) -> Any:
            host, _, target = url.removeprefix("https://").partition("/")
            data = body if isinstance(body, bytes) else (body or "").encode()
            return Answer(control_plane.dispatch(method, host, f"/{target}", dict(headers or {}), data))

    return Transport()


@pytest.fixture
def key(control_plane: Any) -> dict[str, Any]:
    return dict(json.loads(control_plane.settings.deployer_key.read_text()))


def assertion(key: dict[str, Any], **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": key["client_email"], "aud": TOKEN_URI, "iat": now, "exp": now + 3600, "scope": SCOPE}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    token: bytes = jwt.encode(crypt.RSASigner.from_service_account_info(key), claims)
    return token.decode()


def exchange(control_plane: Any, token: str, grant: str = GRANT_TYPE) -> Any:
    body = urlencode({"grant_type": grant, "assertion": token}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return control_plane.dispatch("POST", "oauth2.googleapis.com", "/token", headers, body)


def ask_with(control_plane: Any, bearer: str, url: str = PROJECT) -> Any:
    host, _, target = url.removeprefix("https://").partition("/")
    return control_plane.dispatch("GET", host, f"/{target}", {"Authorization": f"Bearer {bearer}"}, b"")


def test_the_key_file_is_private_and_google_auth_gets_a_working_access_token(
    control_plane: Any, transport: Any, key: dict[str, Any]
) -> None:
    assert control_plane.settings.deployer_key.stat().st_mode & 0o777 == 0o600
    assert key["token_uri"] == TOKEN_URI
    credentials = service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])
    credentials.refresh(transport)
    assert ask_with(control_plane, credentials.token).status_code == 403  # the API is off in a new project
    control_plane.identity.services.enable("fanops-rehearsal", "cloudresourcemanager.googleapis.com")
    assert ask_with(control_plane, credentials.token).status_code == 200


@pytest.mark.parametrize("name", ["owner", "impersonated", "federated"])
def test_people_and_machines_sign_in_without_a_key_file_as_google_auth_does(
    control_plane: Any, transport: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = control_plane.identity
    identity.services.enable("fanops-rehearsal", "iamcredentials.googleapis.com")
    renew_subject_token(control_plane.settings)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "fanops-rehearsal")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(control_plane.settings.credentials(name)))
    credentials: Any = google.auth.default(scopes=[SCOPE])[0]
    credentials.refresh(transport)
    known = identity.tokens.access(credentials.token)
    assert known.email == (identity.owner if name == "owner" else identity.deployer)
    if name == "owner":
        assert jwt.decode(credentials.id_token, verify=False)["email"] == identity.owner
        assert identity.tokens.revoke(credentials.refresh_token)
    else:
        policy = identity.policies.get(f"serviceAccounts/{identity.deployer}")
        identity.policies.set(f"serviceAccounts/{identity.deployer}", policy | {"bindings": []})
    with pytest.raises(RefreshError, match=r"expired or revoked|getAccessToken"):
        credentials.refresh(transport)


@pytest.mark.parametrize("change", [{"aud": "https://elsewhere"}, {"iss": "https://evil.example"}, {"exp": 1}])
def test_another_systems_token_is_exchanged_only_for_its_own_provider(
    control_plane: Any, transport: Any, change: dict[str, Any]
) -> None:
    settings = control_plane.settings
    renew_subject_token(settings)
    config = json.loads(settings.credentials("federated").read_text())
    token = Path(config["credential_source"]["file"])
    issuer = json.loads(settings.credentials("ci-issuer").read_text())
    claims = jwt.decode(token.read_text(), verify=False) | change
    token.write_text(keys.signed_jwt(issuer["key_id"], issuer["private_key"], claims))
    credentials = identity_pool.Credentials.from_info(config, scopes=[SCOPE])
    with pytest.raises(OAuthError, match="invalid_grant"):
        credentials.refresh(transport)


def test_calls_count_for_the_quota_project_which_must_be_one_of_the_callers(control_plane: Any) -> None:
    identity = control_plane.identity

    def ask(client: str, quota_project: str = "", url: str = PROJECT) -> Any:
        token = identity.tokens.issue_access(identity.owner, (SCOPE,), client=client)["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        headers |= {"X-Goog-User-Project": quota_project} if quota_project else {}
        host, _, target = url.removeprefix("https://").partition("/")
        answer = control_plane.dispatch("GET", host, f"/{target}", headers, b"")
        details = answer.get_json().get("error", {}).get("details", [{}])[0]
        return answer.status_code, details.get("reason"), details.get("metadata", {}).get("consumer")

    assert ask(GCLOUD_CLIENT_ID) == (200, None, None)
    assert ask(ADC_CLIENT_ID) == (403, "SERVICE_DISABLED", "projects/764086051850")
    assert ask(ADC_CLIENT_ID, "fanops-rehearsal") == (403, "SERVICE_DISABLED", "projects/482910376155")
    identity.services.enable("fanops-rehearsal", "cloudresourcemanager.googleapis.com")
    assert ask(ADC_CLIENT_ID, "fanops-rehearsal") == (200, None, None)
    assert ask(ADC_CLIENT_ID, "engineers-other-project") == (403, "SERVICE_DISABLED", "projects/730198562203")
    denied = ask(ADC_CLIENT_ID, "foreign-project")
    assert denied == (403, "USER_PROJECT_DENIED", "projects/foreign-project")


def test_google_auth_gets_an_id_token_and_verifies_it_against_the_published_certificates(
    transport: Any, key: dict[str, Any]
) -> None:
    credentials = service_account.IDTokenCredentials.from_service_account_info(key, target_audience="https://a.run.app")
    credentials.refresh(transport)
    claims = id_token.verify_oauth2_token(credentials.token, transport, audience="https://a.run.app")
    assert claims["email"] == key["client_email"] and claims["iss"] == "https://accounts.google.com"
    with pytest.raises(ValueError, match="audience"):
        id_token.verify_oauth2_token(credentials.token, transport, audience="https://other.run.app")


def test_a_self_signed_jwt_is_accepted_for_its_own_api_only(control_plane: Any, key: dict[str, Any]) -> None:
    email = key["client_email"]
    control_plane.identity.services.enable("fanops-rehearsal", "cloudresourcemanager.googleapis.com")
    good = assertion(key, scope=None, sub=email, aud="https://cloudresourcemanager.googleapis.com/")
    assert ask_with(control_plane, good).status_code == 200
    other = assertion(key, scope=None, sub=email, aud="https://compute.googleapis.com/")
    assert ask_with(control_plane, other).status_code == 401
    somebody = assertion(key, scope=None, sub="a@b.example", aud="https://cloudresourcemanager.googleapis.com/")
    assert ask_with(control_plane, somebody).status_code == 401


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"iss": "nobody@fanops-rehearsal.iam.gserviceaccount.com"}, "Invalid grant: account not found"),
        ({"aud": "https://elsewhere.example/token"}, "Invalid JWT: Failed audience check."),
        ({"exp": 1_000_000_000, "iat": 999_996_400}, "Invalid JWT: Token must be a short-lived token"),
        ({"exp": int(time.time()) + 90_000}, "Invalid JWT: Token must be a short-lived token"),
    ],
)
def test_the_token_endpoint_refuses_a_bad_assertion_in_googles_words(
    control_plane: Any, key: dict[str, Any], changes: dict[str, Any], description: str
) -> None:
    answer = exchange(control_plane, assertion(key, **changes))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")
    assert answer.get_json()["error_description"].startswith(description)


def test_a_signature_by_another_key_or_algorithm_is_refused(control_plane: Any, key: dict[str, Any]) -> None:
    pair = keys.new_key_pair("1")
    for key_id in (key["private_key_id"], "0" * 40):
        forged = assertion(key | {"private_key": pair.private_pem, "private_key_id": key_id})
        assert exchange(control_plane, forged).get_json()["error_description"] == "Invalid JWT Signature."
    _, payload, signature = assertion(key).split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    assert exchange(control_plane, f"{unsigned}.{payload}.{signature}").status_code == 400
    assert exchange(control_plane, "rubbish").get_json()["error"] == "invalid_grant"


def test_a_scope_or_an_audience_must_be_asked_for(control_plane: Any, key: dict[str, Any]) -> None:
    assert exchange(control_plane, assertion(key, scope=None)).get_json()["error"] == "invalid_scope"
    assert exchange(control_plane, assertion(key), "password").get_json()["error"] == "unsupported_grant_type"


def test_an_access_token_outlives_a_restart_and_ends_with_its_hour_or_its_account(control_plane: Any) -> None:
    identity = control_plane.identity
    token = identity.access_token(identity.deployer)["access_token"]
    again = type(identity)(control_plane.settings, Store(control_plane.settings.home / "state.sqlite"))
    assert again.tokens.access(token).email == identity.deployer
    expired = identity.tokens.issue_access(identity.deployer, (SCOPE,), -1)["access_token"]
    answer = ask_with(control_plane, expired)
    assert answer.status_code == 401
    assert answer.get_json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert ask_with(control_plane, "ya29.never-issued").status_code == 401
    identity.accounts.update(identity.deployer, disabled=True)
    assert ask_with(control_plane, token).status_code == 401


def test_a_token_without_the_scope_is_refused(control_plane: Any) -> None:
    identity = control_plane.identity
    read_only = "https://www.googleapis.com/auth/devstorage.read_only"
    token = identity.access_token(identity.deployer, [read_only])["access_token"]
    answer = ask_with(control_plane, token)
    assert answer.status_code == 403
    assert answer.get_json()["error"]["message"] == "Request had insufficient authentication scopes."


def test_tokeninfo_says_whose_a_token_is(control_plane: Any) -> None:
    identity = control_plane.identity
    token = identity.access_token(identity.deployer)["access_token"]
    host, path = "oauth2.googleapis.com", "/tokeninfo"
    found = control_plane.dispatch("GET", host, f"{path}?access_token={token}", {}, b"").get_json()
    assert (found["email"], found["scope"]) == (identity.deployer, SCOPE)
    assert control_plane.dispatch("GET", host, f"{path}?access_token=x", {}, b"").status_code == 400


def test_a_key_and_its_account_are_disabled_and_enabled(control_plane: Any, ask: Any) -> None:
    accounts = "https://iam.googleapis.com/v1/projects/fanops-rehearsal/serviceAccounts"
    email = ask("POST", accounts, b'{"accountId": "m4-trainer"}').get_json()["email"]
    made = ask("POST", f"{accounts}/{email}/keys", b"{}").get_json()
    trainers = json.loads(base64.b64decode(made["privateKeyData"]))
    name = f"{accounts}/{email}/keys/{trainers['private_key_id']}"

    def works() -> bool:
        return bool(exchange(control_plane, assertion(trainers)).status_code == 200)

    def certificates() -> Any:
        return ask("GET", f"https://www.googleapis.com/robot/v1/metadata/x509/{email}", headers={}).get_json()

    assert works() and trainers["private_key_id"] in certificates()
    for switched in (name, f"{accounts}/{email}"):
        assert ask("POST", f"{switched}:disable", b"{}").status_code == 200
        assert ask("GET", switched).get_json()["disabled"] is True
        assert not works()
        assert ask("POST", f"{switched}:enable", b"{}").status_code == 200
        assert "disabled" not in ask("GET", switched).get_json()
        assert works()
    public = ask("GET", f"{name}?publicKeyType=TYPE_X509_PEM_FILE").get_json()["publicKeyData"]
    assert base64.b64decode(public).decode() == certificates()[trainers["private_key_id"]]
    assert ask("DELETE", name).status_code == 200
    assert not works()


def test_public_keys_are_the_same_as_certificates_and_as_web_keys(control_plane: Any, ask: Any) -> None:
    email = control_plane.identity.deployer
    for pem, web in (
        ("oauth2/v1/certs", "oauth2/v3/certs"),
        (f"robot/v1/metadata/x509/{email}", f"service_accounts/v1/jwk/{email}"),
    ):
        certificates = ask("GET", f"https://www.googleapis.com/{pem}", headers={}).get_json()
        found = ask("GET", f"https://www.googleapis.com/{web}", headers={}).get_json()["keys"]
        assert certificates.keys() == {key["kid"] for key in found} and found
        for key in found:
            public = x509.load_pem_x509_certificate(certificates[key["kid"]].encode()).public_key()
            assert isinstance(public, rsa.RSAPublicKey)
            modulus = int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big")
            assert (modulus, key["kty"], key["alg"]) == (public.public_numbers().n, "RSA", "RS256")


def test_a_token_says_who_it_is_until_it_is_revoked(control_plane: Any, ask: Any) -> None:
    token = control_plane.identity.access_token(control_plane.identity.deployer)["access_token"]
    url = "https://openidconnect.googleapis.com/v1/userinfo"
    assert ask_with(control_plane, token, url).get_json()["email"] == control_plane.identity.deployer
    revoke = "https://oauth2.googleapis.com/revoke?token="
    assert ask("POST", revoke + token, headers={}).status_code == 200
    assert ask_with(control_plane, token, url).status_code == 401
    assert ask("POST", revoke + token, headers={}).get_json()["error"] == "invalid_token"
