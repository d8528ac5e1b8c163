# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints and ids.

A fingerprint is URL-safe base64 of exactly eight bytes: clients decode and re-encode it, and any other length or padding comes
back changed. So fingerprints are compared as bytes, never as text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from typing import Any

# What Google answers for labels and tags that were never set.
EMPTY = "42WmSpB8rSM="


def of(value: Any) -> str:
    """Return the fingerprint of a JSON value; equal values have equal fingerprints."""
    if not value:
        return EMPTY
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()[:8]).decode()


def same(supplied: str | None, current: str) -> bool:
    """Whether a client's fingerprint (standard or URL-safe base64) names the current state; False for none at all."""
    if not supplied:
        return False
    try:
        decoded = base64.b64decode(supplied.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return decoded == base64.urlsafe_b64decode(current)


def stable_id(path: str) -> str:
    """Return the uint64 id (as a string) of a resource that always exists, such as a zone: the same one every time."""
    return str(int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 2)


def new_id() -> str:
    """Return a fresh uint64 id (as a string) of 19 digits, as Google's are."""
    return str(1_000_000_000_000_000_000 + secrets.randbelow(8_000_000_000_000_000_000))
