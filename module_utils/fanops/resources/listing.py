# SPDX-License-Identifier: GPL-3.0-or-later
"""What a project has, and which of it is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.resources.function_builds import Builds, read_builds

Item = dict[str, Any]
Found = tuple[Item, dict[str, str], str]  # the line for a person, the labels, the name


def list_resources(
    client: Client, labels: dict[str, str], names: dict[str, list[str]]
) -> tuple[list[tuple[dict[str, str], bool]], list[str]]:
    """Return ([(resource, whether it is ours)], APIs that are switched off).

    A resource is {"kind", "name", "place", "detail"}; it is ours by ``labels``, or by ``names[kind]`` where Google has no labels.
    """
    found: list[tuple[dict[str, str], bool]] = []
    disabled: set[str] = set()
    for kind, read in READERS.items():
        try:
            for item, item_labels, name in read(client):
                by_label = bool(labels) and all(item_labels.get(key) == str(value) for key, value in labels.items())
                found.append(({"kind": kind, **item}, by_label or name in names.get(kind, [])))
        except GoogleApiError as error:
            if not error.service_disabled:
                raise
            disabled.add(error.target.split("/")[0])
    return found, sorted(disabled)


def sort_resources(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    """What ``project_resources_info`` returns for its options."""
    names = {
        "schedule": "schedules",
        "firewall": "firewall_rules",
        "service_account": "service_accounts",
        "role": "roles",
    }
    ours_by_name = {kind: options[option] for kind, option in names.items()}
    found, disabled = list_resources(client, options["labels"], ours_by_name)
    ours, foreign = ([item for item, is_ours in found if is_ours is wanted] for wanted in (True, False))
    if options["function_region"]:
        region, functions = options["function_region"], options["functions"]
        builds = read_builds(client, region)
        there, mine = (list(_builds(one, region)) for one in (builds, builds.of(client.project, region, functions)))
        ours += mine
        foreign = [item for item in foreign if item["name"] not in builds.buckets]
        foreign += [item for item in there if item not in mine]
    return {"ours": ours, "foreign": foreign, "disabled": disabled}


def _builds(found: Builds, region: str) -> Iterator[dict[str, str]]:
    for package in found.packages:
        yield {"kind": "image", "name": package, "place": region, "detail": ""}
    if found.repository is not None:
        size = int(found.repository.get("sizeBytes", 0)) / 1e6
        yield {
            "kind": "repository",
            "name": basename(found.repository["name"]),
            "place": region,
            "detail": f"{size:.0f} MB",
        }
    for stored in found.objects:
        yield {
            "kind": "source",
            "name": f"{stored.bucket}/{stored.name}",
            "place": region,
            "detail": f"{stored.size / 1e6:.1f} MB",
        }
    for bucket in found.buckets:
        yield {"kind": "build_bucket", "name": bucket, "place": region, "detail": ""}


def _aggregated(client: Client, collection: str, kind: str) -> Iterator[Item]:
    url = f"{compute_url(client.project)}/aggregated/{collection}"
    for page in client.pages(url, attempting=f"list the {collection} of project {client.project}"):
        for scope in page.get("items", {}).values():
            yield from scope.get(collection, [])


def _instances(client: Client) -> Iterator[Found]:
    for vm in _aggregated(client, "instances", "instance"):
        detail = f"{vm['status']} {basename(vm['machineType'])}"
        yield {"name": vm["name"], "place": basename(vm["zone"]), "detail": detail}, vm.get("labels", {}), vm["name"]


def _disks(client: Client) -> Iterator[Found]:
    for disk in _aggregated(client, "disks", "disk"):
        place = basename(disk.get("zone") or disk.get("region", ""))
        used = ", ".join(basename(user) for user in disk.get("users", [])) or "nobody"
        detail = f"{disk['sizeGb']} GB {basename(disk['type'])}, used by {used}"
        yield {"name": disk["name"], "place": place, "detail": detail}, disk.get("labels", {}), disk["name"]


def _addresses(client: Client) -> Iterator[Found]:
    for address in _aggregated(client, "addresses", "address"):
        place = basename(address.get("region", "global"))
        detail = f"{address['address']} {address['status']}"
        yield {"name": address["name"], "place": place, "detail": detail}, address.get("labels", {}), address["name"]


def _schedules(client: Client) -> Iterator[Found]:
    for policy in _aggregated(client, "resourcePolicies", "resource policy"):
        schedule = policy.get("instanceSchedulePolicy", {})
        starts = (schedule.get("vmStartSchedule") or {}).get("schedule", "no start")
        detail = f"{starts} {schedule.get('timeZone', '')}".strip()
        yield {"name": policy["name"], "place": basename(policy["region"]), "detail": detail}, {}, policy["name"]


def _firewalls(client: Client) -> Iterator[Found]:
    url = f"{compute_url(client.project)}/global/firewalls"
    for page in client.pages(url, attempting=f"list the firewall rules of project {client.project}"):
        for rule in page.get("items", []):
            detail = f"{rule.get('direction', 'INGRESS')} from {', '.join(rule.get('sourceRanges', []))}"
            yield {"name": rule["name"], "place": "global", "detail": detail}, {}, rule["name"]


def _functions(client: Client) -> Iterator[Found]:
    url = f"https://cloudfunctions.googleapis.com/v2/projects/{client.project}/locations/-/functions"
    for page in client.pages(url, attempting=f"list the functions of project {client.project}"):
        for function in page.get("functions", []):
            parts = function["name"].split("/")
            item = {"name": parts[5], "place": parts[3], "detail": function.get("state", "")}
            yield item, function.get("labels", {}), parts[5]


def _buckets(client: Client) -> Iterator[Found]:
    url = "https://storage.googleapis.com/storage/v1/b"
    query = {"project": client.project, "projection": "noAcl"}
    for page in client.pages(url, attempting=f"list the buckets of project {client.project}", params=query):
        for bucket in page.get("items", []):
            item = {"name": bucket["name"], "place": bucket["location"].lower(), "detail": bucket["storageClass"]}
            yield item, bucket.get("labels", {}), bucket["name"]


def _service_accounts(client: Client) -> Iterator[Found]:
    url = f"https://iam.googleapis.com/v1/projects/{client.project}/serviceAccounts"
    for page in client.pages(url, attempting=f"list the service accounts of project {client.project}"):
        for account in page.get("accounts", []):
            name = account["email"].split("@")[0]
            yield {"name": name, "place": "project", "detail": account.get("displayName", "")}, {}, name


def _roles(client: Client) -> Iterator[Found]:
    url = f"https://iam.googleapis.com/v1/projects/{client.project}/roles"
    for page in client.pages(url, attempting=f"list the custom roles of project {client.project}"):
        for role in page.get("roles", []):
            name = basename(role["name"])
            yield {"name": name, "place": "project", "detail": role.get("title", "")}, {}, name


def _secrets(client: Client) -> Iterator[Found]:
    url = f"https://secretmanager.googleapis.com/v1/projects/{client.project}/secrets"
    for page in client.pages(url, attempting=f"list the secrets of project {client.project}"):
        for secret in page.get("secrets", []):
            name = basename(secret["name"])
            yield {"name": name, "place": "project", "detail": ""}, secret.get("labels", {}), name


READERS: dict[str, Callable[[Client], Iterator[Found]]] = {
    "function": _functions,
    "instance": _instances,
    "disk": _disks,
    "address": _addresses,
    "schedule": _schedules,
    "firewall": _firewalls,
    "bucket": _buckets,
    "service_account": _service_accounts,
    "role": _roles,
    "secret": _secrets,
}
