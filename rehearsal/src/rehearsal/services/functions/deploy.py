# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploying: the stages BUILD and SERVICE of a long-running operation.

The revision before keeps answering until the new one is ready, and stays when the new one fails.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal import trouble
from rehearsal.machine.containers import ContainerError
from rehearsal.machine.images import ImageError
from rehearsal.machine.network import NetworkError
from rehearsal.services.artifactregistry import images
from rehearsal.services.functions import addresses, buckets, build, instances, names, operations, records, uploads
from rehearsal.services.functions.build import BuildError, Built
from rehearsal.services.functions.instances import StartError
from rehearsal.services.functions.names import FunctionName
from rehearsal.services.functions.operations import Operation
from rehearsal.services.functions.revisions import Revision
from rehearsal.services.functions.uploads import SourceError
from rehearsal.services.iam.accounts import timestamp

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

LOGGER = logging.getLogger("rehearsal.services.functions")
STAGES = ("BUILD", "SERVICE")
CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxz", "aeiouy"
LOG_URL = "https://console.cloud.google.com/cloud-build/builds;region={region}/{build}?project={number}"
DOCUMENTATION = "https://cloud.google.com/run/docs/troubleshooting#container-failed-to-start"


class DeployError(Exception):
    """A deployment that failed, with the google.rpc code for its operation."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def build_log(cloud: Cloud, build_id: str) -> Path:
    """Return where the log of a build is kept."""
    return cloud.settings.home / "functions" / "build-logs" / f"{build_id}.log"


def deploy(cloud: Cloud, name: FunctionName, wanted: dict[str, Any], operation: Operation) -> None:
    """Carry out a create or update to its end, whatever that is; runs in the background."""
    try:
        _deploy(cloud, name, wanted, operation)
    except DeployError as error:
        _failed(cloud, name, operation, error.code, str(error))
    except Exception as error:
        LOGGER.exception("deploying %s", name.resource)
        _failed(cloud, name, operation, operations.INTERNAL, f"Internal error while deploying: {error}")


def _deploy(cloud: Cloud, name: FunctionName, wanted: dict[str, Any], operation: Operation) -> None:
    record = records.require(cloud, name)
    before = record["serving"]
    built, generation = _build(cloud, name, wanted, operation)
    revision = _revision(cloud, name, wanted, built, record["revisions"] + 1)
    operation.stage("SERVICE", "IN_PROGRESS", "Creating or updating service", resource=name.service)
    try:
        instances.start(cloud, revision)
    except (StartError, NetworkError) as error:
        raise DeployError(operations.INVALID_ARGUMENT, _not_ready(name, revision, str(error))) from error
    operation.stage("SERVICE", "COMPLETE", "Deployed", resource=name.service)
    _finish(cloud, name, wanted, revision, generation, operation)
    if before is not None:
        instances.remove(cloud, before)


def _build(cloud: Cloud, name: FunctionName, wanted: dict[str, Any], operation: Operation) -> tuple[Built, str]:
    """Fetch and build the source; returns what was built and the archive's generation."""
    number = cloud.identity.project_number(name.project)
    config = wanted["buildConfig"]
    build_id = str(uuid.uuid4())
    config["build"] = f"projects/{number}/locations/{name.region}/builds/{build_id}"
    url = LOG_URL.format(region=name.region, build=build_id, number=number)
    operation.stage("BUILD", "IN_PROGRESS", "Building", resource=config["build"], resourceUri=url)
    _check_builder(cloud, name)
    _check_agent(cloud, name)
    try:
        digest, generation = uploads.resolve(cloud, name.project, config["source"]["storageSource"])
        with _Log(build_log(cloud, build_id)) as say:
            built = build.build(cloud, name, config["runtime"], digest, say)
    except SourceError as error:
        raise DeployError(operations.INVALID_ARGUMENT, f"Could not read the source: {error}.") from error
    except (BuildError, ImageError, ContainerError, NetworkError) as error:
        message = f"Build failed with status: FAILURE and message: {error}\nFor more details see the logs at {url}"
        raise DeployError(operations.INVALID_ARGUMENT, message) from error
    _leave(cloud, name, number, built)
    operation.stage("BUILD", "COMPLETE", "Built", resource=config["build"], resourceUri=url)
    return built, generation


def _leave(cloud: Cloud, name: FunctionName, number: str, built: Built) -> None:
    """Keep source and image in the project, as Google does for every build; nobody deletes them with the function."""
    archive = uploads.archive(cloud, built.source).read_bytes()
    bucket = buckets.sources(number, name.region)
    buckets.store(cloud, name.project, bucket, name.region, f"{name.id}/function-source.zip", archive)
    installed = build.environment_folder(cloud, built.environment)
    size = sum(path.lstat().st_size for path in installed.rglob("*") if path.is_file())
    images.push(cloud.store, name.project, name.region, name.id, size)


def _check_agent(cloud: Cloud, name: FunctionName) -> None:
    """Raise DeployError while Google's agent, made for the project's first function, has no access to the repository yet."""
    known = trouble.setting(cloud.store, trouble.AGENT_DELAY)
    if not known:
        return
    if "until" not in known:
        known["until"] = time.time() + known["seconds"]
        cloud.store.put(trouble.KIND, trouble.AGENT_DELAY, known)
    if time.time() < known["until"]:
        trouble.count_hit(cloud.store, trouble.AGENT_DELAY)
        repository = f"projects/{name.project}/locations/{name.region}/repositories/gcf-artifacts"
        raise DeployError(
            operations.PERMISSION_DENIED,
            f"Unable to retrieve the repository metadata for {repository}. Ensure that the Cloud Functions service account has "
            "'artifactregistry.repositories.list' and 'artifactregistry.repositories.get' permissions. You can add the "
            "permissions by granting the role 'roles/artifactregistry.reader'.",
        )


