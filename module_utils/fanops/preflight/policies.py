# SPDX-License-Identifier: GPL-3.0-or-later
"""Organisation policies that would stop the run: each with what it stops and a way through.

A new organisation has some of them from the start; a project without one has none.
https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.preflight.findings import Finding

Options = dict[str, Any]


@dataclass(frozen=True)
class Constraint:
    """One constraint, under its names (a managed one replaces the older), and what it forbids of us.

    ``needed`` says under which options it matters. A list constraint allows values: ``values`` returns those of which it must
    allow one. ``remedy`` is a format string over the options, with ``project`` and ``constraint``; ``note`` follows it as it is.
    """

    names: tuple[str, ...]
    forbids: str
    remedy: str
    needed: Callable[[Options], bool] = lambda options: True
    values: Callable[[Options], list[str]] | None = None
    note: str = ""


DISABLE = "gcloud resource-manager org-policies disable-enforce {constraint} --project={project}"
ALLOW = "gcloud resource-manager org-policies allow {constraint} {value} --project={project}"
# Managed constraints are known to the newer commands only, which take a file. They are on or off, also where the older one lists values.
SWITCH_OFF = (
    """gcloud org-policies set-policy <(echo '{{"name": "projects/{project}/policies/{constraint}", "spec": {{"rules": """
    """[{{"enforce": false}}]}}}}')"""
)
NO_ADDRESS = " (without an external address nothing works: connections through IAP are not supported)"


def _vm_needed(options: Options) -> bool:
    return bool(options["vm_needed"])


def _vm_path(options: Options) -> list[str]:
    return [f"projects/{options['project']}/zones/{options['zone']}/instances/{options['vm_name']}"]


def _region_names(options: Options) -> list[str]:
    """Google's names for a region: itself, and the groups that it belongs to."""
    region = str(options["region"]).lower()
    return [region, f"in:{region}-locations", f"in:{region.partition('-')[0]}-locations", f"{region}-locations"]


CONSTRAINTS = (
    Constraint(
        ("compute.requireOsLogin", "compute.managed.requireOsLogin"),
        "the VM's SSH key, which is kept in its metadata",
        DISABLE,
        _vm_needed,
    ),
    Constraint(
        ("compute.disableGuestAttributesAccess", "compute.managed.disableGuestAttributesAccess"),
        "the guest attributes, by which the VM tells its SSH host keys",
        DISABLE,
        _vm_needed,
    ),
    Constraint(
        ("compute.vmExternalIpAccess", "compute.managed.vmExternalIpAccess"),
        "the VM's external address, by which this controller reaches it and it reaches Google",
        ALLOW,
        _vm_needed,
        _vm_path,
        NO_ADDRESS,
    ),
    Constraint(
        ("compute.trustedImageProjects",),
        "Debian's images",
        ALLOW,
        _vm_needed,
        lambda options: ["projects/debian-cloud", "is:projects/debian-cloud", "under:projects/debian-cloud"],
    ),
    Constraint(
        ("gcp.resourceLocations",),
        "resources in {region}",
        "-e gcp_region=<one that it allows>, or {allow}",
        values=_region_names,
    ),
    Constraint(
        ("iam.disableServiceAccountCreation", "iam.managed.disableServiceAccountCreation"),
        "the service accounts of trainer and function",
        DISABLE,
    ),
    Constraint(
        ("iam.allowedPolicyMemberDomains",),
        "a function that everybody may call",
        "-e function_public=false, or have the function's project excepted from it",
        lambda options: bool(options["function_public"]),
        lambda options: ["allUsers"],
    ),
    Constraint(
        ("cloudfunctions.allowedIngressSettings",),
        "a function that is reached from outside the project's network",
        ALLOW,
        values=lambda options: ["ALLOW_ALL"],
    ),
)


def check(client: Client, options: Options, constraint: Constraint) -> list[Finding]:
    """The finding for one constraint, if it is in force."""
    options = {**options, "project": client.project}
    if not constraint.needed(options):
        return []
    for name in constraint.names:
        rules = _rules(client, name)
        wanted = constraint.values(options) if constraint.values else []
        if not any(_forbids(rule, wanted) for rule in rules):
            continue
        values = {**options, "constraint": name, "value": wanted[0] if wanted else ""}
        values["allow"] = ALLOW.format(**values)
        found = f"the organisation policy {name} forbids {constraint.forbids.format(**values)}"
        remedy = SWITCH_OFF if ".managed." in name else constraint.remedy
        return [Finding(name, found, remedy.format(**values) + constraint.note)]
    return []


def _rules(client: Client, name: str) -> list[dict[str, Any]]:
    url = f"https://orgpolicy.googleapis.com/v2/projects/{segment(client.project)}/policies/{name}:getEffectivePolicy"
    try:
        answer = client.get(url, attempting=f"read the organisation policy {name}")
    except GoogleApiError as error:
        if error.status == 404:  # a constraint that Google does not offer here
            return []
        raise
    return list(answer.get("spec", {}).get("rules", []))


def _forbids(rule: dict[str, Any], wanted: list[str]) -> bool:
    if rule.get("enforce") or rule.get("denyAll"):
        return True
    values = rule.get("values", {})
    allowed, denied = values.get("allowedValues"), values.get("deniedValues", [])
    return bool(wanted) and (
        (allowed is not None and not set(allowed) & set(wanted)) or bool(set(denied) & set(wanted))
    )
