# SPDX-License-Identifier: GPL-3.0-or-later
"""Access tokens, ID tokens and the JWTs that clients sign themselves.

Access tokens are opaque; only their SHA-256 is stored (kind `accessTokens`), with their expiry, so that one outlives a
restart. ID tokens are signed with a key of `accounts.google.com` (kind `issuerKeys`), whose certificate the certs
endpoints publish.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from google.auth import crypt, jwt
from google.auth.exceptions import GoogleAuthError

from rehearsal.services.iam import keys
from rehearsal.services.iam.accounts import Accounts
from rehearsal.store import Store

ACCESS_TOKENS, ISSUER_KEYS, REFRESH_TOKENS = "accessTokens", "issuerKeys", "refreshTokens"
ISSUER = "https://accounts.google.com"
LIFETIME = 3600
# What a client may be ahead or behind of us, seconds; google-auth uses the same.
CLOCK_SKEW = 10
TOKEN_PREFIX = "ya29.c."  # noqa: S105 - the public prefix of Google's tokens, no secret

Claims = dict[str, Any]


class TokenError(Exception):
    """A token or assertion to refuse; `kind` says why: expired, signature, issuer, malformed or time."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class AccessToken:
    """What is known of an access token: whose, for which scopes, until when (seconds since the epoch), got by which OAuth client."""

    email: str
    scopes: tuple[str, ...]
    expires: float
    client: str = ""


def claims_of(token: str) -> tuple[Claims, Claims]:
    """Header and payload of a JWT, not verified; TokenError when the text is not a JWT."""
    try:
        return dict(jwt.decode_header(token)), dict(jwt.decode(token, verify=False))
    except (ValueError, GoogleAuthError) as error:
        raise TokenError("malformed", f"not a JWT: {error}") from error


def looks_like_jwt(token: str) -> bool:
    """Whether a bearer is a JWT rather than one of our opaque tokens."""
    return token.count(".") == 2 and token.startswith("ey")


