# SPDX-License-Identifier: GPL-3.0-or-later
"""Single methods of other services that clients need on the way: billing, Cloud Build's account, OS Login."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.iam.resources import project_named
from rehearsal.wire.calls import SIGNED_IN, Call, CheckedInside, method

PROFILES = "oslogin.profiles"
# OS Login numbers are derived from the account; they stay clear of the ids that a guest gives out itself.
FIRST_UID, UID_SPAN = 600_000_000, 100_000_000


@method("cloudbilling.projects.getBillingInfo", permission=CheckedInside("resourcemanager.projects.get"))
def billing_info(call: Call) -> dict[str, Any]:
    """Whether billing is enabled: without it Google serves neither VMs nor functions, not even for free."""
    project = project_named(call, call.params["name"], "resourcemanager.projects.get")
    enabled = call.cloud.identity.services.billing_enabled()
    return {
        "name": f"projects/{project['projectId']}/billingInfo",
        "projectId": project["projectId"],
        "billingAccountName": "billingAccounts/0X0X0X-0X0X0X-0X0X0X" if enabled else "",
        "billingEnabled": enabled,
    }


@method("cloudbuild.projects.locations.getDefaultServiceAccount", permission=CheckedInside("cloudbuild.builds.get"))
def build_account(call: Call) -> dict[str, Any]:
    """Which account builds run as: since 2024 the default compute account."""
    parts = call.params["name"].split("/")
    project = project_named(call, parts[1], "cloudbuild.builds.get")
    email = call.cloud.identity.default_compute_account(project["projectId"])
    return {
        "name": f"projects/{project['projectNumber']}/locations/{parts[3]}/defaultServiceAccount",
        "serviceAccountEmail": f"projects/{project['projectId']}/serviceAccounts/{email}",
    }


def _own_profile(call: Call) -> tuple[str, dict[str, Any]]:
    user = (call.params.get("name") or call.params["parent"]).split("/")[1]
    if user != call.principal:
        raise ApiError(403, "forbidden", f"The caller {call.principal} may not use the login profile of {user}.")
    profile = call.cloud.store.get(PROFILES, user)
    if profile is None:
        account = call.cloud.identity.accounts.find(user)
        number = account["uniqueId"] if account else user
        username = f"sa_{number}" if account else re.sub(r"[^a-z0-9]", "_", user.lower())[:32]
        uid = str(FIRST_UID + int(hashlib.sha256(user.encode()).hexdigest(), 16) % UID_SPAN)
        posix = {
            "primary": True,
            "username": username,
            "uid": uid,
            "gid": uid,
            "homeDirectory": f"/home/{username}",
            "shell": "/bin/bash",
        }
        posix |= {
            "systemId": "",
            "operatingSystemType": "LINUX",
            "accountId": call.project,
            "name": f"users/{user}/projects/{call.project}",
        }
        profile = {"name": number, "posixAccounts": [posix], "sshPublicKeys": {}}
    return user, profile


@method("oslogin.users.getLoginProfile", permission=SIGNED_IN)
def login_profile(call: Call) -> dict[str, Any]:
    """Return the caller's own login profile."""
    return _own_profile(call)[1]


@method("oslogin.users.importSshPublicKey", permission=SIGNED_IN)
def import_key(call: Call) -> dict[str, Any]:
    """Add an ssh key to the caller's own login profile."""
    user, profile = _own_profile(call)
    text = call.body.get("key", "").strip()
    if not text:
        raise ApiError(400, "badRequest", "Request contains an invalid argument: key is required.")
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    key = {"key": text, "fingerprint": fingerprint, "name": f"users/{user}/sshPublicKeys/{fingerprint}"}
    if call.body.get("expirationTimeUsec"):
        key["expirationTimeUsec"] = call.body["expirationTimeUsec"]
    profile["sshPublicKeys"][fingerprint] = key
    call.cloud.store.put(PROFILES, user, profile)
    return {"loginProfile": profile}
