# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the last runs, when the next one is due, and which did not come."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ansible.module_utils.fanops.api.client import Client, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core import cron

#: Google starts a VM up to this late; and a run that began so long after a time was due is the one that was due then.
LATE = datetime.timedelta(minutes=15)
TOLERANCE = datetime.timedelta(hours=1)
#: How far back runs are missed.
MEMORY = datetime.timedelta(days=35)
Outcome = dict[str, Any]


def read_history(client: Client, params: dict[str, Any], now: datetime.datetime | None = None) -> dict[str, Any]:
    """What ``training_history_info`` returns for its options."""
    outcomes = read_outcomes(client, params["bucket"], params["limit"])
    policy = read_schedule(client, params["schedule"]) if params["schedule"] else None
    schedule = None
    if policy is not None:
        wanted = policy.get("instanceSchedulePolicy", {})
        status = (policy.get("resourceStatus") or {}).get("instanceSchedulePolicy") or {}
        schedule = {
            "name": policy["name"],
            "cron": (wanted.get("vmStartSchedule") or {}).get("schedule"),
            "timezone": wanted.get("timeZone"),
            "next": status.get("nextRunStartTime"),
            "last": status.get("lastRunStartTime"),
        }
    moment = now or datetime.datetime.now(datetime.timezone.utc)
    return {"outcomes": outcomes, "schedule": schedule, "missed": missed(policy, outcomes, moment)}


def read_outcomes(client: Client, bucket: str, limit: int, since: float = 0) -> list[Outcome]:
    """The last ``limit`` outcomes, oldest first; none where there is no bucket. ``since`` (seconds since 1970) leaves out older ones."""
    attempting = f"list the runs in gs://{bucket}"
    url = f"https://storage.googleapis.com/storage/v1/b/{segment(bucket)}/o"
    query = {"prefix": "runs/", "fields": "items(name,updated),nextPageToken"}
    try:
        items = [
            item for page in client.pages(url, attempting=attempting, params=query) for item in page.get("items", [])
        ]
    except GoogleApiError as error:
        if error.status != 404 and not error.service_disabled:
            raise
        return []
    named = sorted(
        (str(item["updated"]), item["name"])
        for item in items
        if item["name"].endswith("/outcome.json") and _time(str(item["updated"])).timestamp() >= since
    )
    found = [client.download(bucket, name, attempting=f"read {name}") for _, name in named[-limit:]]
    return [json.loads(data) for data in found if data is not None]


def read_schedule(client: Client, name: str) -> dict[str, Any] | None:
    """The instance schedule of that name, in whichever region; None if there is none, or Compute Engine is off."""
    url, query = f"{compute_url(client.project)}/aggregated/resourcePolicies", {"filter": f"name = {name}"}
    try:
        pages = list(client.pages(url, attempting=f"read instance schedule {name}", params=query))
    except GoogleApiError as error:
        if not error.service_disabled:
            raise
        return None
    scopes = [scope for page in pages for scope in page.get("items", {}).values()]
    return next((policy for scope in scopes for policy in scope.get("resourcePolicies", [])), None)


def missed(policy: dict[str, Any] | None, outcomes: list[Outcome], now: datetime.datetime) -> list[str]:
    """The times (RFC 3339, UTC) at which a run was due and none came, neither by the schedule nor otherwise."""
    wanted = (policy or {}).get("instanceSchedulePolicy", {})
    expression = (wanted.get("vmStartSchedule") or {}).get("schedule")
    if policy is None or not expression:
        return []
    since = max(now - MEMORY, _time(policy["creationTimestamp"]))
    runs = [(_time(run["started"]), _time(run["ended"])) for run in outcomes]
    return [
        moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        for moment in cron.due(expression, wanted["timeZone"], since, now - LATE - TOLERANCE)
        if not any(began <= moment + LATE + TOLERANCE and ended >= moment for began, ended in runs)
    ]


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