class Tokens:
    """Issues and checks tokens."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts

    # Access tokens

    def issue_access(
        self, email: str, scopes: tuple[str, ...], lifetime: int = LIFETIME, client: str = ""
    ) -> dict[str, Any]:
        """Return a new access token in the token endpoint's form."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(96)
        self._forget_expired()
        document = {"email": email, "scopes": list(scopes), "expires": time.time() + lifetime, "client": client}
        self._store.put(ACCESS_TOKENS, _digest(token), document)
        # One second less than it lives: Google's answer says 3599, and clients refresh by it.
        return {"access_token": token, "expires_in": lifetime - 1, "token_type": "Bearer"}

    def access(self, token: str) -> AccessToken:
        """Return what the token stands for; TokenError when it is unknown or expired."""
        document = self._store.get(ACCESS_TOKENS, _digest(token))
        if document is None:
            raise TokenError("malformed", "the access token is not known")
        if document["expires"] <= time.time():
            raise TokenError("expired", "the access token has expired")
        return AccessToken(
            document["email"], tuple(document["scopes"]), document["expires"], document.get("client", "")
        )

    def revoke(self, token: str) -> bool:
        """Forget an access or refresh token; whether it was known."""
        digest = _digest(token)
        return self._store.delete(ACCESS_TOKENS, digest) or self._store.delete(REFRESH_TOKENS, digest)

    def issue_refresh(self, email: str, client: str) -> str:
        """Return a refresh token, as a person's sign-in leaves one with the OAuth client `client`."""
        token = "1//" + secrets.token_urlsafe(64)
        self._store.put(REFRESH_TOKENS, _digest(token), {"email": email, "client": client})
        return token

    def refreshing(self, token: str, client: str) -> str:
        """Return whose refresh token it is; TokenError when it is unknown, revoked or another client's."""
        document = self._store.get(REFRESH_TOKENS, _digest(token))
        if document is None or document["client"] != client:
            raise TokenError("malformed", "Token has been expired or revoked.")
        return str(document["email"])

    def _forget_expired(self) -> None:
        now = time.time()
        for key, document in self._store.list(ACCESS_TOKENS):
            # Kept a day longer, so that "expired" and "unknown" stay two different answers.
            if document["expires"] < now - 86_400:
                self._store.delete(ACCESS_TOKENS, key)

    # ID tokens

    def issue_id(
        self, email: str, audience: str, *, unique_id: str, include_email: bool = True, extra: Claims | None = None
    ) -> str:
        """Return an ID token for `audience`, valid for an hour."""
        key_id, document = self._issuer_key()
        now = int(time.time())
        claims: Claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": unique_id,
            "sub": unique_id,
            "iat": now,
            "exp": now + LIFETIME,
        }
        if include_email:
            claims |= {"email": email, "email_verified": True}
        return keys.signed_jwt(key_id, document["private"], claims | (extra or {}))

    def verify_id(self, token: str) -> Claims:
        """Return the claims, audience unchecked, of an ID token that was issued here and is valid now; TokenError otherwise."""
        header, claims = claims_of(token)
        document = self._store.get(ISSUER_KEYS, str(header.get("kid")))
        if document is None or claims.get("iss") != ISSUER:
            raise TokenError("issuer", "the ID token was not issued by accounts.google.com")
        if not _is_signed_by(token, [document["certificate"]]):
            raise TokenError("signature", "the signature does not belong to the token")
        _check_times(claims)
        return claims

    def issuer_certificates(self) -> dict[str, str]:
        """Key id to certificate (PEM) of every key that ID tokens are signed with."""
        self._issuer_key()
        return {key_id: document["certificate"] for key_id, document in self._store.list(ISSUER_KEYS)}

    def _issuer_key(self) -> tuple[str, dict[str, Any]]:
        with self._store.lock:
            for key_id, document in self._store.list(ISSUER_KEYS):
                return key_id, document
            pair = keys.new_key_pair("federated-signon.system.gserviceaccount.com")
            document = {"certificate": pair.certificate_pem, "private": pair.private_pem}
            self._store.put(ISSUER_KEYS, pair.key_id, document)
            return pair.key_id, document

    # JWTs signed with a service account's key

    def verify_assertion(self, token: str) -> Claims:
        """Return the claims of a JWT signed by the service account that `iss` names; TokenError otherwise.

        Kinds: issuer (no such account), signature (no key of the account signed it), time (not valid now, or for more
        than an hour), malformed.
        """
        header, claims = claims_of(token)
        issuer = str(claims.get("iss", ""))
        if self._accounts.usable(issuer) is None:
            raise TokenError("issuer", "Invalid grant: account not found")
        key_id = str(header.get("kid", ""))
        candidates = [
            document["certificate"]
            for known, document in self._accounts.keys(issuer)
            if not document.get("disabled") and key_id in ("", known)
        ]
        if not _is_signed_by(token, candidates):
            raise TokenError("signature", "Invalid JWT Signature.")
        _check_times(claims)
        return claims


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_signed_by(token: str, certificates: list[str]) -> bool:
    signed, _, signature = token.rpartition(".")
    if jwt.decode_header(token).get("alg") != "RS256":
        return False
    raw = base64.urlsafe_b64decode(signature + "==")
    return bool(crypt.verify_signature(signed.encode(), raw, certificates))


def _check_times(claims: Claims) -> None:
    now = time.time()
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, (int, float)) or not isinstance(expires, (int, float)):
        raise TokenError("time", "iat and exp must be numbers")
    if expires + CLOCK_SKEW <= now:
        raise TokenError("expired", "the token has expired")
    if issued - CLOCK_SKEW > now or expires - issued > LIFETIME + CLOCK_SKEW:
        raise TokenError("time", "the token is not yet valid, or valid for more than an hour")
