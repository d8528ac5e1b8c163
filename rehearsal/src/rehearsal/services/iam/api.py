# SPDX-License-Identifier: GPL-3.0-or-later
"""iam.v1: service accounts, their keys and their policies."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam import keys, organisation
from rehearsal.services.iam.accounts import Account, Key
from rehearsal.services.iam.resources import account_named, granted, project_of
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

ACCOUNT_ID = re.compile(r"[a-z]([a-z0-9-]{4,28}[a-z0-9])")
A = "iam.projects.serviceAccounts."
P = "iam.serviceAccounts."


def _etag(account: Account) -> str:
    return base64.b64encode(account["uniqueId"][-8:].encode()).decode()


def _answer(call: Call, account: Account) -> dict[str, Any]:
    answer = {
        "name": call.cloud.identity.accounts.name_of(account),
        "projectId": account["projectId"],
        "uniqueId": account["uniqueId"],
        "email": account["email"],
        "etag": _etag(account),
        "oauth2ClientId": account["uniqueId"],
    }
    optional = ("displayName", "description", "disabled")
    return answer | {name: value for name, value in account.items() if name in optional and value}


@method("iam.projects.serviceAccounts.create", permission=CheckedInside("iam.serviceAccounts.create"))
def create(call: Call) -> dict[str, Any]:
    """Create a service account."""
    project = project_of(call, call.params["name"].split("/")[1])
    identity = call.cloud.identity
    identity.authorize(call.principal, P + "create", project)
    constraints = ("iam.disableServiceAccountCreation", "iam.managed.disableServiceAccountCreation")
    if organisation.is_enforced(call.cloud.store, *constraints):
        text = "Service account creation is not allowed on this project."
        raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
    account_id, wanted = call.body.get("accountId", ""), call.body.get("serviceAccount", {})
    if not ACCOUNT_ID.fullmatch(account_id):
        raise ApiError(
            400,
            "badRequest",
            f'Invalid service account ID: "{account_id}". It must be 6 to 30 characters of lower-case letters, digits '
            "and hyphens, begin with a letter and not end with a hyphen.",
        )
    account = identity.accounts.create(
        project,
        f"{account_id}@{project}.iam.gserviceaccount.com",
        display_name=wanted.get("displayName", ""),
        description=wanted.get("description", ""),
    )
    return _answer(call, account)


@method("iam.projects.serviceAccounts.get", permission=CheckedInside("iam.serviceAccounts.get"))
def get(call: Call) -> dict[str, Any]:
    """Describe a service account."""
    return _answer(call, account_named(call, call.params["name"], P + "get"))


@method("iam.projects.serviceAccounts.list", permission=CheckedInside("iam.serviceAccounts.list"))
def list_accounts(call: Call) -> dict[str, Any]:
    """List the project's service accounts, on one page."""
    project = project_of(call, call.params["name"].split("/")[1])
    call.cloud.identity.authorize(call.principal, P + "list", project)
    found = [_answer(call, account) for account in call.cloud.identity.accounts.in_project(project)]
    return {"accounts": found} if found else {}


@method("iam.projects.serviceAccounts.delete", permission=CheckedInside("iam.serviceAccounts.delete"))
def delete(call: Call) -> dict[str, Any]:
    """Delete a service account."""
    account = account_named(call, call.params["name"], P + "delete")
    call.cloud.identity.accounts.delete(account["email"])
    return {}


@method("iam.projects.serviceAccounts.undelete", permission=CheckedInside("iam.serviceAccounts.undelete"))
def undelete(call: Call) -> dict[str, Any]:
    """Bring a deleted service account back, by its unique id."""
    _, project_name, _, unique_id = call.params["name"].split("/")
    call.cloud.identity.authorize(call.principal, P + "undelete", project_of(call, project_name))
    account = call.cloud.identity.accounts.undelete(unique_id)
    if account is None:
        raise ApiError(
            404, "notFound", f"Service account {unique_id} was not found among those deleted in the last 30 days."
        )
    return {"restoredAccount": _answer(call, account)}


