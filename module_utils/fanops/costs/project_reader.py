# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a project has that can cost money: three lists over all zones, one of buckets, and the size of images."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from ansible.module_utils.fanops.api.client import Client, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.costs import project_inventory
from ansible.module_utils.fanops.costs.ledger import Run, runs
from ansible.module_utils.fanops.costs.project_inventory import Holdings, Wanted
from ansible.module_utils.fanops.resources.function_builds import REGISTRY, repository_path
from ansible.module_utils.fanops.resources.power_history import operations_of

STORAGE = "https://storage.googleapis.com/storage/v1/b"


def read_holdings(client: Client, wanted: Wanted, *, bucket_size: bool = False) -> Holdings:
    """Everything at once. Where the Compute Engine API is off there is no VM, disk or address.

    ``bucket_size`` also adds up the bucket's objects, which takes one more call for every 1000 of them.
    """
    instances = _aggregated(client, "instances")
    # None: the API is off, so the other two lists need not be asked for.
    disks = [] if instances is None else _aggregated(client, "disks") or []
    addresses = [] if instances is None else _aggregated(client, "addresses") or []
    found = _bucket(client, wanted.bucket)
    return Holdings(
        vms=tuple(project_inventory.vms(instances or [])),
        disks=tuple(project_inventory.disks(disks)),
        addresses=tuple(project_inventory.addresses(addresses)),
        bucket=project_inventory.bucket(found, _size(client, wanted.bucket) if bucket_size else 0) if found else None,
        images_gib=_images(client, wanted.function_region),
    )


def read_runs(client: Client, wanted: Wanted, found: Holdings) -> list[Run]:
    """The VM's runs; none where the Compute Engine API is off."""
    ours = found.ours(wanted)
    zone = segment(ours.zone if ours else wanted.zone)
    url = f"{compute_url(client.project)}/zones/{zone}/instances/{segment(wanted.vm_name)}"
    try:
        instance = client.find(url, attempting=f"read instance {wanted.vm_name}") if ours else None
        return runs(operations_of(client, wanted.vm_name), instance, wanted.machine_type)
    except GoogleApiError as error:
        if error.service_disabled:
            return []
        raise


def google_now(client: Client) -> datetime:
    """The time by Google's clock: a run that goes on is as long as Google says, whatever this machine thinks."""
    params = {"project": client.project, "maxResults": 1}
    return parsedate_to_datetime(client.send("GET", STORAGE, attempting="read the time", params=params).headers["Date"])


def _aggregated(client: Client, what: str) -> list[dict[str, Any]] | None:
    try:
        return list(
            client.pages(
                f"{compute_url(client.project)}/aggregated/{what}",
                attempting=f"list the {what} of project {client.project}",
                params={"maxResults": 500, "returnPartialSuccess": "true"},
            )
        )
    except GoogleApiError as error:
        if error.service_disabled:
            return None
        raise


def _bucket(client: Client, name: str) -> dict[str, Any] | None:
    # The project's list rather than the bucket itself: one of another project is not ours to pay.
    pages = client.pages(
        STORAGE,
        attempting=f"list the buckets of project {client.project}",
        params={"project": client.project, "prefix": name, "projection": "noAcl"},
    )
    try:
        found = [item for page in pages for item in page.get("items", []) if item["name"] == name]
    except GoogleApiError as error:
        if not error.service_disabled:
            raise
        found = []
    return found[0] if found else None


def _images(client: Client, region: str) -> Decimal:
    url = f"{REGISTRY}/{repository_path(client.project, region)}"
    try:
        found = client.find(url, attempting=f"read how large the images of deployments in {region} are")
    except GoogleApiError as error:
        if not error.service_disabled:
            raise
        found = None
    return Decimal((found or {}).get("sizeBytes", 0)) / 1024**3


def _size(client: Client, name: str) -> int:
    pages = client.pages(
        f"{STORAGE}/{segment(name)}/o",
        attempting=f"add up the objects of bucket {name}",
        params={"fields": "items(size),nextPageToken", "versions": "true"},
    )
    return sum(int(item.get("size", 0)) for page in pages for item in page.get("items", []))
