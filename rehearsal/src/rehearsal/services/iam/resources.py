# SPDX-License-Identifier: GPL-3.0-or-later
"""What the identity handlers share: finding the account or project that a request names."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import refusals
from rehearsal.services.iam.accounts import Account, Project
from rehearsal.wire.calls import Call


def api_version(call: Call) -> str:
    """`v1`, `v2` or `v3`: run and cloudresourcemanager use the same method ids in two versions."""
    return call.request.path.strip("/").split("/")[0]


def account_named(call: Call, name: str, permission: str) -> Account:
    """Return the service account of `projects/P/serviceAccounts/A`, if the caller holds `permission` on it.

    P may be `-`; A is an e-mail address or a unique id. ApiError 403 without the permission, 404 when there is no such
    account (in this order: unauthorised callers cannot probe for existence).
    """
    identity = call.cloud.identity
    parts = name.split("/")
    account = identity.accounts.find(parts[3])
    project = account["projectId"] if account and parts[1] == "-" else project_of(call, parts[1])
    if account is not None and account["projectId"] != project:
        account = None
    resource = f"serviceAccounts/{account['email'] if account else parts[3]}"
    identity.authorize(call.principal, permission, project, resource)
    if account is None and identity.accounts.is_new(parts[3]):
        raise refusals.denied(call.principal, permission, project, resource)
    if account is None:
        raise ApiError(404, "notFound", "Unknown service account")
    return account


def project_of(call: Call, name: str) -> str:
    """Return the project id for an id or number; an unknown project is left as it is and fails authorisation."""
    found = call.cloud.identity.accounts.project(name)
    if found is not None:
        return str(found["projectId"])
    return call.cloud.settings.project_id if name == "-" else name


def project_named(call: Call, name: str, permission: str) -> Project:
    """Return the project for an id or number (or `projects/…`), once the caller is known to hold `permission` on it."""
    wanted = name.removeprefix("projects/")
    project = call.cloud.identity.accounts.project(wanted)
    if project is None:
        raise refusals.denied(call.principal, permission, wanted, "")
    call.cloud.identity.authorize(call.principal, permission, project["projectId"])
    return project


def granted(call: Call, project: str, resource: str = "") -> dict[str, Any]:
    """Return the answer of testIamPermissions: which of the asked permissions the caller holds."""
    identity = call.cloud.identity
    asked = call.body.get("permissions", [])
    held = [p for p in asked if identity.allowed(call.principal, p, project, resource)]
    return {"permissions": held} if held else {}


def may_act_as(call: Call, email: str, project: str) -> None:
    """ApiError 403 unless the caller may run something as the service account; 400/404 is the caller's business."""
    account = call.cloud.identity.accounts.find(email)
    home = account["projectId"] if account else project
    call.cloud.identity.authorize(call.principal, "iam.serviceAccounts.actAs", home, f"serviceAccounts/{email}")
