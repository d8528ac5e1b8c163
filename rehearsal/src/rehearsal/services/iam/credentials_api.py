# SPDX-License-Identifier: GPL-3.0-or-later
"""iamcredentials.v1: tokens and signatures on behalf of a service account."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import keys
from rehearsal.services.iam.accounts import timestamp
from rehearsal.services.iam.resources import account_named
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

A = "iamcredentials.projects.serviceAccounts."
MAX_LIFETIME = 3600


@method(
    "iamcredentials.projects.serviceAccounts.generateAccessToken",
    permission=CheckedInside("iam.serviceAccounts.getAccessToken"),
)
def generate_access_token(call: Call) -> dict[str, Any]:
    """Return an access token for another account."""
    account = account_named(call, call.params["name"], "iam.serviceAccounts.getAccessToken")
    scopes = call.body.get("scope", [])
    if not scopes:
        raise ApiError(400, "badRequest", "Request contains an invalid argument: scope is required.")
    seconds = _seconds(call.body.get("lifetime", f"{MAX_LIFETIME}s"))
    issued = call.cloud.identity.tokens.issue_access(account["email"], tuple(scopes), seconds)
    return {"accessToken": issued["access_token"], "expireTime": timestamp(time.time() + seconds)}


def _seconds(duration: str) -> int:
    try:
        seconds = int(float(duration.removesuffix("s")))
    except ValueError:
        seconds = 0
    if not duration.endswith("s") or not 0 < seconds <= MAX_LIFETIME:
        raise ApiError(400, "badRequest", f"Invalid lifetime '{duration}': it must be between 1s and {MAX_LIFETIME}s.")
    return seconds


@method(
    "iamcredentials.projects.serviceAccounts.generateIdToken",
    permission=CheckedInside("iam.serviceAccounts.getOpenIdToken"),
)
def generate_id_token(call: Call) -> dict[str, Any]:
    """Return an ID token for another account."""
    account = account_named(call, call.params["name"], "iam.serviceAccounts.getOpenIdToken")
    audience = call.body.get("audience", "")
    if not audience:
        raise ApiError(400, "badRequest", "Request contains an invalid argument: audience is required.")
    include = bool(call.body.get("includeEmail", False))
    tokens = call.cloud.identity.tokens
    return {"token": tokens.issue_id(account["email"], audience, unique_id=account["uniqueId"], include_email=include)}


@method(
    "iamcredentials.projects.serviceAccounts.signBlob",
    "iam.projects.serviceAccounts.signBlob",
    permission=CheckedInside("iam.serviceAccounts.signBlob"),
)
def sign_blob(call: Call) -> dict[str, Any]:
    """Sign bytes with the account's Google-managed key."""
    account = account_named(call, call.params["name"], "iam.serviceAccounts.signBlob")
    newer = call.method_id.startswith("iamcredentials.")
    try:
        data = base64.b64decode(call.body.get("payload" if newer else "bytesToSign", ""), validate=False)
    except binascii.Error as error:
        raise ApiError(400, "badRequest", f"Invalid value at 'payload' (TYPE_BYTES): {error}") from error
    key_id, private = call.cloud.identity.accounts.signing_key(account)
    signature = base64.b64encode(keys.sign(private, data)).decode()
    return {"keyId": key_id, "signedBlob" if newer else "signature": signature}


@method(
    "iamcredentials.projects.serviceAccounts.signJwt",
    "iam.projects.serviceAccounts.signJwt",
    permission=CheckedInside("iam.serviceAccounts.signJwt"),
)
def sign_jwt(call: Call) -> dict[str, Any]:
    """Sign a set of claims with the account's Google-managed key."""
    account = account_named(call, call.params["name"], "iam.serviceAccounts.signJwt")
    try:
        claims = json.loads(call.body.get("payload", ""))
    except ValueError as error:
        raise ApiError(400, "badRequest", f"The payload must be a JSON object of claims: {error}") from error
    key_id, private = call.cloud.identity.accounts.signing_key(account)
    return {"keyId": key_id, "signedJwt": keys.signed_jwt(key_id, private, claims)}


@method("iamcredentials.projects.serviceAccounts.getAllowedLocations", permission=SIGNED_IN)
def allowed_locations(call: Call) -> dict[str, Any]:
    """Where the account may be used: everywhere, as for an account without a regional access boundary."""
    return {"locations": [], "encodedLocations": "0x0"}
