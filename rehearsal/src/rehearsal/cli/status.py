# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal status`: what is there."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rehearsal.cli import lifecycle
from rehearsal.cli.faults import describe
from rehearsal.cli.output import say
from rehearsal.settings import Settings
from rehearsal.store import Store
from rehearsal.wire.faults import Faults
from rehearsal.wire.request_log import RequestLog


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "status", help="what is there, and whether anything was answered that Google would not answer"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what is there; return 0 when it runs and answered everything within Google's schemas, else 3."""
    content = summary(settings)
    if arguments.output == "json":
        say(json.dumps(content, indent=2))
    else:
        state = "up" if content["running"] else "down"
        say(
            f"rehearsal is {state}; project {settings.project_id}, "
            f"front door {settings.proxy_url}, state in {settings.home}"
        )
        for title in ("images", "instances", "functions", "buckets"):
            rows = content[title]
            say(f"{title}: " + ("none" if not rows else ""))
            for name, text in rows.items():
                say(f"  {name:<28} {text}")
        say(
            f"requests: {content['requests']}, not implemented (405): {sum(content['not_implemented'].values())}, "
            f"outside the schema: {content['violations']}"
        )
        for method_id, count in content["not_implemented"].items():
            say(f"  405 {method_id} x{count}")
        for line in content["unfired_faults"]:
            say(f"  planned fault never fired: {line}")
    return 0 if content["running"] else 3


def summary(settings: Settings) -> dict[str, Any]:
    """Return the state of the rehearsal as `rehearsal status --output json` prints it."""
    content: dict[str, Any] = {
        "running": lifecycle.running_pid(settings) is not None,
        "images": lifecycle.image_states(settings),
        "instances": {}, "functions": {}, "buckets": {},
        "requests": 0, "not_implemented": {}, "violations": 0, "unfired_faults": [],
    }  # fmt: skip
    if not (settings.home / "state.sqlite").exists():
        return content
    store = Store(settings.home / "state.sqlite")
    for key, instance in store.list("compute.instances"):
        resource = instance.get("resource", instance)
        machine = str(resource.get("machineType", "")).rsplit("/", 1)[-1]
        content["instances"][key] = f"{resource.get('status', '?')} {machine}"
    for key, function in store.list("functions"):
        resource = function.get("resource", function)
        content["functions"][key.rsplit("/", 1)[-1]] = (
            f"{resource.get('state', '?')} {resource.get('serviceConfig', {}).get('uri', '')}"
        )
    for key, bucket in store.list("buckets"):
        content["buckets"][f"gs://{key}"] = f"{bucket['project']} {bucket['resource']['location']}"
    content["unfired_faults"] = [describe(fault) for _, fault in Faults(store).unfired()]
    for entry in RequestLog(settings.home / "requests.sqlite").entries():
        content["requests"] += 1
        content["violations"] += bool(entry.violations)
        if entry.status == 405:
            content["not_implemented"][entry.method] = content["not_implemented"].get(entry.method, 0) + 1
    return content
