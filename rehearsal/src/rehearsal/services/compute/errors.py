# SPDX-License-Identifier: GPL-3.0-or-later
"""The refusals of Compute v1, with the reasons and texts that Google writes."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError, not_implemented

NAME_PATTERN = "(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)"


def invalid(field: str, value: Any, text: str) -> ApiError:
    """400 for a value that Google would not take; `field` is spelled as in `resource.disks[0].boot`."""
    return ApiError(400, "invalid", f"Invalid value for field '{field}': '{value}'. {text}")


def malformed_url(field: str, value: Any) -> ApiError:
    """400 for a reference that is no resource URL."""
    return invalid(field, value, "The URL is malformed.")


def not_found(path: str) -> ApiError:
    """404; `path` starts with `projects/`."""
    return ApiError(404, "notFound", f"The resource '{path}' was not found")


def already_exists(path: str) -> ApiError:
    """409 for a second resource of the same name."""
    return ApiError(409, "alreadyExists", f"The resource '{path}' already exists")


def not_ready(path: str) -> ApiError:
    """400 while another operation has the resource, or while its state does not allow the call."""
    return ApiError(400, "resourceNotReady", f"The resource '{path}' is not ready")


def in_use(path: str, user: str) -> ApiError:
    """400 for a resource that another one still uses."""
    return ApiError(400, "resourceInUseByAnotherResource", f"The resource '{path}' is already being used by '{user}'")


def invalid_usage(text: str) -> ApiError:
    """400 for a call that the state of the resource forbids."""
    return ApiError(400, "invalidResourceUsage", f"Invalid resource usage: '{text}'.")


def condition_not_met(text: str) -> ApiError:
    """412 for a fingerprint that is no longer the current one."""
    return ApiError(412, "conditionNotMet", text)


not_rehearsed = not_implemented
