# SPDX-License-Identifier: GPL-3.0-or-later
"""The function as it is stored and as the API shows it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from rehearsal.errors import ApiError
from rehearsal.services.functions import names, runtimes
from rehearsal.services.functions.names import FunctionName
from rehearsal.services.functions.revisions import Revision
from rehearsal.store import Documents
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

ACTIVE, FAILED, DEPLOYING, DELETING = "ACTIVE", "FAILED", "DEPLOYING", "DELETING"
IN_PROGRESS = (DEPLOYING, DELETING)
OUTPUT_ONLY = (
    "name",
    "state",
    "stateMessages",
    "updateTime",
    "createTime",
    "url",
    "environment",
    "satisfiesPzs",
    "satisfiesPzi",
)
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# https://cloud.google.com/functions/docs/configuring/env-var#reserved
RESERVED = (
    "FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", "PORT",
)  # fmt: skip
NOT_REHEARSED = {
    "service": ("vpcConnector", "secretEnvironmentVariables", "secretVolumes", "directVpcNetworkInterface"),
    "build": ("workerPool",),
}
MAX_TIMEOUT, MAX_INSTANCES, MAX_CONCURRENCY = 3600, 1000, 1000


class Record(TypedDict):
    """A stored function: as the API returns it, the revision that answers requests, and how many there have been."""

    resource: dict[str, Any]
    serving: Revision | None
    revisions: int


FUNCTIONS: Documents[Record] = Documents("functions")


def bad_request(message: str) -> ApiError:
    """Return a 400 with this message."""
    return ApiError(400, "badRequest", message)


def require(cloud: Cloud, name: FunctionName) -> Record:
    """Return the record; ApiError 404 when there is no such function."""
    found = FUNCTIONS.get(cloud.store, name.key)
    if found is None:
        raise ApiError(404, "notFound", f"Resource '{name.resource}' was not found")
    return found


def snake_to_camel(path: str) -> str:
    """Return a field path in the JSON spelling: gcloud writes snake_case, the libraries camelCase."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), path)


def apply_mask(current: dict[str, Any], wanted: dict[str, Any], mask: str) -> dict[str, Any]:
    """Return `current` with the fields of `mask` taken from `wanted`; an empty mask names every field that was sent.

    A field that the mask names and `wanted` does not have is cleared. ApiError 400 for a field that cannot change.
    """
    paths = [snake_to_camel(path.strip()) for path in mask.split(",") if path.strip()]
    # "*" and no mask at all are the same here.
    paths = paths if paths and "*" not in paths else [field for field in wanted if field not in OUTPUT_ONLY]
    result: dict[str, Any] = json.loads(json.dumps(current))
    for path in paths:
        top, *rest = path.split(".")
        if top in OUTPUT_ONLY and top != "environment":
            raise bad_request(f"Invalid update mask: '{path}' cannot be changed.")
        target, source = result, wanted
        for step in [top, *rest][:-1]:
            target, source = target.setdefault(step, {}), source.get(step) or {}
        last = rest[-1] if rest else top
        if last in source:
            target[last] = source[last]
        else:
            target.pop(last, None)
    return result


