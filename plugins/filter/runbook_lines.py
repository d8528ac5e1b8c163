# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runbooks show of releases, resources and runs, as lines of text. Pure functions."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any


def release_lines(releases: list[dict[str, Any]]) -> list[str]:
    """One line for each release of ``model_release_info``, the live one marked."""
    return [_release_line(release) for release in releases]


def _release_line(release: dict[str, Any]) -> str:
    version, accuracy = release["version"], release["accuracy"]
    promoted = "never promoted"
    if version:
        forced = ", FORCED" if release["forced"] else ""
        promoted = f"{release['action']} {release['promoted'][:19]}{forced}: {release['reason']}"
    parts = [
        f"{'* live' if release['live'] else '':<6} {f'v{version}' if version else 'candidate'}",
        release["release"][:12],
        f"made {release['created'][:19]}",
        f"code {(release['code'] or 'unknown')[:8]}",
        f"data {(release['data'] or 'unknown')[:8]}, {release['samples'] or '?'} rows",
        f"accuracy {'unknown' if accuracy is None else f'{accuracy:.2%}'}",
        f"{release['size_bytes'] / 1e6:.1f} MB",
        promoted,
    ]
    return "  ".join(parts)


def resource_lines(resources: list[dict[str, str]]) -> list[str]:
    """One line for each resource of ``project_resources_info``: its kind, name, place, and detail if it has one."""
    return [
        f"{item['kind']} {item['name']} in {item['place']}" + (f": {item['detail']}" if item["detail"] else "")
        for item in resources
    ]


def run_title(log: dict[str, Any]) -> str:
    """Which run a log of ``training_log_info`` is of, and how and when (UTC) it ended."""
    if not log["run_id"]:
        return "No training has ended yet"
    status = (log.get("run") or {}).get("status")
    if not status:
        return f"Run {log['run_id']}, interrupted"
    how = "well" if status["result"] == "success" else f"with {status['result']}"
    at = datetime.datetime.fromtimestamp(float(status["ended"]), datetime.timezone.utc)
    return f"Run {log['run_id']}, ended {how} {at:%Y-%m-%dT%H:%M:%SZ}"


#: What modules and Ansible say of a failure whose reason stands elsewhere in the result.
WITHOUT_REASON = (
    "non-zero return code",
    "the command exited with a non-zero return code",  # ansible-core 2.21
    "module failure",
    "one or more items failed",
    "all items completed",
    "module result deserialization failed",
)


def failure_reason(result: dict[str, Any]) -> str:
    """Why a task failed, in one line: of a loop, its first failed item; of a command, its last lines of output."""
    items = [item for item in result.get("results", []) if isinstance(item, dict)]
    # ansible-core 2.21 no longer tells a callback "failed" of an item, but what was raised.
    failed = [item for item in items if item.get("failed") or item.get("exception")]
    found = failed[0] if failed else result
    message = found.get("msg") or ""
    text = "; ".join(str(part) for part in message) if isinstance(message, list) else str(message)
    if not text or text.lower().startswith(WITHOUT_REASON):
        said = next(
            (
                str(found[name])
                for name in ("stderr", "module_stderr", "stdout", "module_stdout", "exception")
                if found.get(name)
            ),
            "",
        )
        text = " ".join([line for line in said.splitlines() if line.strip()][-3:]) or text or "no message"
    return " ".join(text.split())


class FilterModule:
    """Makes the functions filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "failure_reason": failure_reason,
            "release_lines": release_lines,
            "resource_lines": resource_lines,
            "run_title": run_title,
        }
