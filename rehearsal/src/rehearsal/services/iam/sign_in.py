# SPDX-License-Identifier: GPL-3.0-or-later
"""How people and machines sign in without a key file: the credential files that gcloud and a CI system would leave.

`owner` is what `gcloud auth application-default login` writes, `owner-gcloud` what `gcloud auth login` keeps, `impersonated` the first
acting as the deployer, `federated` a CI system's token exchanged for the deployer's (workload identity federation).
https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import json
import time
from typing import Any

from rehearsal.services.iam import keys
from rehearsal.services.iam.federation import Federation
from rehearsal.services.iam.policies import Policies, member_of
from rehearsal.services.iam.refusals import ADC_PROJECT_NUMBER
from rehearsal.services.iam.tokens import Tokens
from rehearsal.settings import Settings

# The person who owns the project, and another of their projects: application default credentials often name such a one.
OWNER, OTHER_PROJECT, OTHER_NUMBER = "engineer@example.com", "engineers-other-project", "730198562203"
# The OAuth clients of gcloud, and of its `auth application-default login`; both are public.
# Cloud Run accepts ID tokens made for them, https://cloud.google.com/run/docs/authenticating/developers.
GCLOUD_CLIENT_ID = "32555940559.apps.googleusercontent.com"
ADC_CLIENT_ID = f"{ADC_PROJECT_NUMBER}-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
# The CI system whose workflow may act as the deployer.
POOL, PROVIDER, ISSUER, SUBJECT = "ci", "ci", "https://ci.example.com", "repo:operations:ref:refs/heads/main"
TOKEN_SECONDS = 3600
IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"


def write_credentials(
    settings: Settings, tokens: Tokens, policies: Policies, federation: Federation, deployer: str
) -> None:
    """Write the credential files that are missing, and let those who hold them act as the deployer."""
    if settings.credentials("owner").exists():
        return
    person = _person(tokens, ADC_CLIENT_ID)
    impersonation = {"service_account_impersonation_url": IMPERSONATION.format(deployer)}
    keys.write_key_file(person | {"quota_project_id": OTHER_PROJECT}, settings.credentials("owner"))
    keys.write_key_file(_person(tokens, GCLOUD_CLIENT_ID), settings.credentials("owner-gcloud"))
    impersonated = {"type": "impersonated_service_account", "delegates": [], "source_credentials": person}
    keys.write_key_file(impersonated | impersonation, settings.credentials("impersonated"))
    pair = keys.new_key_pair("ci.example.com")
    keys.write_key_file({"key_id": pair.key_id, "private_key": pair.private_pem}, settings.credentials("ci-issuer"))
    parent = f"projects/{settings.project_number}/locations/global"
    federation.create_pool(f"{parent}/workloadIdentityPools/{POOL}", {})
    provider = f"{parent}/workloadIdentityPools/{POOL}/providers/{PROVIDER}"
    published = {"keys": [keys.jwk(pair.key_id, pair.certificate_pem)]}
    oidc = {"issuerUri": ISSUER, "jwksJson": json.dumps(published)}
    federation.create_provider(provider, {"oidc": oidc, "attributeMapping": {"google.subject": "assertion.sub"}})
    external = {
        "type": "external_account",
        "universe_domain": "googleapis.com",
        "audience": f"//iam.googleapis.com/{provider}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
    }
    keys.write_key_file(external | impersonation, settings.credentials("federated"))
    workflow = f"principal://iam.googleapis.com/{parent}/workloadIdentityPools/{POOL}/subject/{SUBJECT}"
    policies.set(
        f"serviceAccounts/{deployer}",
        {
            "bindings": [
                {"role": "roles/iam.serviceAccountTokenCreator", "members": [member_of(OWNER)]},
                {"role": "roles/iam.workloadIdentityUser", "members": [workflow]},
            ]
        },
    )


def renew_subject_token(settings: Settings) -> None:
    """Write a new token of the CI system, as it gives one to each job, where `federated` says it is."""
    issuer = json.loads(settings.credentials("ci-issuer").read_text(encoding="utf-8"))
    federated = json.loads(settings.credentials("federated").read_text(encoding="utf-8"))
    path = settings.home / "credentials" / "ci-token.jwt"
    keys.write_key_file(federated | {"credential_source": {"file": str(path)}}, settings.credentials("federated"))
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": f"https:{federated['audience']}",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    token = keys.signed_jwt(issuer["key_id"], issuer["private_key"], claims)
    path.write_text(token, encoding="utf-8")


def _person(tokens: Tokens, client: str) -> dict[str, Any]:
    return {
        "type": "authorized_user",
        "account": "",
        "client_id": client,
        "client_secret": "public",  # an installed application's secret is none
        "refresh_token": tokens.issue_refresh(OWNER, client),
        "universe_domain": "googleapis.com",
    }
