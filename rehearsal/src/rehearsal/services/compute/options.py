# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a VM that are given at insert and can be changed while it is stopped: service account, shielded VM."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.compute import errors, projects
from rehearsal.services.compute.records import Ref
from rehearsal.services.iam import organisation
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


def check_metadata(call: Call, items: list[dict[str, str]]) -> None:
    """Raise ApiError 412 for metadata that an organisation policy forbids."""
    set_to = {item["key"]: item.get("value", "").upper() for item in items}
    for key, value, name in (
        ("enable-oslogin", "FALSE", "requireOsLogin"),
        ("enable-guest-attributes", "TRUE", "disableGuestAttributesAccess"),
    ):
        if set_to.get(key) != value:
            continue
        constraint = organisation.is_enforced(call.cloud.store, f"compute.{name}", f"compute.managed.{name}")
        if constraint:
            raise errors.condition_not_met(
                f"Constraint constraints/{constraint} violated for project {call.project}. The metadata value {key} may not be {value}."
            )


def check_policies(call: Call, ref: Ref, *, external: bool, image_project: str) -> None:
    """Raise ApiError 412 for a VM that an organisation policy forbids: by its place, its address or its image."""
    store, where = call.cloud.store, f"projects/{ref.project}/zones/{ref.zone}/instances/{ref.name}"
    organisation.check_location(store, ref.zone.rpartition("-")[0], where)
    managed = "compute.managed.vmExternalIpAccess"
    if external and (
        organisation.forbids(store, "compute.vmExternalIpAccess", where) or organisation.is_enforced(store, managed)
    ):
        raise errors.condition_not_met(
            f"Constraint constraints/compute.vmExternalIpAccess violated for project {ref.project}. Add instance {where} to the "
            "constraint to use external IP with it."
        )
    if organisation.forbids(store, "compute.trustedImageProjects", f"projects/{image_project}"):
        raise errors.condition_not_met(
            f"Constraint constraints/compute.trustedImageProjects violated for project {ref.project}. Use of images from project "
            f"{image_project} is prohibited."
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