@method("iam.projects.serviceAccounts.patch", permission=CheckedInside("iam.serviceAccounts.update"))
def patch(call: Call) -> dict[str, Any]:
    """Change display name and description, as the update mask says."""
    account = account_named(call, call.params["name"], P + "update")
    wanted = call.body.get("serviceAccount", {})
    fields = {"displayName": "displayName", "display_name": "displayName", "description": "description"}
    changes = {}
    for path in call.body.get("updateMask", "").split(","):
        name = fields.get(path.removeprefix("serviceAccount.").strip())
        if name is None:
            raise ApiError(
                400, "badRequest", f"Invalid update mask: '{path}'. Only display_name and description can change."
            )
        changes[name] = wanted.get(name, "")
    return _answer(call, call.cloud.identity.accounts.update(account["email"], **changes))


@method("iam.projects.serviceAccounts.update", permission=CheckedInside("iam.serviceAccounts.update"))
def update(call: Call) -> dict[str, Any]:
    """Change the display name (the older way)."""
    account = account_named(call, call.params["name"], P + "update")
    changes = {name: call.body[name] for name in ("displayName", "description") if name in call.body}
    return _answer(call, call.cloud.identity.accounts.update(account["email"], **changes))


@method(
    "iam.projects.serviceAccounts.enable",
    "iam.projects.serviceAccounts.disable",
    permission=CheckedInside("iam.serviceAccounts.disable", "iam.serviceAccounts.enable"),
)
def set_enabled(call: Call) -> dict[str, Any]:
    """Enable or disable a service account."""
    verb = call.method_id.rsplit(".", 1)[1]
    account = account_named(call, call.params["name"], P + verb)
    call.cloud.identity.accounts.update(account["email"], disabled=verb == "disable")
    return {}


@method("iam.projects.serviceAccounts.getIamPolicy", permission=CheckedInside("iam.serviceAccounts.getIamPolicy"))
def get_policy(call: Call) -> dict[str, Any]:
    """Who may use and administer the account."""
    account = account_named(call, call.params["resource"], P + "getIamPolicy")
    return call.cloud.identity.get_policy(f"serviceAccounts/{account['email']}")


@method("iam.projects.serviceAccounts.setIamPolicy", permission=CheckedInside("iam.serviceAccounts.setIamPolicy"))
def set_policy(call: Call) -> dict[str, Any]:
    """Replace the account's policy."""
    account = account_named(call, call.params["resource"], P + "setIamPolicy")
    return call.cloud.identity.set_policy(f"serviceAccounts/{account['email']}", call.body.get("policy", {}))


@method("iam.projects.serviceAccounts.testIamPermissions", permission=SIGNED_IN)
def test_permissions(call: Call) -> dict[str, Any]:
    """Which permissions the caller holds on the account."""
    account = call.cloud.identity.accounts.find(call.params["resource"])
    if account is None:
        return {}
    return granted(call, account["projectId"], f"serviceAccounts/{account['email']}")


# Keys


def _key_answer(name: str, document: Key) -> dict[str, Any]:
    answer = {
        "name": name,
        "keyAlgorithm": "KEY_ALG_RSA_2048",
        "keyOrigin": "GOOGLE_PROVIDED",
        "keyType": document["keyType"],
        "validAfterTime": document["validAfterTime"],
        "validBeforeTime": document["validBeforeTime"],
    }
    return answer | ({"disabled": True} if document.get("disabled") else {})


