# SPDX-License-Identifier: GPL-3.0-or-later
"""What is raised: answers in Google's error form, and what the person at the keyboard can mend."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


class RehearsalError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


class ApiError(Exception):
    """An answer in Google's error form.

    `reason` is the compute/storage style ("notFound"), `status` the google.rpc style ("NOT_FOUND"); the gateway
    writes the one that the API uses. `details` are google.rpc error details, `location` names the parameter (or header,
    by `location_type`) at fault.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        status: str = "",
        details: list[Body] | None = None,
        location: str = "",
        location_type: str = "parameter",
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.status = status or RPC_STATUS.get(code, "UNKNOWN")
        self.details, self.location, self.location_type = details or [], location, location_type


RPC_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def not_implemented(what: str) -> ApiError:
    """405 for what Google can do and this rehearsal cannot: Google's clients repeat a 501, this they report at once."""
    return ApiError(405, "notImplemented", f"The rehearsal cloud cannot do this: {what}", status="UNIMPLEMENTED")
