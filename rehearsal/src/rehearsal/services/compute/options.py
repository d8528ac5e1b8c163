# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a VM that are given at insert and can be changed while it is stopped: service account, shielded VM."""

from __future__ import annotations

from typing import Any

from rehearsal import trouble
from rehearsal.errors import ApiError
from rehearsal.services.compute import errors, projects
from rehearsal.wire.calls import Call

SCOPE_PREFIX = "https://www.googleapis.com/auth/"


def shielded(given: dict[str, Any] | None, current: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a ShieldedInstanceConfig: what is given, over what there is, over Google's defaults."""
    defaults = {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True}
    chosen = defaults | (current or {}) | {name: value for name, value in (given or {}).items() if value is not None}
    if chosen["enableIntegrityMonitoring"] and not chosen["enableVtpm"]:
        text = "Integrity monitoring requires that the virtual TPM is enabled."
        raise errors.invalid("resource.shieldedInstanceConfig.enableIntegrityMonitoring", "true", text)
    return chosen


def check_os_login(call: Call, items: list[dict[str, str]]) -> None:
    """Raise ApiError 412 for metadata that switches OS Login off where an organisation policy demands it."""
    if not trouble.setting(call.cloud.store, trouble.OSLOGIN_POLICY):
        return
    if any(item["key"] == "enable-oslogin" and item.get("value", "").upper() != "TRUE" for item in items):
        trouble.count_hit(call.cloud.store, trouble.OSLOGIN_POLICY)
        raise errors.condition_not_met(
            f"Constraint constraints/compute.requireOsLogin violated for project {call.project}. "
            "The metadata value enable-oslogin must be TRUE."
        )


def service_accounts(call: Call, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the VM's service accounts (none or one), `default` replaced by its address.

    Raises ApiError 400 for more than one, or for bad scopes; 404 for an account that does not exist; 400
    (SERVICE_ACCOUNT_ACCESS_DENIED) when the caller may not act as it.
    """
    where = "resource.serviceAccounts"
    if len(given) > 1:
        raise errors.invalid(where, "", "At most one service account may be specified.")
    if not given:
        return []
    email, scopes = given[0].get("email") or "default", given[0].get("scopes") or []
    if email == "default":
        email = projects.default_service_account(call.cloud, call.project)
    if not scopes:
        raise errors.invalid(f"{where}[0].scopes", "", "At least one scope must be specified.")
    for index, scope in enumerate(scopes):
        if not scope.startswith(SCOPE_PREFIX):
            raise errors.invalid(f"{where}[0].scopes[{index}]", scope, "The scope is not an OAuth2 scope URL.")
    if call.cloud.identity.accounts.find(email) is None:
        raise ApiError(404, "notFound", f"The resource '{email}' of type 'serviceAccount' was not found.")
    try:
        call.cloud.identity.authorize(
            call.principal, "iam.serviceAccounts.actAs", call.project, f"serviceAccounts/{email}"
        )
    except ApiError as error:
        if error.code != 403:
            raise
        text = (
            f"The user does not have access to service account '{email}'.  User: '{call.principal}'.  "
            "Ask a project owner to grant you the iam.serviceAccountUser role on the service account"
        )
        raise ApiError(400, "SERVICE_ACCOUNT_ACCESS_DENIED", text) from None
    return [{"email": email, "scopes": scopes}]
