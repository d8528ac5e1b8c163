# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository `gcf-artifacts` of a region, which the first deployment makes, and the image that every deployment adds to it.

Store kind `artifactregistry.repositories`, key `PROJECT/REGION`. Times are the calendar's (`rehearsal calendar`), so that a week of cleanup
policies passes in a second. Google carries policies out about once a day: here, when somebody looks and a day has passed.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any, TypedDict

from rehearsal.services.compute.resource_policies import today
from rehearsal.store import Documents, Store

REPOSITORY = "gcf-artifacts"
DAY_SECONDS = 86_400
# What the image of a Python function weighs before its requirements: three deployments of one were 567 MB on Google.
BASE_BYTES = 150_000_000


class Version(TypedDict):
    """An image: its digest, when it was pushed (seconds of the calendar), its tags and its size in bytes."""

    name: str
    created: float
    tags: list[str]
    size: int


class Repository(TypedDict):
    """A repository: as the API returns it, without what follows from its images; when its policies were carried out; packages by id."""

    resource: dict[str, Any]
    cleaned: float
    packages: dict[str, list[Version]]


REPOSITORIES: Documents[Repository] = Documents("artifactregistry.repositories")


def stamp(seconds: float) -> str:
    """Return the time as Artifact Registry writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encoded(part: str) -> str:
    """Return a part of a package's id, where two underscores separate the parts."""
    return part.replace("_", "__").replace("-", "--")


def package_of(project: str, region: str, function: str) -> str:
    """Return the id of the package that has a function's images."""
    return "__".join(encoded(part) for part in (project, region, function))


def push(store: Store, project: str, region: str, function: str, size: int) -> None:
    """Add an image of a function, and one of its build's cache, as a build does; make the repository where there is none."""
    now, package = today(store), package_of(project, region, function)
    with store.lock:
        found = REPOSITORIES.get(store, f"{project}/{region}") or _new(project, region, now)
        versions = found["packages"].setdefault(package, [])
        for version in versions:
            version["tags"] = [tag for tag in version["tags"] if tag != "latest"]
        number = 1 + max((int(tag[8:]) for one in versions for tag in one["tags"] if tag[:8] == "version_"), default=0)
        versions.append(_version(now, [f"version_{number}", "latest"], BASE_BYTES + size))
        # The cache is one image that every build replaces.
        found["packages"][f"{package}/cache"] = [_version(now, ["latest"], size // 10)]
        REPOSITORIES.put(store, f"{project}/{region}", found)


def _version(now: float, tags: list[str], size: int) -> Version:
    digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    return {"name": f"sha256:{digest}", "created": now, "tags": tags, "size": size}


def _new(project: str, region: str, now: float) -> Repository:
    resource = {
        "name": f"projects/{project}/locations/{region}/repositories/{REPOSITORY}",
        "format": "DOCKER",
        "description": "This repository is created and used by Cloud Functions for storing function docker images.",
        "labels": {"goog-managed-by": "cloudfunctions"},
        "createTime": stamp(now),
        "updateTime": stamp(now),
        "mode": "STANDARD_REPOSITORY",
        "satisfiesPzi": True,
        "registryUri": f"{region}-docker.pkg.dev/{project}/{REPOSITORY}",
    }
    return {"resource": resource, "cleaned": now, "packages": {}}


def find(store: Store, project: str, region: str) -> Repository | None:
    """Return the repository with what its policies have left of it; None where there is none."""
    with store.lock:
        found = REPOSITORIES.get(store, f"{project}/{region}")
        now = today(store)
        if found is None or found["cleaned"] + DAY_SECONDS > now:
            return found
        found["cleaned"] = now
        resource = found["resource"]
        if not resource.get("cleanupPolicyDryRun"):
            policies = list(resource.get("cleanupPolicies", {}).values())
            left = {name: _left(name, versions, policies, now) for name, versions in found["packages"].items()}
            found["packages"] = {name: versions for name, versions in left.items() if versions}
        REPOSITORIES.put(store, f"{project}/{region}", found)
        return found


def _left(package: str, versions: list[Version], policies: list[dict[str, Any]], now: float) -> list[Version]:
    """Return the versions that no policy deletes, or that one keeps: keeping goes before deleting."""
    newest = sorted(versions, key=lambda version: version["created"], reverse=True)

    def meant(policy: dict[str, Any], version: Version) -> bool:
        recent = policy.get("mostRecentVersions")
        if recent is not None:
            return _named(package, recent) and newest.index(version) < recent.get("keepCount", 0)
        return _fulfils(package, version, policy.get("condition", {}), now)

    def any_of(action: str, version: Version) -> bool:
        return any(policy["action"] == action and meant(policy, version) for policy in policies)

    return [version for version in versions if any_of("KEEP", version) or not any_of("DELETE", version)]


def _named(package: str, part: dict[str, Any]) -> bool:
    prefixes = part.get("packageNamePrefixes") or [""]
    return any(package.startswith(prefix) for prefix in prefixes)


def _fulfils(package: str, version: Version, condition: dict[str, Any], now: float) -> bool:
    state = condition.get("tagState", "TAG_STATE_UNSPECIFIED")
    tagged = {"TAGGED": bool(version["tags"]), "UNTAGGED": not version["tags"]}.get(state, True)
    age = now - version["created"]
    older = age > float(condition.get("olderThan", "0s").rstrip("s"))
    newer = age < float(condition["newerThan"].rstrip("s")) if condition.get("newerThan") else True
    prefixes = condition.get("tagPrefixes") or []
    tags = not prefixes or any(tag.startswith(prefix) for tag in version["tags"] for prefix in prefixes)
    return tagged and older and newer and tags and _named(package, condition)
