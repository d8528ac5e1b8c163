# SPDX-License-Identifier: GPL-3.0-or-later
"""iam.v1: the custom roles of a project, and the predefined ones."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import roles
from rehearsal.services.iam.custom_roles import ROLE_ID, STAGES, Role
from rehearsal.services.iam.known_permissions import ORGANISATION_ONLY, check_permissions, known_permissions
from rehearsal.services.iam.policies import decoded
from rehearsal.services.iam.resources import project_of
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

R = "iam.projects.roles."
PROJECTS = "//cloudresourcemanager.googleapis.com/projects/"
FIELDS = ("title", "description", "includedPermissions", "stage")


def _project(call: Call, name: str, permission: str) -> str:
    project = project_of(call, name.split("/")[1])
    call.cloud.identity.authorize(call.principal, permission, project)
    return project


def _named(call: Call, permission: str) -> tuple[str, Role]:
    project = _project(call, call.params["name"], permission)
    name = f"projects/{project}/roles/{call.params['name'].rpartition('/')[2]}"
    role = call.cloud.identity.custom_roles.get(name)
    if role is None:
        raise ApiError(404, "notFound", f"The role named {name} was not found.")
    return name, role


def _check_etag(call: Call, role: Role, sent: str) -> None:
    if sent and decoded(sent) != decoded(role["etag"]):
        raise ApiError(409, "aborted", "There were concurrent changes to the role.", status="ABORTED")


def _validated(wanted: Role) -> Role:
    if wanted.get("stage", "ALPHA") not in STAGES:
        raise ApiError(400, "badRequest", f"Invalid value for role.stage: {wanted['stage']}.")
    if len(wanted.get("title", "")) > 100 or len(wanted.get("description", "")) > 300:
        raise ApiError(400, "badRequest", "A role's title has at most 100 characters, its description 300.")
    check_permissions(wanted.get("includedPermissions", []))
    if "includedPermissions" in wanted:
        wanted["includedPermissions"] = sorted(set(wanted["includedPermissions"]))
    return wanted


@method("iam.projects.roles.create", permission=CheckedInside("iam.roles.create"))
def create(call: Call) -> dict[str, Any]:
    """Create a custom role."""
    project = _project(call, call.params["parent"] + "/", "iam.roles.create")
    role_id = call.body.get("roleId", "")
    if not ROLE_ID.fullmatch(role_id):
        raise ApiError(
            400, "badRequest", f"The role_id ({role_id}) must be 3 to 64 letters, digits, underscores or periods."
        )
    name, custom = f"projects/{project}/roles/{role_id}", call.cloud.identity.custom_roles
    wanted = {key: value for key, value in call.body.get("role", {}).items() if key in FIELDS}
    with call.cloud.store.lock:
        known = custom.get(name)
        if known and known.get("deleted"):
            text = (
                f"You can't create a role with role_id ({role_id}) where there is an existing role with that role_id "
                "in a deleted state."
            )
            raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
        if custom.is_taken(name):
            text = f"You can't create a role_id ({role_id}) which has been marked for deletion."
            raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
        if known:
            raise ApiError(409, "alreadyExists", f"A role named {role_id} in projects/{project} already exists.")
        return custom.put(name, {"stage": "ALPHA"} | _validated(wanted))


@method("iam.projects.roles.get", permission=CheckedInside("iam.roles.get"))
def get(call: Call) -> dict[str, Any]:
    """Describe a custom role; a deleted one is shown with `deleted`."""
    name, role = _named(call, "iam.roles.get")
    return call.cloud.identity.custom_roles.shown(name, role)


@method("iam.projects.roles.list", permission=CheckedInside("iam.roles.list"))
def list_roles(call: Call) -> dict[str, Any]:
    """List the project's custom roles, on one page; permissions only in the view FULL."""
    project, custom = _project(call, call.params["parent"] + "/", "iam.roles.list"), call.cloud.identity.custom_roles
    shown = [
        custom.shown(name, {key: value for key, value in role.items() if _full(call) or key != "includedPermissions"})
        for name, role in custom.of_project(project)
        if not role.get("deleted") or str(call.params.get("showDeleted", "")).lower() == "true"
    ]
    return {"roles": shown} if shown else {}


def _full(call: Call) -> bool:
    return bool(call.params.get("view") == "FULL")


