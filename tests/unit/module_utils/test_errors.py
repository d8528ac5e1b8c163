# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's error answers, as the line a person reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.fanops.api.errors import GoogleApiError, from_operation, from_response

URL = "https://compute.googleapis.com/compute/v1/projects/demo/zones/z/instances"
WHO = {"account": "me@demo.iam.gserviceaccount.com", "project": "demo"}


def found(status: int, message: str, **more: Any) -> GoogleApiError:
    return from_response("create vm", URL, status, {"error": {"code": status, "message": message, **more}}, **WHO)


@pytest.mark.parametrize(
    ("status", "message", "more", "remedy"),
    [
        (401, "Request had invalid authentication credentials.", {}, "did not accept the credentials of me@demo"),
        (
            403,
            "Required 'compute.instances.create' permission",
            {},
            "grant me@demo.iam.gserviceaccount.com the missing",
        ),
        (403, "Quota 'CPUS' exceeded.", {"errors": [{"reason": "quotaExceeded"}]}, "higher quota"),
        (404, "The resource 'projects/nope' was not found", {}, "Check the project id"),
        (
            403,
            "x",
            {"details": [{"@type": "t/google.rpc.ErrorInfo", "reason": "CONSUMER_INVALID"}]},
            "Check the project",
        ),
        (403, "x", {"details": [{"@type": "t/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}, "Enable compute."),
        (400, "Invalid value for field 'resource.machineType': 'e9'.", {}, "vm_machine_type"),
        (400, "Invalid value for field 'zone': 'moon'. Unknown zone.", {}, "gcp_zone"),
        (503, "The service is currently unavailable.", {}, "run again later"),
    ],
)
def test_each_common_error_has_a_remedy(status: int, message: str, more: dict[str, Any], remedy: str) -> None:
    error = found(status, message, **more)
    assert str(error).startswith("Could not create vm: ") and remedy in str(error)
    assert "\n" not in str(error) and ".." not in str(error)


def test_facts_are_for_code() -> None:
    facts = found(412, "Precondition failed", errors=[{"reason": "conditionNotMet"}]).facts()
    assert facts["code"] == 412 and facts["reason"] == "conditionNotMet" and not facts["retryable"]
    assert facts["target"] == URL.removeprefix("https://")


@pytest.mark.parametrize(
    "body", ["<html>no</html>", {}, {"error": "invalid_grant", "error_description": "gone"}, [1], None]
)
def test_any_body_makes_an_error(body: Any) -> None:
    assert from_response("x", URL, 400, body, **WHO).status == 400


def test_operation_without_message_is_still_told() -> None:
    assert "without a message" in str(from_operation("x", {"name": "op", "error": {"code": 13}}, **WHO))
