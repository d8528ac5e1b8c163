# SPDX-License-Identifier: GPL-3.0-or-later
"""logging.v2, as far as people look at it: the log of a build, and what a function writes."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from rehearsal.errors import ApiError, not_implemented
from rehearsal.services.functions.deploy import build_log
from rehearsal.services.functions.names import from_key
from rehearsal.services.functions.records import FUNCTIONS
from rehearsal.services.iam.resources import project_of
from rehearsal.wire.calls import Call, CheckedInside, method

SERVICE = re.compile(r'resource\.labels\.service_name\s*[=:]\s*"?([a-z0-9-]+)"?')
SINCE = re.compile(r'timestamp\s*>=?\s*"([^"]+)"')
SPECIAL = "logging.googleapis.com/"
BUILD = re.compile(r'resource\.labels\.build_id\s*=\s*"([0-9a-f-]{36})"')


@method("logging.entries.list", permission=CheckedInside("logging.logEntries.list"))
def list_entries(call: Call) -> dict[str, Any]:
    """Return the lines of the build or of the service that the filter names; other logs are not kept here."""
    names = call.body.get("resourceNames") or []
    if len(names) != 1 or not names[0].startswith("projects/"):
        raise ApiError(400, "badRequest", "Exactly one resource, a project, must be named in resourceNames.")
    project = project_of(call, names[0].split("/")[1])
    call.cloud.identity.authorize(call.principal, "logging.logEntries.list", project)
    wanted = call.body.get("filter", "")
    build, service = BUILD.search(wanted), SERVICE.search(wanted)
    if build is not None:
        path = build_log(call.cloud, build[1])
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        entries = [_entry(project, build[1], *line.partition(" ")[::2]) for line in lines]
    elif service is not None:
        entries = _output(call, project, service[1])
    else:
        raise not_implemented("reading logs other than those of a build or a service, by its label in resource.labels")
    since = SINCE.search(wanted)
    entries = [one for one in entries if since is None or one["timestamp"] >= since[1]]
    entries.sort(key=lambda entry: str(entry["timestamp"]))
    if call.body.get("orderBy") == "timestamp desc":
        entries.reverse()
    shown = entries[: call.body.get("pageSize") or 50]
    return {"entries": shown} if shown else {}


def _output(call: Call, project: str, service: str) -> list[dict[str, Any]]:
    """Return what the instances of a service have written since they were started."""
    entries = []
    for key, record in FUNCTIONS.list(call.cloud.store, f"{project}/"):
        name, revision = from_key(key), record["serving"]
        if name.id != service or revision is None:
            continue
        labels = {"service_name": name.id, "revision_name": revision["name"], "location": name.region}
        pool = call.cloud.function_pools.get(revision["container"])
        written = [call.cloud.containers.logs(one.container, timestamps=True) for one in pool.instances] if pool else []
        for line in b"".join(written).decode(errors="replace").splitlines():
            moment, _, text = line.partition(" ")
            entries.append(
                {
                    "logName": f"projects/{project}/logs/run.googleapis.com%2Fstdout",
                    "resource": {"type": "cloud_run_revision", "labels": labels | {"project_id": project}},
                    "timestamp": datetime.fromisoformat(moment).astimezone(UTC).isoformat().replace("+00:00", "Z"),
                    "insertId": hashlib.sha256(line.encode()).hexdigest()[:16],
                }
                | _payload(text)
            )
    return entries


def _payload(text: str) -> dict[str, Any]:
    """Return what a written line says: JSON is taken apart, as Google does with what a container writes."""
    try:
        content = json.loads(text)
    except ValueError:
        return {"textPayload": text}
    if not isinstance(content, dict):
        return {"textPayload": text}
    entry: dict[str, Any] = {"severity": content.pop("severity", "DEFAULT")}
    special = {"labels": "labels", "spanId": "spanId", "trace": "trace"}
    entry |= {member: content.pop(key) for name, member in special.items() if (key := SPECIAL + name) in content}
    return entry | ({"textPayload": content["message"]} if list(content) == ["message"] else {"jsonPayload": content})


def _entry(project: str, build: str, timestamp: str, text: str) -> dict[str, Any]:
    return {
        "logName": f"projects/{project}/logs/cloudbuild",
        "resource": {"type": "build", "labels": {"build_id": build, "project_id": project}},
        "timestamp": timestamp,
        "textPayload": text,
    }
