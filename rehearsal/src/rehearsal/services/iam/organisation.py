# SPDX-License-Identifier: GPL-3.0-or-later
"""Organisation policies, as a company's administrator sets them: what no role allows.

Store kind `orgpolicies`, key a constraint without its prefix, `{"on": True}` for one that is enforced or denies all,
`{"values": [...]}` for the values that a list constraint allows.
https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
"""

from __future__ import annotations

from typing import Any

from rehearsal import trouble
from rehearsal.errors import ApiError
from rehearsal.store import Store

KIND, KNOB = "orgpolicies", "orgpolicy"
ALLOWS_VALUES = (
    "cloudfunctions.allowedIngressSettings",
    "compute.trustedImageProjects",
    "compute.vmExternalIpAccess",
    "gcp.resourceLocations",
    "iam.allowedPolicyMemberDomains",
)
ENFORCED = (
    "compute.disableGuestAttributesAccess",
    "compute.managed.disableGuestAttributesAccess",
    "compute.managed.requireOsLogin",
    "compute.managed.vmExternalIpAccess",
    "compute.requireOsLogin",
    "iam.disableServiceAccountCreation",
    "iam.disableServiceAccountKeyCreation",
    "iam.managed.disableServiceAccountCreation",
    "iam.managed.disableServiceAccountKeyCreation",
)
CONSTRAINTS = (*ALLOWS_VALUES, *ENFORCED)


def is_enforced(store: Store, *constraints: str) -> str | None:
    """Return the first of the constraints that is enforced, None where none is; it is counted as met."""
    for constraint in constraints:
        if store.get(KIND, constraint):
            trouble.count_hit(store, KNOB)
            return constraint
    return None


def forbids(store: Store, constraint: str, *candidates: str) -> bool:
    """Whether the list constraint allows none of the candidates, all of which name the same thing."""
    policy = store.get(KIND, constraint)
    if policy is None or set(candidates) & {value.partition(":")[2] or value for value in policy.get("values", [])}:
        return False
    trouble.count_hit(store, KNOB)
    return True


def effective(store: Store, constraint: str) -> dict[str, Any]:
    """Return the rules of a constraint as orgpolicy.v2 shows them; ApiError 404 for one that does not exist."""
    if constraint not in CONSTRAINTS:
        raise ApiError(404, "notFound", f"Constraint {constraint} is not found.")
    policy = store.get(KIND, constraint)
    if constraint in ENFORCED:
        return {"rules": [{"enforce": policy is not None}]}
    if policy is None:
        return {"rules": [{"allowAll": True}]}
    return {"rules": [{"values": {"allowedValues": policy["values"]}} if policy.get("values") else {"denyAll": True}]}


def location_names(region: str) -> tuple[str, ...]:
    """Return the names by which gcp.resourceLocations may allow a region."""
    return region, f"{region}-locations", f"{region.partition('-')[0]}-locations"


def check_location(store: Store, region: str, resource: str) -> None:
    """Raise ApiError 412 where no resource may be in the region."""
    if forbids(store, "gcp.resourceLocations", *location_names(region.lower())):
        text = (
            f"'{region.lower()}' violates constraint 'constraints/gcp.resourceLocations' on the resource '{resource}'."
        )
        raise ApiError(412, "conditionNotMet", text, status="FAILED_PRECONDITION")
