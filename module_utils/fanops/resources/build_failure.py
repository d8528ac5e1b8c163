# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a build failed: Google's error mostly points to a log; people need the line."""

from __future__ import annotations

import re

from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.api.errors import GoogleApiError

LINES = 30


def agent_is_new(error: GoogleApiError) -> bool:
    """Whether a deployment failed because Google's own agent, made minutes ago, lacks an access that Google gives it."""
    return "ensure that the cloud functions service account" in error.google_message.lower()


def explained(client: Client, error: GoogleApiError) -> GoogleApiError:
    """``error`` itself, or for a build that failed one with the line that says why and the end of the log."""
    if "build" not in error.google_message.lower():
        return error
    lines = [line for line in error.google_message.splitlines() if line.strip()]
    if len(lines) < 3:
        lines += read_log(client, error.google_message)
    return GoogleApiError(
        error.attempting,
        f"the build failed: {telling_line(lines)}",
        "Correct the source or its requirements and run again; the version before keeps serving."
        " The end of the build's log is in failure.details.",
        status=error.status,
        reason="buildFailed",
        target=error.target,
        google_message=lines[0],
        details=[{"build_log": lines[-LINES:]}],
    )


def telling_line(lines: list[str]) -> str:
    """The line that says why: the last error, else what Google's message says, else the last line that is no pointer."""
    wanted = [line for line in lines if re.search(r"\b(error|exception)\b|Error:", line, re.IGNORECASE)]
    said = re.search(r"\band message: (.+)", lines[0])
    if said and not wanted:
        return said.group(1).strip()
    plain = [line for line in lines if "console.cloud.google.com" not in line]
    return (wanted or plain or lines)[-1].strip()


def read_log(client: Client, message: str) -> list[str]:
    """The end of the log of the build whose id is in ``message``, from Cloud Logging; [] where it cannot be read."""
    match = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", message)
    if not match:
        return []
    try:
        answer = client.call(
            "POST",
            "https://logging.googleapis.com/v2/entries:list",
            attempting="read the build log",
            body={
                "resourceNames": [f"projects/{client.project}"],
                "filter": f'resource.type="build" AND resource.labels.build_id="{match.group(0)}"',
                "orderBy": "timestamp desc",
                "pageSize": LINES,
            },
        )
    except GoogleApiError:
        return []
    return [entry["textPayload"] for entry in reversed(answer.get("entries", [])) if entry.get("textPayload")]
