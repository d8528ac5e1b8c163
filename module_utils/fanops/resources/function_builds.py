# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builds of functions leave in a region: images in Artifact Registry, sources and uploads in buckets of Google's making.

Google keeps both when a function is deleted. All functions of a region share the repository and the buckets. The package of an image and
the folder of a source tell whose they are. Uploads have random names: they are surely ours only where nobody else builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ansible.module_utils.fanops.api.client import Client, basename, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource

REGISTRY = "https://artifactregistry.googleapis.com/v1"
STORAGE = "https://storage.googleapis.com/storage/v1/b"
REPOSITORY = "gcf-artifacts"
#: A build of the day is never deleted, so that going back to it stays possible for so long.
OLDER_THAN = "86400s"


def repository_path(project: str, region: str) -> str:
    """The repository's name, as Google writes it."""
    return f"projects/{project}/locations/{region}/repositories/{REPOSITORY}"


def package_of(project: str, region: str, function: str) -> str:
    """The package of a function's images; that of its build's cache has ``/cache`` behind it."""
    return "__".join(part.replace("_", "__").replace("-", "--") for part in (project, region, function))


@dataclass(frozen=True)
class Stored:
    """An object in one of the two buckets; ``function`` is "" for an upload."""

    bucket: str
    name: str
    generation: str
    size: int

    @property
    def function(self) -> str:
        """Whose source it is."""
        return self.name.split("/")[0] if "/" in self.name else ""


@dataclass(frozen=True)
class Builds:
    """Everything of the kind in one region. ``packages`` are ids, with their slashes."""

    repository: dict[str, Any] | None
    packages: tuple[str, ...]
    buckets: tuple[str, ...]
    objects: tuple[Stored, ...]

    def of(self, project: str, region: str, functions: Iterable[str]) -> Builds:
        """What is these functions' alone: the shared things only where nothing else is in them."""
        names = set(functions)
        ids = {package_of(project, region, name) for name in names}
        packages = tuple(one for one in self.packages if one.removesuffix("/cache") in ids)
        others = len(packages) < len(self.packages) or any(one.function not in {*names, ""} for one in self.objects)
        objects = tuple(one for one in self.objects if one.function in names or not (one.function or others))
        return Builds(
            None if others else self.repository, packages, () if others else self.buckets, objects,
        )  # fmt: skip


def read_builds(client: Client, region: str) -> Builds:
    """Read what there is in ``region``; nothing where the API is off or nothing was ever built."""
    path = repository_path(client.project, region)
    repository, packages = None, []
    try:
        repository = client.find(f"{REGISTRY}/{path}", attempting=f"read repository {REPOSITORY} in {region}")
        if repository is not None:
            attempting = f"list the images in {REPOSITORY} in {region}"
            pages = client.pages(f"{REGISTRY}/{path}/packages", attempting=attempting)
            packages = [unquote(basename(one["name"])) for page in pages for one in page.get("packages", [])]
    except GoogleApiError as error:
        if not error.service_disabled:
            raise
    made = re.compile(rf"gcf-v2-(sources|uploads)-\d+[.-]{re.escape(region)}(\.cloudfunctions\.appspot\.com)?")
    buckets = tuple(name for name in _bucket_names(client) if made.fullmatch(name))
    return Builds(
        repository, tuple(packages), buckets, tuple(one for name in buckets for one in _objects(client, name))
    )


def _bucket_names(client: Client) -> list[str]:
    attempting = f"list the buckets of project {client.project}"
    pages = client.pages(STORAGE, attempting=attempting, params={"project": client.project, "prefix": "gcf-v2-"})
    return [item["name"] for page in pages for item in page.get("items", [])]


def _objects(client: Client, bucket: str) -> list[Stored]:
    pages = client.pages(
        f"{STORAGE}/{segment(bucket)}/o",
        attempting=f"list what is in bucket {bucket}",
        params={"versions": "true", "fields": "items(name,generation,size),nextPageToken"},
    )
    found = [item for page in pages for item in page.get("items", [])]
    return [Stored(bucket, item["name"], item["generation"], int(item.get("size", 0))) for item in found]


