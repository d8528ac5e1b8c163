# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.zoneOperations, regionOperations, globalOperations: what clients poll."""

from __future__ import annotations

from rehearsal.services.compute import catalogue, operations
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.wire.calls import Call, method


@method("compute.zoneOperations.get", permission="compute.zoneOperations.get")
@method("compute.regionOperations.get", permission="compute.regionOperations.get")
@method("compute.globalOperations.get", permission="compute.globalOperations.get")
def get(call: Call) -> Resource:
    """Return an operation as it is now."""
    return operations.get(call.cloud, call.project, _scope(call), call.params["operation"])


@method("compute.zoneOperations.wait", permission="compute.zoneOperations.get")
@method("compute.regionOperations.wait", permission="compute.regionOperations.get")
@method("compute.globalOperations.wait", permission="compute.globalOperations.get")
def wait(call: Call) -> Resource:
    """Return an operation once it is DONE, after two minutes at the latest."""
    return operations.wait(call.cloud, call.project, _scope(call), call.params["operation"])


@method("compute.zoneOperations.list", permission="compute.zoneOperations.list")
@method("compute.regionOperations.list", permission="compute.regionOperations.list")
@method("compute.globalOperations.list", permission="compute.globalOperations.list")
def list_operations(call: Call) -> Resource:
    """List the operations of a zone, of a region, or of those that belong to neither."""
    scope = _scope(call)
    found = operations.in_scope(call.cloud, call.project, scope).get(scope, [])
    return page(call, found, kind="compute#operationList", path=f"projects/{call.project}/{scope}/operations")


@method("compute.globalOperations.aggregatedList", permission="compute.globalOperations.list")
def list_all(call: Call) -> Resource:
    """List the operations of all scopes."""
    found = operations.in_scope(call.cloud, call.project)
    scopes = ["global", *(f"regions/{region}" for region in catalogue.REGIONS)]
    scopes += [f"zones/{zone}" for zone in catalogue.ZONES]
    scoped = {scope: found.get(scope, []) for scope in scopes}
    path = f"projects/{call.project}/aggregated/operations"
    return aggregated(call, scoped, kind="compute#operationAggregatedList", path=path, member="operations")


def _scope(call: Call) -> str:
    if "zone" in call.params:
        return f"zones/{catalogue.zone_of(call)}"
    if "region" in call.params:
        return f"regions/{catalogue.region_of(call)}"
    return "global"