def with_defaults(call: Call, name: FunctionName, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the resource with defaults filled in; ApiError 400 in one sentence for whatever cannot be deployed."""
    resource = {field: value for field, value in wanted.items() if field not in OUTPUT_ONLY}
    if wanted.get("environment") not in (None, "GEN_2", "ENVIRONMENT_UNSPECIFIED"):
        raise bad_request(f"environment {wanted['environment']} is not supported; only GEN_2 functions are.")
    if resource.get("eventTrigger"):
        raise bad_request("event triggers are not supported here; deploy an HTTP function (no eventTrigger).")
    _check_labels(resource.get("labels", {}))
    build, service = dict(resource.get("buildConfig") or {}), dict(resource.get("serviceConfig") or {})
    for part, fields in ((build, NOT_REHEARSED["build"]), (service, NOT_REHEARSED["service"])):
        for field in fields:
            if part.get(field):
                raise bad_request(f"{field} is not supported here; deploy without it.")
    if not build.get("runtime"):
        raise bad_request("build_config.runtime is required.")
    runtimes.check(build["runtime"])
    if not build.get("entryPoint"):
        raise bad_request("build_config.entry_point is required.")
    if not build.get("source", {}).get("storageSource", {}).get("bucket"):
        raise bad_request("build_config.source.storage_source is required; other sources are not supported here.")
    build.setdefault("automaticUpdatePolicy", {})
    build.setdefault("dockerRegistry", "ARTIFACT_REGISTRY")
    repository = f"projects/{name.project}/locations/{name.region}/repositories/gcf-artifacts"
    build.setdefault("dockerRepository", repository)
    compute = call.cloud.identity.default_compute_account(name.project)
    build.setdefault("serviceAccount", f"projects/{name.project}/serviceAccounts/{compute}")
    resource["buildConfig"] = build
    resource["serviceConfig"] = _service_with_defaults(call, service, compute)
    resource["serviceConfig"] |= {"service": name.service, "uri": name.uri}
    return resource | {"name": name.resource, "environment": "GEN_2", "url": name.url, "satisfiesPzi": True}


def _service_with_defaults(call: Call, service: dict[str, Any], default_account: str) -> dict[str, Any]:
    service["availableMemory"] = service.get("availableMemory") or "256M"
    memory = names.memory_bytes(service["availableMemory"])
    service["availableCpu"] = service.get("availableCpu") or names.default_cpu(memory)
    for field, default, lowest, highest in (
        ("timeoutSeconds", 60, 1, MAX_TIMEOUT),
        ("maxInstanceCount", 100, 1, MAX_INSTANCES),
        ("minInstanceCount", 0, 0, MAX_INSTANCES),
        ("maxInstanceRequestConcurrency", 1, 1, MAX_CONCURRENCY),
    ):
        value = int(service.get(field) or default)
        if not lowest <= value <= highest:
            raise bad_request(f"Invalid value for {field}: {value}. It must be between {lowest} and {highest}.")
        service[field] = value
    if service["minInstanceCount"] > service["maxInstanceCount"]:
        raise bad_request("minInstanceCount must not be larger than maxInstanceCount.")
    try:
        cpu = float(service["availableCpu"])
    except ValueError:
        raise bad_request(f"Invalid value for available_cpu: '{service['availableCpu']}'.") from None
    if cpu < 1 and service["maxInstanceRequestConcurrency"] > 1:
        raise bad_request("Total cpu < 1 is not supported with concurrency > 1.")
    _check_variables(service.get("environmentVariables", {}))
    service["environmentVariables"] = {"LOG_EXECUTION_ID": "true"} | service.get("environmentVariables", {})
    email = service.get("serviceAccountEmail") or default_account
    if call.cloud.identity.accounts.find(email) is None:
        raise bad_request(f"Service account projects/-/serviceAccounts/{email} was not found.")
    service["serviceAccountEmail"] = email
    service.setdefault("ingressSettings", "ALLOW_ALL")
    service["allTrafficOnLatestRevision"] = True
    return service


def _check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise bad_request(
                f"Invalid label {key}={value}: keys and values are at most 63 lower-case letters, digits, hyphens and "
                "underscores, and a key begins with a letter."
            )


def _check_variables(variables: dict[str, str]) -> None:
    for key in variables:
        if key in RESERVED or key.startswith("X_GOOGLE_"):
            raise bad_request(f"The environment variable {key} is reserved and cannot be set.")
        if not VARIABLE.fullmatch(key):
            raise bad_request(f"The environment variable name '{key}' is not valid.")


def mark_failed(record: Record, text: str) -> None:
    """Say that a deployment failed: the function stays as it served before, or is FAILED if it never did."""
    serving = record["serving"] is not None
    record["resource"]["state"] = ACTIVE if serving else FAILED
    severity = "WARNING" if serving else "ERROR"
    record["resource"]["stateMessages"] = [{"severity": severity, "type": "DeploymentFailure", "message": text}]


def nanoseconds() -> str:
    """Return the time as Cloud Functions writes it: RFC 3339 with nine digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def with_update_time(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the resource with its update time set to now."""
    return resource | {"updateTime": nanoseconds()}