class FunctionBuilds(Resource):
    """The builds of one function: the older ones deleted by Google's cleanup policies, or all of them deleted now."""

    kind = "builds of function"

    @property
    def _repository(self) -> str:
        return f"{REGISTRY}/{repository_path(self.client.project, self.options['region'])}"

    def fetch(self) -> dict[str, Any] | None:
        """The repository with its policies; None before the first deployment. To delete: what is this function's."""
        name, region = self.options["name"], self.options["region"]
        if self.options["state"] == "absent":
            found = read_builds(self.client, region).of(self.client.project, region, [name])
            there = found.repository or found.packages or found.buckets or found.objects
            return {"found": found, "images": list(found.packages), "objects": len(found.objects)} if there else None
        repository = self.client.find(self._repository, attempting=f"read repository {REPOSITORY}")
        if repository is not None:
            return repository
        url = f"https://cloudfunctions.googleapis.com/v2/projects/{self.client.project}/locations/{region}/functions/{segment(name)}"
        # Somebody deleted the repository of a function that runs: the next deployment makes it again.
        return None if self.client.find(url, attempting=f"read function {name}") is None else {"absent": True}

    def shown(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """The resource as the module returns it."""
        return {key: value for key, value in found.items() if key != "found"} if found else None

    def wanted(self) -> dict[str, Any]:
        """The policies that are ours, by their ids."""
        return {"cleanup_policies": self._policies()}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The same as Google has them."""
        if self.options["state"] == "absent":
            return {key: current[key] for key in ("images", "objects")}
        if current.get("absent"):
            return self.wanted()
        policies = current.get("cleanupPolicies", {})
        return {"cleanup_policies": {key: policies[key] for key in self._policies() if key in policies}}

    def _policies(self) -> dict[str, Any]:
        name = self.options["name"]
        prefixes = [package_of(self.client.project, self.options["region"], name)]
        keep, old = f"{name}-keep", f"{name}-delete"
        recent = {"keepCount": self.options["keep"], "packageNamePrefixes": prefixes}
        condition = {"tagState": "ANY", "olderThan": OLDER_THAN, "packageNamePrefixes": prefixes}
        return {
            keep: {"id": keep, "action": "KEEP", "mostRecentVersions": recent},
            old: {"id": old, "action": "DELETE", "condition": condition},
        }

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be."""
        others = (current or {}).get("cleanupPolicies", {})
        return {**(current or {}), "cleanupPolicies": {**others, **self._policies()}, "cleanupPolicyDryRun": False}

    def create(self) -> None:
        """Set the policies on the repository that a deployment is making."""
        self._patch({})

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List what has to change. The mask replaces all policies at once, so others' are sent along."""
        plan.act(f"set cleanup policies: the images of {self.options['name']}", lambda: self._patch(current))
        others = set(current.get("cleanupPolicies", {})) - set(self._policies())
        if others and current.get("cleanupPolicyDryRun"):
            plan.warnings.append(
                f"{REPOSITORY} only tries its cleanup policies, and these would count from now on, too: {', '.join(sorted(others))}."
            )

    def _patch(self, current: dict[str, Any]) -> None:
        body = {key: value for key, value in self.predict(current).items() if key.startswith("cleanup")}
        self.client.call(
            "PATCH",
            self._repository,
            attempting=f"set the cleanup policies of {REPOSITORY}",
            params={"updateMask": "cleanupPolicies,cleanupPolicyDryRun"},
            body=body,
        )

    def delete(self, current: dict[str, Any]) -> None:
        """Delete this function's images and sources, and what is empty then."""
        found: Builds = current["found"]
        for package in found.packages:
            self._delete_registry(f"{self._repository}/packages/{quote(package, safe='')}", f"delete images {package}")
        if found.repository is not None:
            self._delete_registry(self._repository, f"delete repository {REPOSITORY}")
        for stored in found.objects:
            url = f"{STORAGE}/{segment(stored.bucket)}/o/{quote(stored.name, safe='')}"
            self._delete(url, f"delete gs://{stored.bucket}/{stored.name}", {"generation": stored.generation})
        for bucket in found.buckets:
            self._delete(f"{STORAGE}/{segment(bucket)}", f"delete bucket {bucket}")

    def _delete_registry(self, url: str, attempting: str) -> None:
        operation = self._delete(url, attempting)
        if operation.get("name"):
            self.client.wait_longrunning(REGISTRY, operation, attempting=attempting)

    def _delete(self, url: str, attempting: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            return self.client.call("DELETE", url, attempting=attempting, params=params)
        except GoogleApiError as error:
            if error.status != 404:  # Google's own rules, or somebody else, were faster
                raise
            return {}
