# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.projects: the project as Compute sees it, with the metadata that all its VMs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from rehearsal.services.compute import clock, errors, fingerprints, links, operations, validation
from rehearsal.services.compute.mutations import mutation
from rehearsal.store import Documents
from rehearsal.wire.calls import Call, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


class Record(TypedDict, total=False):
    """What is stored of a project: the items of its common metadata, and when it was first looked at."""

    items: list[dict[str, str]]
    created: str


PROJECTS: Documents[Record] = Documents("compute.projects")
QUOTAS = {"NETWORKS": 5.0, "FIREWALLS": 100.0, "IMAGES": 100.0, "STATIC_ADDRESSES": 8.0}


def common_items(cloud: Cloud, project: str) -> list[dict[str, str]]:
    """Return the items of the common instance metadata."""
    return list((PROJECTS.get(cloud.store, project) or {}).get("items", []))


def _created(cloud: Cloud, project: str) -> str:
    with cloud.store.lock:
        document = PROJECTS.get(cloud.store, project) or {"items": []}
        if "created" not in document:
            document["created"] = clock.timestamp()
            PROJECTS.put(cloud.store, project, document)
        return document["created"]


def metadata(items: list[dict[str, str]]) -> dict[str, Any]:
    """Return a Metadata."""
    answer: dict[str, Any] = {"kind": "compute#metadata", "fingerprint": fingerprints.of(items)}
    return answer | ({"items": items} if items else {})


@method("compute.projects.get", permission="compute.projects.get")
def get(call: Call) -> dict[str, Any]:
    """Return the project."""
    used = {"NETWORKS": 1.0, "FIREWALLS": float(len(call.cloud.store.list("compute.firewalls", f"{call.project}/")))}
    return {
        "kind": "compute#project",
        "id": fingerprints.stable_id(f"projects/{call.project}"),
        "creationTimestamp": _created(call.cloud, call.project),
        "name": call.project,
        "commonInstanceMetadata": metadata(common_items(call.cloud, call.project)),
        "quotas": [{"metric": key, "limit": limit, "usage": used.get(key, 0.0)} for key, limit in QUOTAS.items()],
        "selfLink": links.link(f"projects/{call.project}"),
        "defaultServiceAccount": default_service_account(call.cloud, call.project),
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
        "vmDnsSetting": "ZONAL_ONLY",
        "cloudArmorTier": "CA_STANDARD",
    }


def default_service_account(cloud: Cloud, project: str) -> str:
    """Return the e-mail address of the project's default Compute service account."""
    return f"{cloud.identity.project_number(project)}-compute@developer.gserviceaccount.com"


@mutation("compute.projects.setCommonInstanceMetadata", "compute.projects.setCommonInstanceMetadata")
def set_common_instance_metadata(call: Call) -> dict[str, Any]:
    """Replace the metadata that all VMs of the project share; wakes the guests that wait for a change."""
    items = validation.check_metadata(call.body.get("items"), "metadata")
    with call.cloud.store.lock:
        if not fingerprints.same(call.body.get("fingerprint"), fingerprints.of(common_items(call.cloud, call.project))):
            raise errors.condition_not_met("Supplied fingerprint does not match current metadata fingerprint.")
        _created(call.cloud, call.project)
        document = PROJECTS.get(call.cloud.store, call.project) or {}
        document["items"] = items
        PROJECTS.put(call.cloud.store, call.project, document)
    path = f"projects/{call.project}"
    target = operations.Target(call.project, "global", path, fingerprints.stable_id(path))
    operation = operations.done(call.cloud, target, call.method_id, call.principal)
    call.cloud.metadata.changed()
    metadata = {"clientOperationId": operation["name"]}
    return operation | {"setCommonInstanceMetadataOperationMetadata": metadata}
