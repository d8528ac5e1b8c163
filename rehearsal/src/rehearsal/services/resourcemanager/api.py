# SPDX-License-Identifier: GPL-3.0-or-later
"""cloudresourcemanager v1 and v3: projects and their policies.

The two versions share method ids and differ in spelling.
"""

from __future__ import annotations

import base64
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import organisation
from rehearsal.services.iam.accounts import Project
from rehearsal.services.iam.resources import api_version, granted, project_named
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

P = "cloudresourcemanager.projects."


def _answer(call: Call, project: Project) -> dict[str, Any]:
    if api_version(call) == "v1":
        return {
            "projectNumber": project["projectNumber"],
            "projectId": project["projectId"],
            "lifecycleState": "ACTIVE",
            "name": project["name"],
            "createTime": project["createTime"],
        }
    return {
        "name": f"projects/{project['projectNumber']}",
        "projectId": project["projectId"],
        "state": "ACTIVE",
        "displayName": project["name"],
        "createTime": project["createTime"],
        "updateTime": project["createTime"],
        "etag": base64.b64encode(project["projectNumber"][-8:].encode()).decode(),
    }


def _visible(call: Call) -> list[Project]:
    identity = call.cloud.identity
    permission = "resourcemanager.projects.get"
    return [p for p in identity.accounts.projects() if identity.allowed(call.principal, permission, p["projectId"])]


@method("cloudresourcemanager.projects.get", permission=CheckedInside("resourcemanager.projects.get"))
def get(call: Call) -> dict[str, Any]:
    """Describe a project."""
    name = call.params.get("projectId") or call.params["name"]
    return _answer(call, project_named(call, name, "resourcemanager.projects.get"))


@method("cloudresourcemanager.projects.list", "cloudresourcemanager.projects.search", permission=SIGNED_IN)
def list_projects(call: Call) -> dict[str, Any]:
    """Return the projects that the caller may see, on one page. A v1 filter `id:X` or `projectId=X` is honoured."""
    if api_version(call) == "v3" and call.method_id == P + "list" and not call.params.get("parent"):
        raise ApiError(400, "badRequest", "Request contains an invalid argument: parent is required.")
    found = _visible(call)
    terms = (call.params.get("filter") or call.params.get("query") or "").replace("=", ":").split()
    for term in terms:
        field, _, value = term.partition(":")
        if field.lower() in ("id", "projectid"):
            found = [p for p in found if p["projectId"] == value.strip('"')]
    return {"projects": [_answer(call, p) for p in found]} if found else {}


@method("cloudresourcemanager.projects.getIamPolicy", permission=CheckedInside("resourcemanager.projects.getIamPolicy"))
def get_policy(call: Call) -> dict[str, Any]:
    """Who holds which role on the project."""
    project = project_named(call, call.params["resource"], "resourcemanager.projects.getIamPolicy")
    return call.cloud.identity.get_policy(f"projects/{project['projectId']}")


@method("cloudresourcemanager.projects.setIamPolicy", permission=CheckedInside("resourcemanager.projects.setIamPolicy"))
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the project's policy. Google refuses one that leaves the project without an owner."""
    project = project_named(call, call.params["resource"], "resourcemanager.projects.setIamPolicy")
    policy = call.body.get("policy", {})
    if not any(b.get("role") == "roles/owner" and b.get("members") for b in policy.get("bindings", [])):
        details = [
            {
                "@type": "type.googleapis.com/google.cloudresourcemanager.v1.ProjectIamPolicyError",
                "type": "SOLO_MUST_INVITE_OWNERS",
                "role": "roles/owner",
            }
        ]
        raise ApiError(400, "badRequest", "Request contains an invalid argument.", details=details)
    return call.cloud.identity.set_policy(f"projects/{project['projectId']}", policy)


@method("cloudresourcemanager.projects.testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Which permissions the caller holds on the project."""
    project = call.cloud.identity.accounts.project(call.params["resource"])
    return granted(call, project["projectId"]) if project else {}


@method("cloudresourcemanager.projects.getEffectiveOrgPolicy", permission=CheckedInside("orgpolicy.policy.get"))
def get_effective_org_policy(call: Call) -> dict[str, Any]:
    """Return what counts of one constraint, in the older form."""
    project_named(call, call.params["resource"], "orgpolicy.policy.get")
    constraint = call.body.get("constraint", "")
    name = constraint.removeprefix("constraints/")
    (rule,) = organisation.effective(call.cloud.store, name)["rules"]
    if name in organisation.ENFORCED:
        return {"constraint": constraint, "booleanPolicy": {"enforced": True} if rule["enforce"] else {}}
    values = rule.get("values") or {"allValues": "DENY" if rule.get("denyAll") else "ALLOW"}
    return {"constraint": constraint, "listPolicy": values}


@method("orgpolicy.projects.policies.getEffectivePolicy", permission=CheckedInside("orgpolicy.policy.get"))
def get_effective_policy(call: Call) -> dict[str, Any]:
    """Return what counts of one constraint, managed ones included."""
    _, project_name, _, constraint = call.params["name"].split("/")
    project = project_named(call, project_name, "orgpolicy.policy.get")
    spec = organisation.effective(call.cloud.store, constraint)
    return {"name": f"projects/{project['projectNumber']}/policies/{constraint}", "spec": spec}


@method("cloudresourcemanager.projects.getAncestry", permission=CheckedInside("resourcemanager.projects.get"))
def get_ancestry(call: Call) -> dict[str, Any]:
    """Return the project alone: there is no organisation above it."""
    project = project_named(call, call.params["projectId"], "resourcemanager.projects.get")
    return {"ancestor": [{"resourceId": {"type": "project", "id": project["projectId"]}}]}
