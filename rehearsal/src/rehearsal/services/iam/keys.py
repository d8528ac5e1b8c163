# SPDX-License-Identifier: GPL-3.0-or-later
"""RSA keys: making them, signing with them, and Google's key file layout.

Google issues 2048-bit RSA keys and signs with RS256 (PKCS#1 v1.5 over SHA-256);
https://cloud.google.com/iam/docs/keys-create-delete.
"""

from __future__ import annotations

import base64
import datetime
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

KEY_BITS = 2048
CERTIFICATE_DAYS = 3650


@dataclass(frozen=True)
class KeyPair:
    """One RSA key: its id (40 hex digits), the private key and a self-signed certificate, both PEM text."""

    key_id: str
    private_pem: str
    certificate_pem: str


def new_key_pair(common_name: str) -> KeyPair:
    """Make a key pair whose certificate carries `common_name` (an account's unique id, or an issuer's host name)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    # A certificate's common name holds 64 characters at most (RFC 5280, ub-common-name).
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .sign(private, hashes.SHA256())
    )
    return KeyPair(
        key_id=secrets.token_hex(20),
        private_pem=private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )


def sign(private_pem: str, data: bytes) -> bytes:
    """RS256 signature of `data`."""
    private = serialization.load_pem_private_key(private_pem.encode(), password=None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise TypeError("the stored key is not an RSA key")
    return private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def signed_jwt(key_id: str, private_pem: str, claims: dict[str, Any]) -> str:
    """Return `claims` as a JWT, RS256 (RFC 7515)."""
    signer = crypt.RSASigner.from_string(private_pem, key_id)
    encoded: bytes = jwt.encode(signer, claims)
    return encoded.decode()


def jwk(key_id: str, certificate_pem: str) -> dict[str, str]:
    """Return the public key as a JSON web key (RFC 7517)."""
    public = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError("the stored certificate holds no RSA key")
    numbers = public.public_numbers()

    def number(value: int) -> str:
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": key_id, "n": number(numbers.n), "e": number(numbers.e)}


def key_file(pair: KeyPair, *, project: str, email: str, unique_id: str) -> dict[str, str]:
    """Return the JSON document Google hands out once, when a user-managed key is created."""
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": pair.key_id,
        "private_key": pair.private_pem,
        "client_email": email,
        "client_id": unique_id,
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/" + email.replace("@", "%40"),
        "universe_domain": "googleapis.com",
    }


def write_key_file(document: Mapping[str, Any], path: Path) -> None:
    """Write a key file that only its owner can read; the folder is made where missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
