# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest or a function may see of itself, and the form of an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

ROOT = "/computeMetadata/v1"


class TokenSource(Protocol):
    """What the metadata server needs of the identity service."""

    def access_token(self, email: str, scopes: list[str]) -> dict[str, Any]:
        """Return {"access_token", "expires_in", "token_type"}."""

    def id_token(self, email: str, audience: str) -> str:
        """Return a signed JWT."""


@dataclass
class MetadataView:
    """What one guest sees. Callables are asked anew at each request; `instance` has the metadata server's own field names.

    `service_account` is {"email", "scopes"} or None. `put_guest_attribute(namespace, key, value)` and `get_guest_attributes()`
    (nested by namespace, by key) raise PermissionError while guest attributes are switched off; None means they always are.
    """

    project_id: str
    project_number: str
    instance: Callable[[], dict[str, Any]]
    project_attributes: Callable[[], dict[str, str]]
    service_account: dict[str, Any] | None = None
    put_guest_attribute: Callable[[str, str, str], None] | None = None
    get_guest_attributes: Callable[[], dict[str, Any] | None] | None = None


@dataclass
class Answer:
    """One answer: status, body and content type."""

    status: int
    body: bytes = b""
    content_type: str = "application/text"
    location: str = ""

    @property
    def etag(self) -> str:
        """A hash of the body: equal content, equal tag."""
        return hashlib.sha256(self.body).hexdigest()[:16]


def true(value: str | None) -> bool:
    """Whether a query parameter says so."""
    return (value or "").lower() == "true"