@method("iam.projects.roles.patch", permission=CheckedInside("iam.roles.update"))
def patch(call: Call) -> dict[str, Any]:
    """Change what the update mask names, or everything given."""
    name, role = _named(call, "iam.roles.update")
    if role.get("deleted"):
        raise ApiError(400, "failedPrecondition", f"The role {name} is deleted.", status="FAILED_PRECONDITION")
    _check_etag(call, role, call.body.get("etag", ""))
    spelled = {"included_permissions": "includedPermissions"}
    given = [key for key in FIELDS if key in call.body]
    mask = [path.strip() for path in call.params.get("updateMask", "").split(",") if path.strip()] or given
    changes = {spelled.get(path, path): call.body.get(spelled.get(path, path)) for path in mask}
    if set(changes) - set(FIELDS):
        raise ApiError(400, "badRequest", f"Invalid update mask: {','.join(mask)}.")
    kept = _validated({key: value for key, value in changes.items() if value is not None})
    with call.cloud.store.lock:
        left = {key: value for key, value in role.items() if key not in changes}
        return call.cloud.identity.custom_roles.put(name, left | kept)


@method("iam.projects.roles.delete", permission=CheckedInside("iam.roles.delete"))
def delete(call: Call) -> dict[str, Any]:
    """Delete a role: bindings to it stay and give nothing."""
    name, role = _named(call, "iam.roles.delete")
    _check_etag(call, role, call.params.get("etag", ""))
    return call.cloud.identity.custom_roles.delete(name, role)


@method("iam.projects.roles.undelete", permission=CheckedInside("iam.roles.undelete"))
def undelete(call: Call) -> dict[str, Any]:
    """Bring a deleted role back."""
    name, role = _named(call, "iam.roles.undelete")
    _check_etag(call, role, call.body.get("etag", ""))
    if not role.get("deleted"):
        raise ApiError(400, "failedPrecondition", f"The role {name} is not deleted.", status="FAILED_PRECONDITION")
    return call.cloud.identity.custom_roles.put(name, {key: value for key, value in role.items() if key != "deleted"})


def _predefined(name: str, full: bool) -> dict[str, Any]:
    row = roles.table()[name]
    told: dict[str, Any] = {key: row[key] for key in ("title", "description") if key in row}
    described = {"name": name, "stage": "GA", "etag": "AA==", **told}
    if not full:
        return described
    held = sorted(permission for permission in known_permissions() if roles.grants(name, permission))
    return described | {"includedPermissions": held}


@method("iam.roles.get", permission=SIGNED_IN)
def get_predefined(call: Call) -> dict[str, Any]:
    """Describe a predefined role, with those of its permissions that exist here."""
    if not roles.exists(call.params["name"]):
        raise ApiError(404, "notFound", f"The role named {call.params['name']} was not found.")
    return _predefined(call.params["name"], True)


@method("iam.roles.list", permission=SIGNED_IN)
def list_predefined(call: Call) -> dict[str, Any]:
    """List the predefined roles of the table, on one page."""
    return {"roles": [_predefined(name, _full(call)) for name in sorted(roles.table())]}


@method("iam.permissions.queryTestablePermissions", permission=CheckedInside("resourcemanager.projects.get"))
def query_testable_permissions(call: Call) -> dict[str, Any]:
    """List, page by page, what a project's custom role can carry; gcloud asks before it makes one."""
    given = call.body.get("fullResourceName", "")
    if not given.startswith(PROJECTS):
        raise ApiError(400, "badRequest", f"Invalid full resource name: {given}.")
    project = _project(call, f"projects/{given.removeprefix(PROJECTS)}", "resourcemanager.projects.get")
    names = sorted(known_permissions() | ORGANISATION_ONLY)
    token, size = call.body.get("pageToken") or "0", int(call.body.get("pageSize") or 100)
    if not token.isdigit() or not 0 < size <= 1000:
        raise ApiError(400, "badRequest", "Invalid page token or page size.")
    begin, end = int(token), int(token) + size
    services = call.cloud.identity.services
    page: dict[str, Any] = {"permissions": []}
    for name in names[begin:end]:
        permission: dict[str, Any] = {"name": name, "stage": "GA"}
        if name in ORGANISATION_ONLY:
            permission["customRolesSupportLevel"] = "NOT_SUPPORTED"
        api = f"{name.partition('.')[0]}.googleapis.com"
        if services.known(api) and not services.is_enabled(project, api):
            permission["apiDisabled"] = True
        page["permissions"].append(permission)
    return page | ({"nextPageToken": str(end)} if end < len(names) else {})
