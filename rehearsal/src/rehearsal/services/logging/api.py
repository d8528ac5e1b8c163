# SPDX-License-Identifier: GPL-3.0-or-later
"""logging.v2, as far as deployments need it: the log of a build."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.functions.deploy import build_log
from rehearsal.services.iam.resources import project_of
from rehearsal.wire.calls import Call, CheckedInside, method

BUILD = re.compile(r'resource\.labels\.build_id\s*=\s*"([0-9a-f-]{36})"')


@method("logging.entries.list", permission=CheckedInside("logging.logEntries.list"))
def list_entries(call: Call) -> dict[str, Any]:
    """Return the lines of the build that the filter names; other logs are not kept here."""
    names = call.body.get("resourceNames") or []
    if len(names) != 1 or not names[0].startswith("projects/"):
        raise ApiError(400, "badRequest", "Exactly one resource, a project, must be named in resourceNames.")
    project = project_of(call, names[0].split("/")[1])
    call.cloud.identity.authorize(call.principal, "logging.logEntries.list", project)
    build = BUILD.search(call.body.get("filter", ""))
    if build is None:
        raise ApiError(405, "notImplemented", "Only the log of one build, by resource.labels.build_id, is kept here.")
    path = build_log(call.cloud, build[1])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = [_entry(project, build[1], *line.partition(" ")[::2]) for line in lines]
    if call.body.get("orderBy") == "timestamp desc":
        entries.reverse()
    shown = entries[: call.body.get("pageSize") or 50]
    return {"entries": shown} if shown else {}


def _entry(project: str, build: str, timestamp: str, text: str) -> dict[str, Any]:
    return {
        "logName": f"projects/{project}/logs/cloudbuild",
        "resource": {"type": "build", "labels": {"build_id": build, "project_id": project}},
        "timestamp": timestamp,
        "textPayload": text,
    }
