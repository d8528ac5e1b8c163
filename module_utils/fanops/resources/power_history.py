# SPDX-License-Identifier: GPL-3.0-or-later
"""When an instance was made, started, stopped and deleted, and by whom: from Google's own operations, not from our clock."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url

EVENTS = {
    "insert": "created",
    "start": "started",
    "resume": "started",
    "stop": "stopped",
    "suspend": "stopped",
    "delete": "deleted",
    "compute.instances.guestTerminate": "stopped",
    "compute.instances.preempted": "stopped",
    "compute.instances.hostError": "stopped",
}


def power_history(client: Client, name: str) -> list[dict[str, Any]]:
    """Return {"event", "at" (RFC 3339), "by", "zone", "operation", "failed"} of the instances ``name``, oldest first.

    ``by`` is an account, "the guest" (it powered itself off) or "Google" (the run limit, a schedule, a host). Google keeps
    operations for about two weeks.
    """
    found = [event_of(operation) for operation in operations_of(client, name)]
    return sorted((event for event in found if event), key=lambda event: str(event["at"]))


def operations_of(client: Client, name: str) -> list[dict[str, Any]]:
    """Return Google's operations on the instances ``name``, in every zone."""
    found: list[dict[str, Any]] = []
    url = f"{compute_url(client.project)}/aggregated/operations"
    query = {"filter": f"targetLink eq .*/instances/{name}"}
    for page in client.pages(url, attempting=f"read the operations of instance {name}", params=query):
        for scope in page.get("items", {}).values():
            found += scope.get("operations", [])
    return found


def event_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an operation did to the power of its instance; None for one that did nothing to it."""
    kind = operation.get("operationType", "")
    if kind not in EVENTS:
        return None
    system = operation.get("name", "").startswith("systemevent") or operation.get("user") in (None, "", "system")
    return {
        "event": EVENTS[kind],
        "at": operation.get("endTime") or operation.get("insertTime"),
        "by": "the guest" if kind.endswith("guestTerminate") else "Google" if system else operation["user"],
        "zone": basename(operation.get("zone", "")),
        "operation": kind,
        "failed": "error" in operation,
    }