def _check_builder(cloud: Cloud, name: FunctionName) -> None:
    """Raise DeployError when the account that builds lacks what a build needs, in Google's words."""
    account = cloud.identity.default_compute_account(name.project)
    needed = ("logging.logEntries.create", "artifactregistry.repositories.uploadArtifacts")
    usable = cloud.identity.accounts.usable(account) is not None
    if usable and all(cloud.identity.may(account, permission, name.project) for permission in needed):
        return
    raise DeployError(
        operations.INVALID_ARGUMENT,
        "Build failed with status: FAILURE. Could not build the function due to a missing permission on the build "
        "service account. If you didn't revoke that permission explicitly, this could be caused by a change in the "
        "organization policies. Please refer to the following documentation for more details and resolution: "
        "https://cloud.google.com/functions/docs/troubleshooting#build-service-account",
    )


class _Log:
    """The log file of a build, written line by line so that it can be followed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def __enter__(self) -> Callable[[str], None]:
        return lambda line: print(timestamp(), line, file=self._file)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _revision(cloud: Cloud, name: FunctionName, wanted: dict[str, Any], built: Built, count: int) -> Revision:
    service = wanted["serviceConfig"]
    suffix = "".join(secrets.choice(letters) for letters in (CONSONANTS, VOWELS, CONSONANTS))
    revision = f"{name.id}-{count:05d}-{suffix}"
    # Ids are unique within a region only, container names must be everywhere.
    container = f"fn-{hashlib.sha256(name.key.encode()).hexdigest()[:6]}-{revision}"
    return {
        "name": revision,
        "container": container,
        "address": addresses.take(cloud.store, container),
        "function": name.key,
        "source": built.source,
        "environment": built.environment,
        "image": built.image,
        "runtime": wanted["buildConfig"]["runtime"],
        "target": wanted["buildConfig"]["entryPoint"],
        "memory": names.memory_bytes(service["availableMemory"]),
        "timeout": service["timeoutSeconds"],
        "cpu": float(service["availableCpu"]),
        "concurrency": service["maxInstanceRequestConcurrency"],
        "max_instances": service["maxInstanceCount"],
        "variables": service.get("environmentVariables", {}),
        "account": service["serviceAccountEmail"],
        "created": timestamp(),
    }


def _not_ready(name: FunctionName, revision: Revision, reason: str) -> str:
    return (
        f"Could not create or update Cloud Run service {name.id}, Container Healthcheck failed. Revision "
        f"'{revision['name']}' is not ready and cannot serve traffic. The user-provided container failed to start and "
        f"listen on the port defined provided by the PORT={instances.PORT} environment variable within the allocated "
        f"timeout: {reason}\nFor more troubleshooting guidance, see {DOCUMENTATION}"
    )


def _finish(
    cloud: Cloud,
    name: FunctionName,
    wanted: dict[str, Any],
    revision: Revision,
    generation: str,
    operation: Operation,
) -> None:
    number = cloud.identity.project_number(name.project)
    config = wanted["buildConfig"]
    # As on Google, the archive is copied out of the upload bucket.
    stored = {
        "bucket": buckets.sources(number, name.region),
        "object": f"{name.id}/function-source.zip",
        "generation": generation,
    }
    config["source"] = {"storageSource": stored}
    config["sourceProvenance"] = {"resolvedStorageSource": stored}
    wanted["serviceConfig"]["revision"] = revision["name"]
    with cloud.store.lock:
        record = records.require(cloud, name)
        wanted["createTime"] = record["resource"].get("createTime") or records.nanoseconds()
        wanted["state"] = records.ACTIVE
        wanted.pop("stateMessages", None)
        record = {
            "resource": records.with_update_time(wanted),
            "serving": revision,
            "revisions": record["revisions"] + 1,
        }
        records.FUNCTIONS.put(cloud.store, name.key, record)
    operation.succeed(record["resource"])


def _failed(cloud: Cloud, name: FunctionName, operation: Operation, code: int, message: str) -> None:
    """Leave the function as it served before, or FAILED if it never did."""
    with cloud.store.lock:
        record = records.FUNCTIONS.get(cloud.store, name.key)
        if record is not None:
            records.mark_failed(record, message)
            record["revisions"] += 1
            records.FUNCTIONS.put(cloud.store, name.key, record)
    operation.fail(code, message)


def delete(cloud: Cloud, name: FunctionName, operation: Operation) -> None:
    """Remove the function with everything that ran for it; runs in the background."""
    try:
        record = records.FUNCTIONS.get(cloud.store, name.key)
        if record and record["serving"]:
            instances.remove(cloud, record["serving"])
        cloud.identity.delete_policy(name.service)
        cloud.identity.delete_policy(name.resource)
        records.FUNCTIONS.delete(cloud.store, name.key)
    except Exception as error:
        LOGGER.exception("deleting %s", name.resource)
        _failed(cloud, name, operation, operations.INTERNAL, f"Internal error while deleting: {error}")
    else:
        operation.succeed()
