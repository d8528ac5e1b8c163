# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints that no discovery document describes: the token endpoint, token and user information, public certificates.

RFC 7523 (jwt-bearer) as in https://developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Response

from rehearsal.errors import ApiError
from rehearsal.services.iam import keys
from rehearsal.services.iam.tokens import TokenError
from rehearsal.wire.calls import PUBLIC, SIGNED_IN, Call, raw_route

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_AUDIENCES = (
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://accounts.google.com/o/oauth2/token",
)
NOT_SHORT_LIVED = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
# What "gcloud auth application-default login" asks for.
PERSONAL_SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
    "openid",
)
NO_SCOPE = "Invalid OAuth scope or ID token audience provided."


def _json(document: dict[str, Any], status: int = 200, max_age: int = 0) -> Response:
    response = Response(json.dumps(document, indent=2) + "\n", status, content_type="application/json; charset=UTF-8")
    response.headers["Cache-Control"] = f"public, max-age={max_age}, must-revalidate" if max_age else "no-store"
    return response


def _refused(error: str, description: str, status: int = 400) -> Response:
    return _json({"error": error, "error_description": description}, status)


@raw_route(r"oauth2\.googleapis\.com", "POST", r"/token", method_id="oauth2.token", permission=PUBLIC)
@raw_route(r"www\.googleapis\.com", "POST", r"/oauth2/v[34]/token", method_id="oauth2.token", permission=PUBLIC)
def token(call: Call) -> Response:
    """Exchange a person's refresh token, or a JWT signed with a service account's key, for an access token.

    With the claim target_audience such a JWT is exchanged for an ID token; a person's comes with the access token.
    """
    form = call.request.form
    grant = form.get("grant_type", "")
    if grant == "refresh_token":
        return _refreshed(call, form.get("refresh_token", ""), form.get("client_id", ""))
    if grant != GRANT_TYPE:
        return _refused("unsupported_grant_type", f"Invalid grant_type: {grant}")
    identity = call.cloud.identity
    try:
        claims = identity.tokens.verify_assertion(form.get("assertion", ""))
    except TokenError as error:
        texts = {"expired": NOT_SHORT_LIVED, "time": NOT_SHORT_LIVED, "malformed": "Bad Request"}
        return _refused("invalid_grant", texts.get(error.kind, str(error)))
    if claims.get("aud") not in TOKEN_AUDIENCES:
        return _refused("invalid_grant", "Invalid JWT: Failed audience check.")
    email = claims["iss"]
    if claims.get("target_audience"):
        return _json({"id_token": identity.id_token(email, str(claims["target_audience"]))})
    scopes = str(claims.get("scope", "")).split()
    if not scopes:
        return _refused("invalid_scope", NO_SCOPE)
    return _json(identity.access_token(email, scopes))


def _refreshed(call: Call, token: str, client: str) -> Response:
    tokens = call.cloud.identity.tokens
    try:
        email = tokens.refreshing(token, client)
    except TokenError as error:
        return _refused("invalid_grant", str(error))
    issued = tokens.issue_access(email, PERSONAL_SCOPES, client=client)
    issued |= {"scope": " ".join(PERSONAL_SCOPES), "id_token": tokens.issue_id(email, client, unique_id=email)}
    return _json(issued)


@raw_route(r"oauth2\.googleapis\.com", "POST", r"/revoke", method_id="oauth2.revoke", permission=PUBLIC)
def revoke(call: Call) -> Response:
    """Make an access token invalid."""
    known = call.cloud.identity.tokens.revoke(call.request.values.get("token", ""))
    return _json({}) if known else _refused("invalid_token", "Token expired or revoked")


@raw_route(r"oauth2\.googleapis\.com", None, r"/tokeninfo", method_id="oauth2.tokeninfo", permission=PUBLIC)
@raw_route(r"www\.googleapis\.com", None, r"/oauth2/v[123]/tokeninfo", method_id="oauth2.tokeninfo", permission=PUBLIC)
def tokeninfo(call: Call) -> Response:
    """Return what a token says: whose, for what, how long still."""
    identity, values = call.cloud.identity, call.request.values
    try:
        if "id_token" in values:
            claims = identity.tokens.verify_id(values["id_token"])
            # This endpoint writes every claim as a string.
            return _json({k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in claims.items()})
        known = identity.tokens.access(values.get("access_token", ""))
    except TokenError:
        return _refused("invalid_token", "Invalid Value")
    account = identity.accounts.find(known.email)
    unique = account["uniqueId"] if account else known.email
    left = int(known.expires - time.time())
    document = {"azp": unique, "aud": unique, "sub": unique, "scope": " ".join(known.scopes), "access_type": "online"}
    document |= {
        "exp": str(int(known.expires)),
        "expires_in": str(left),
        "email": known.email,
        "email_verified": "true",
    }
    return _json(document)


@raw_route(
    r"openidconnect\.googleapis\.com", None, r"/v1/userinfo", method_id="oauth2.userinfo.get", permission=SIGNED_IN
)
@raw_route(
    r"www\.googleapis\.com", None, r"/oauth2/v[123]/userinfo", method_id="oauth2.userinfo.get", permission=SIGNED_IN
)
def userinfo(call: Call) -> Response:
    """Who the caller is."""
    account = call.cloud.identity.accounts.find(call.principal)
    unique = account["uniqueId"] if account else call.principal
    return _json({"id": unique, "sub": unique, "email": call.principal, "email_verified": True, "verified_email": True})


@raw_route(r"www\.googleapis\.com", "GET", r"/oauth2/v1/certs", method_id="oauth2.certs", permission=PUBLIC)
def certificates(call: Call) -> Response:
    """Certificates of the keys that ID tokens are signed with, by key id."""
    return _json(call.cloud.identity.tokens.issuer_certificates(), max_age=3600)


@raw_route(r"www\.googleapis\.com", "GET", r"/oauth2/v[23]/certs", method_id="oauth2.certs", permission=PUBLIC)
def json_web_keys(call: Call) -> Response:
    """Return the same keys as a JSON web key set."""
    known = call.cloud.identity.tokens.issuer_certificates()
    return _json({"keys": [keys.jwk(key_id, certificate) for key_id, certificate in known.items()]}, max_age=3600)


def _account_keys(call: Call) -> dict[str, str]:
    assert call.match is not None  # noqa: S101 - a raw route always has one
    account = call.cloud.identity.accounts.find(unquote(call.match["email"]))
    if account is None:
        raise ApiError(404, "notFound", "Service account not found.")
    known = call.cloud.identity.accounts.keys(account["email"])
    return {key_id: document["certificate"] for key_id, document in known if not document.get("disabled")}


@raw_route(
    r"www\.googleapis\.com",
    "GET",
    r"/robot/v1/metadata/x509/(?P<email>[^/]+)",
    method_id="oauth2.accountCerts",
    permission=PUBLIC,
)
def account_certificates(call: Call) -> Response:
    """Certificates of one service account's keys, by key id."""
    return _json(_account_keys(call), max_age=3600)


@raw_route(
    r"www\.googleapis\.com",
    "GET",
    r"/(?:service_accounts/v1|robot/v1/metadata)/jwk/(?P<email>[^/]+)",
    method_id="oauth2.accountCerts",
    permission=PUBLIC,
)
def account_json_web_keys(call: Call) -> Response:
    """One service account's public keys as a JSON web key set."""
    return _json({"keys": [keys.jwk(key_id, pem) for key_id, pem in _account_keys(call).items()]}, max_age=3600)
