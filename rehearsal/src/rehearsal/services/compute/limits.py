# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas and stock-outs: the two ways in which Google says no although the request is right.

Both are set through the store (`rehearsal trouble set stockout`, `… quota`). Kind `compute.quotas`, key a region, holds
limits that replace the defaults (`{"CPUS": 0.0}`). Kind `compute.stockouts`, key a zone, makes the zone run dry: `{}` for
every machine type, else `{"machineTypes": ["e2-micro"]}`; with `"remaining": N` the next N attempts fail and then there
is capacity again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal import trouble
from rehearsal.services.compute import catalogue, links, records
from rehearsal.services.compute.disks import DISKS
from rehearsal.services.compute.operations import OperationError

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

QUOTAS, STOCKOUTS = "compute.quotas", "compute.stockouts"
DEFAULTS = {
    "CPUS": 24.0,
    "INSTANCES": 240.0,
    "IN_USE_ADDRESSES": 8.0,
    "STATIC_ADDRESSES": 8.0,
    "DISKS_TOTAL_GB": 2048.0,
}
# (metricName, limitName) as in Google's QuotaExceededInfo.
NAMES = {
    "CPUS": ("compute.googleapis.com/cpus", "CPUS-per-project-region"),
    "INSTANCES": ("compute.googleapis.com/instances", "INSTANCES-per-project-region"),
    "IN_USE_ADDRESSES": ("compute.googleapis.com/in_use_addresses", "IN-USE-ADDRESSES-per-project-region"),
    "STATIC_ADDRESSES": ("compute.googleapis.com/static_addresses", "STATIC-ADDRESSES-per-project-region"),
    "DISKS_TOTAL_GB": ("compute.googleapis.com/disks_total_storage", "DISKS-TOTAL-GB-per-project-region"),
}


def usage(cloud: Cloud, project: str, region: str) -> dict[str, float]:
    """Return what the project uses in the region, by quota metric. CPUs count while the VM is not TERMINATED."""
    used = dict.fromkeys(DEFAULTS, 0.0)
    prefix = f"{project}/{region}-"
    for _, record in records.INSTANCES.records.list(cloud.store, prefix):
        resource = record["resource"]
        used["INSTANCES"] += 1
        if resource["status"] != "TERMINATED":
            used["CPUS"] += catalogue.machine_types()[links.last(resource["machineType"])]["guestCpus"]
        used["IN_USE_ADDRESSES"] += bool(record["externalIp"])
    for _, disk in DISKS.records.list(cloud.store, prefix):
        used["DISKS_TOTAL_GB"] += int(disk["resource"]["sizeGb"])
    used["STATIC_ADDRESSES"] += len(cloud.store.list("compute.addresses", f"{project}/{region}/"))
    return used


def limit(cloud: Cloud, region: str, metric: str) -> float:
    """Return the region's limit."""
    return float((cloud.store.get(QUOTAS, region) or {}).get(metric, DEFAULTS[metric]))


def region_quotas(cloud: Cloud, project: str, region: str) -> list[dict[str, Any]]:
    """Return the `quotas` of a Region."""
    used = usage(cloud, project, region)
    return [{"metric": metric, "limit": limit(cloud, region, metric), "usage": used[metric]} for metric in DEFAULTS]


def check_quotas(cloud: Cloud, project: str, region: str) -> None:
    """Raise OperationError QUOTA_EXCEEDED when the project, with everything already stored, is beyond a limit."""
    for metric, used in usage(cloud, project, region).items():
        allowed = limit(cloud, region, metric)
        if used > allowed:
            trouble.count_hit(cloud.store, "quota")
            metric_name, limit_name = NAMES[metric]
            quota = {
                "metricName": metric_name,
                "limitName": limit_name,
                "dimensions": {"region": region},
                "limit": allowed,
            }
            text = f"Quota '{metric}' exceeded.  Limit: {allowed} in region {region}."
            raise OperationError("QUOTA_EXCEEDED", text, 403, "FORBIDDEN", [{"quotaInfo": quota}])


def check_stock(cloud: Cloud, project: str, zone: str, machine_type: str) -> None:
    """Raise OperationError ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS while the zone is out of this machine type."""
    with cloud.store.lock:
        shortage = cloud.store.get(STOCKOUTS, zone)
        if shortage is None or machine_type not in shortage.get("machineTypes", [machine_type]):
            return
        trouble.count_hit(cloud.store, "stockout")
        if "remaining" in shortage:
            if shortage["remaining"] <= 1:
                cloud.store.delete(STOCKOUTS, zone)
            else:
                cloud.store.put(STOCKOUTS, zone, shortage | {"remaining": shortage["remaining"] - 1})
    region = catalogue.region_of_zone(zone)
    dry = {key for key, _ in cloud.store.list(STOCKOUTS)} | {zone}
    available = [other for other in catalogue.ZONES if other.startswith(f"{region}-") and other not in dry]
    text = (
        f"The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request.  "
        f"'(resource type:compute)'."
    )
    information = {
        "reason": "resource_availability",
        "domain": "compute.googleapis.com",
        "metadatas": {"vmType": machine_type, "zone": zone, "zonesAvailable": ",".join(available), "attachment": ""},
    }
    code = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    raise OperationError(code, text, 503, "SERVICE UNAVAILABLE", [{"errorInfo": information}])
