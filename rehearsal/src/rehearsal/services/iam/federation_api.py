# SPDX-License-Identifier: GPL-3.0-or-later
"""iam.v1's workload identity pools and providers, and the Security Token Service that exchanges tokens (RFC 8693)."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.wrappers import Response

from rehearsal.services.iam.resources import project_named
from rehearsal.wire.calls import PUBLIC, Call, CheckedInside, method, raw_route

POOLS = "iam.workloadIdentityPools."
PROVIDERS = "iam.workloadIdentityPoolProviders."
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def _named(call: Call, name: str, permission: str) -> str:
    """Return the resource name with the project's number, once the caller is known to hold the permission."""
    _, project, rest = name.split("/", 2)
    return f"projects/{project_named(call, project, permission)['projectNumber']}/{rest}"


def _done(resource: dict[str, Any]) -> dict[str, Any]:
    kind = "WorkloadIdentityPoolProvider" if "/providers/" in resource["name"] else "WorkloadIdentityPool"
    response = {"@type": f"type.googleapis.com/google.iam.v1.{kind}"} | resource
    return {"name": f"{resource['name']}/operations/created", "done": True, "response": response}


@method("iam.projects.locations.workloadIdentityPools.create", permission=CheckedInside(POOLS + "create"))
def create_pool(call: Call) -> dict[str, Any]:
    """Create a pool of identities that another system vouches for."""
    parent = _named(call, call.params["parent"], POOLS + "create")
    name = f"{parent}/workloadIdentityPools/{call.params['workloadIdentityPoolId']}"
    return _done(call.cloud.identity.federation.create_pool(name, call.body))


@method("iam.projects.locations.workloadIdentityPools.get", permission=CheckedInside(POOLS + "get"))
def get_pool(call: Call) -> dict[str, Any]:
    """Describe a pool."""
    return call.cloud.identity.federation.get(_named(call, call.params["name"], POOLS + "get"))


@method("iam.projects.locations.workloadIdentityPools.providers.create", permission=CheckedInside(PROVIDERS + "create"))
def create_provider(call: Call) -> dict[str, Any]:
    """Create a provider: who vouches, and what of their tokens counts."""
    parent = _named(call, call.params["parent"], PROVIDERS + "create")
    name = f"{parent}/providers/{call.params['workloadIdentityPoolProviderId']}"
    return _done(call.cloud.identity.federation.create_provider(name, call.body))


@method("iam.projects.locations.workloadIdentityPools.providers.get", permission=CheckedInside(PROVIDERS + "get"))
def get_provider(call: Call) -> dict[str, Any]:
    """Describe a provider."""
    return call.cloud.identity.federation.get(_named(call, call.params["name"], PROVIDERS + "get"))


@raw_route(r"sts\.googleapis\.com", "POST", r"/v1/token", method_id="sts.token", permission=PUBLIC)
def exchange(call: Call) -> Response:
    """Exchange another system's token for one of Google's."""
    request = call.request
    sent = request.form if request.form else json.loads(request.get_data() or b"{}")
    values = {name.replace("_", "").lower(): value for name, value in sent.items()}
    identity = call.cloud.identity
    if values.get("granttype") != EXCHANGE:
        return _refused("unsupported_grant_type", f"Invalid grant_type: {values.get('granttype', '')}")
    try:
        principal = identity.federation.principal(values.get("audience", ""), values.get("subjecttoken", ""))
    except ValueError as error:
        return _refused("invalid_grant", str(error))
    issued = identity.tokens.issue_access(principal, tuple(values.get("scope", "").split()))
    return _json(issued | {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})


def _refused(error: str, description: str) -> Response:
    return _json({"error": error, "error_description": description}, 400)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json; charset=UTF-8")
