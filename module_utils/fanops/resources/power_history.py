# SPDX-License-Identifier: GPL-3.0-or-later
"""When an instance was made, started, stopped and deleted, and by whom: from Google's own operations, not from our clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url

EVENTS = {
    "insert": "created",
    "start": "started",
    "resume": "started",
    "stop": "stopped",
    "suspend": "stopped",
    "delete": "deleted",
}
#: What Google itself does to a VM that goes on running, by words in the operation's type.
HARMLESS = ("migrate", "upcoming")


def moment(text: str) -> datetime:
    """An RFC 3339 timestamp of the API, whose offset changes with the season."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def by_google(operation: dict[str, Any]) -> bool:
    """Whether Google began the operation by itself: a run limit, a schedule, a host, a guest that powered itself off."""
    return operation.get("name", "").startswith("systemevent") or operation.get("user") in (None, "", "system")


def power_of(operation: dict[str, Any]) -> str | None:
    """Return whether the instance was created, started, stopped or deleted by the operation; None for any other.

    Google's own operations are not all documented: one that is not known ends a run, since hardly any other happens.
    """
    kind = operation.get("operationType", "")
    if kind in EVENTS or not by_google(operation) or not kind.startswith("compute.instances."):
        return EVENTS.get(kind)
    if any(word in kind.lower() for word in HARMLESS):
        return None
    return "started" if "start" in kind.lower() else "stopped"


def power_history(client: Client, name: str) -> list[dict[str, Any]]:
    """Return {"event", "at" (RFC 3339), "by", "zone", "operation", "failed"} of the instances ``name``, oldest first.

    ``by`` is an account, "the guest" (it powered itself off) or "Google" (the run limit, a schedule, a host). Google keeps
    operations for about two weeks.
    """
    found = [event_of(operation) for operation in operations_of(client, name)]
    return sorted((event for event in found if event), key=lambda event: moment(event["at"]))


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
    event, kind = power_of(operation), operation.get("operationType", "")
    if event is None:
        return None
    return {
        "event": event,
        "at": operation.get("endTime") or operation["insertTime"],
        "by": "the guest"
        if kind.endswith("guestTerminate")
        else "Google"
        if by_google(operation)
        else operation["user"],
        "zone": basename(operation.get("zone", "")),
        "operation": kind,
        "failed": "error" in operation,
    }
