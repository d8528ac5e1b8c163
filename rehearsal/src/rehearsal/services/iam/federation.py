# SPDX-License-Identifier: GPL-3.0-or-later
"""Workload identity federation: pools, their OIDC providers, and the tokens that both are exchanged for.

Store kinds `workloadIdentityPools` and `workloadIdentityProviders`, key the resource name (with the project's number), the document as the
API shows it. https://cloud.google.com/iam/docs/workload-identity-federation
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from rehearsal.errors import ApiError
from rehearsal.store import Store

POOLS, PROVIDERS = "workloadIdentityPools", "workloadIdentityProviders"
AUDIENCE = re.compile(
    r"//iam\.googleapis\.com/(projects/\d+/locations/global/workloadIdentityPools/[^/]+)/providers/[^/]+"
)


class Federation:
    """Reads and writes pools and providers, and checks other systems' tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_pool(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create a pool; ApiError 409 when there is one."""
        return self._create(POOLS, name, body)

    def create_provider(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create a provider of OIDC tokens, whose keys are uploaded with it; ApiError 400 when it names none."""
        if not body.get("oidc", {}).get("issuerUri") or not body["oidc"].get("jwksJson"):
            raise ApiError(
                400, "badRequest", "Only OIDC providers with an issuerUri and uploaded keys (jwksJson) are rehearsed."
            )
        if "google.subject" not in body.get("attributeMapping", {}):
            raise ApiError(400, "badRequest", "The attribute mapping must map google.subject.")
        return self._create(PROVIDERS, name, body)

    def get(self, name: str) -> dict[str, Any]:
        """Return a pool or provider; ApiError 404 when there is none."""
        found = self._store.get(PROVIDERS if "/providers/" in name else POOLS, name)
        if found is None:
            raise ApiError(404, "notFound", "Requested entity was not found.")
        return found

    def _create(self, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._store.lock:
            if self._store.get(kind, name) is not None:
                raise ApiError(409, "alreadyExists", "Requested entity already exists")
            created = body | {"name": name, "state": "ACTIVE"}
            self._store.put(kind, name, created)
            return created

    def principal(self, audience: str, token: str) -> str:
        """Return the principal that a token of another system stands for.

        ValueError (Google's `error_description`) when the audience is not a provider, or the token not one for it.
        """
        match = AUDIENCE.fullmatch(audience)
        provider = self._store.get(PROVIDERS, audience.removeprefix("//iam.googleapis.com/"))
        if match is None or provider is None:
            raise ValueError(
                'Invalid value for "audience". This value should be the full resource name of the Identity Provider.'
            )
        keys = json.loads(provider["oidc"]["jwksJson"])["keys"]
        try:
            certificates = {key["kid"]: _public_key(key) for key in keys}
            claims = jwt.decode(token, certs=certificates, clock_skew_in_seconds=10)
        except (ValueError, GoogleAuthError) as error:
            raise ValueError(f"Error code: invalid_grant. ID Token is not valid: {error}") from error
        allowed = provider["oidc"].get("allowedAudiences") or [f"https:{audience}", audience]
        if claims.get("iss") != provider["oidc"]["issuerUri"]:
            raise ValueError("The issuer in ID Token does not match the expected ones.")
        if claims.get("aud") not in allowed:
            raise ValueError("The audience in ID Token does not match the expected audience.")
        return f"principal://iam.googleapis.com/{match[1]}/subject/{claims['sub']}"


def _public_key(key: dict[str, str]) -> str:
    """Return a JSON web key as PEM."""
    exponent, modulus = (base64.urlsafe_b64decode(key[name] + "=" * (-len(key[name]) % 4)) for name in ("e", "n"))
    public = RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
