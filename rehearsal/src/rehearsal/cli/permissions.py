# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal permissions`: who may do what, and did."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rehearsal.cli.output import say
from rehearsal.services.iam import usage
from rehearsal.settings import Settings
from rehearsal.store import Store


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "permissions", help="who holds which permissions by its roles, and which were exercised, unused or refused"
    )
    parser.add_argument("--principal", metavar="GLOB", default="*", help="only these, e.g. 'trainer@*'")
    parser.add_argument("--forget", action="store_true", help="begin to count anew")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print, for each principal, what its roles grant and what of it was exercised."""
    store = Store(settings.home / "state.sqlite")
    if arguments.forget:
        say(f"{usage.forget(store)} counts forgotten")
        return 0
    reports = usage.reports(store, arguments.principal)
    if arguments.output == "json":
        say(json.dumps({name: report.as_dict() for name, report in reports.items()}, indent=2))
        return 0
    for name, report in reports.items():
        say(f"{name}: {len(report.granted)} granted, {len(report.exercised)} exercised, {len(report.unused)} unused")
        for title, rows in (("unused", report.unused), ("refused", report.denied), ("exercised", report.exercised)):
            for permission in sorted(rows):
                times = f" x{rows[permission]}" if isinstance(rows, dict) else ""
                say(f"  {title:<10} {permission}{times}")
    return 0