@method("iam.projects.serviceAccounts.keys.create", permission=CheckedInside("iam.serviceAccountKeys.create"))
def create_key(call: Call) -> dict[str, Any]:
    """Make a user-managed key; the answer is the only time that its private half is shown."""
    account = account_named(call, call.params["name"], "iam.serviceAccountKeys.create")
    constraints = ("iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation")
    if organisation.is_enforced(call.cloud.store, *constraints):
        text = "Key creation is not allowed on this service account."
        raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
    kind = call.body.get("privateKeyType", "TYPE_GOOGLE_CREDENTIALS_FILE")
    if kind not in ("TYPE_GOOGLE_CREDENTIALS_FILE", "TYPE_UNSPECIFIED"):
        raise ApiError(400, "badRequest", f"privateKeyType {kind} is not supported; use TYPE_GOOGLE_CREDENTIALS_FILE.")
    accounts = call.cloud.identity.accounts
    document, pair = accounts.new_key(account)
    file = keys.key_file(pair, project=account["projectId"], email=account["email"], unique_id=account["uniqueId"])
    answer = _key_answer(f"{accounts.name_of(account)}/keys/{pair.key_id}", document)
    data = base64.b64encode((json.dumps(file, indent=2) + "\n").encode()).decode()
    return answer | {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "privateKeyData": data}


@method("iam.projects.serviceAccounts.keys.list", permission=CheckedInside("iam.serviceAccountKeys.list"))
def list_keys(call: Call) -> dict[str, Any]:
    """List the account's keys, optionally of the given types."""
    account = account_named(call, call.params["name"], "iam.serviceAccountKeys.list")
    accounts = call.cloud.identity.accounts
    wanted = call.params.get("keyTypes") or ["USER_MANAGED", "SYSTEM_MANAGED"]
    wanted = [wanted] if isinstance(wanted, str) else wanted
    prefix = accounts.name_of(account)
    found = [_key_answer(f"{prefix}/keys/{i}", d) for i, d in accounts.keys(account["email"]) if d["keyType"] in wanted]
    return {"keys": found} if found else {}


def _key_named(call: Call, permission: str) -> tuple[Account, str, Key]:
    name, _, key_id = call.params["name"].partition("/keys/")
    account = account_named(call, name, permission)
    document = call.cloud.identity.accounts.key(account["email"], key_id)
    if document is None:
        raise ApiError(404, "notFound", f"Service account key {key_id} does not exist.")
    return account, key_id, document


@method("iam.projects.serviceAccounts.keys.get", permission=CheckedInside("iam.serviceAccountKeys.get"))
def get_key(call: Call) -> dict[str, Any]:
    """Describe a key, with its certificate where asked for."""
    account, key_id, document = _key_named(call, "iam.serviceAccountKeys.get")
    answer = _key_answer(f"{call.cloud.identity.accounts.name_of(account)}/keys/{key_id}", document)
    if call.params.get("publicKeyType") == "TYPE_X509_PEM_FILE":
        answer["publicKeyData"] = base64.b64encode(document["certificate"].encode()).decode()
    return answer


@method("iam.projects.serviceAccounts.keys.delete", permission=CheckedInside("iam.serviceAccountKeys.delete"))
def delete_key(call: Call) -> dict[str, Any]:
    """Delete a user-managed key: what it signed is no longer accepted."""
    account, key_id, document = _key_named(call, "iam.serviceAccountKeys.delete")
    if document["keyType"] == "SYSTEM_MANAGED":
        raise ApiError(400, "badRequest", "Google-managed keys cannot be deleted.")
    call.cloud.identity.accounts.delete_key(account["email"], key_id)
    return {}


@method(
    "iam.projects.serviceAccounts.keys.enable",
    "iam.projects.serviceAccounts.keys.disable",
    permission=CheckedInside("iam.serviceAccountKeys.disable", "iam.serviceAccountKeys.enable"),
)
def set_key_enabled(call: Call) -> dict[str, Any]:
    """Enable or disable a user-managed key."""
    verb = call.method_id.rsplit(".", 1)[1]
    account, key_id, document = _key_named(call, f"iam.serviceAccountKeys.{verb}")
    call.cloud.identity.accounts.put_key(account["email"], key_id, document | {"disabled": verb == "disable"})
    return {}
