# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal log`: the requests that were answered."""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from rehearsal.cli.output import say
from rehearsal.settings import Settings
from rehearsal.wire.request_log import Entry, RequestLog


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("log", help="show the requests that were answered")
    parser.add_argument(
        "--method", metavar="GLOB", default="*", help="only these method ids, e.g. 'compute.instances.*'"
    )
    parser.add_argument("--status", type=int, metavar="CODE", help="only answers with this HTTP status")
    parser.add_argument("--mutating", action="store_true", help="only requests that change something")
    parser.add_argument("--violations", action="store_true", help="only requests or answers outside Google's schema")
    parser.add_argument("--since", type=float, metavar="SECONDS", help="only the last SECONDS")
    parser.add_argument(
        "--after", type=int, default=0, metavar="NUMBER", help="only entries after this number (see --mark)"
    )
    parser.add_argument(
        "--mark", action="store_true", help="print only the number of the newest entry, to use with --after"
    )
    parser.add_argument("--bodies", action="store_true", help="show request bodies")
    parser.add_argument("--follow", action="store_true", help="go on showing new ones until Ctrl-C")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="json prints one object a line")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the entries that the filters let through, and with --follow those still to come."""
    log = RequestLog(settings.home / "requests.sqlite")
    if arguments.mark:
        say(str(log.last_number()))
        return 0
    after, since = arguments.after, time.time() - arguments.since if arguments.since else 0.0
    while True:
        for entry in log.entries(after, since):
            after = entry.number
            if selected(entry, arguments):
                say(json.dumps(entry.as_dict()) if arguments.output == "json" else line_of(entry, arguments.bodies))
        if not arguments.follow:
            return 0
        time.sleep(0.5)


def selected(entry: Entry, arguments: argparse.Namespace) -> bool:
    """Whether the entry passes every filter of `rehearsal log`."""
    return (
        fnmatchcase(entry.method, arguments.method)
        and (arguments.status is None or entry.status == arguments.status)
        and (entry.mutating or not arguments.mutating)
        and (bool(entry.violations) or not arguments.violations)
    )


def line_of(entry: Entry, bodies: bool) -> str:
    """Return one entry as text."""
    clock = datetime.fromtimestamp(entry.time).strftime("%H:%M:%S.%f")[:-3]
    took = f"{entry.milliseconds:>8.1f} ms"
    line = f"{entry.number:>6} {clock} {entry.status} {took} {entry.method or '-':<44} {entry.principal or '-'}"
    if not entry.method or entry.status >= 400:
        line += f"\n       {entry.verb} {entry.host}{entry.path}"
    if entry.fault:
        line += f"\n       planned fault: {entry.fault}"
    if entry.violations:
        line += f"\n       outside the schema: {entry.violations}"
    if bodies and entry.body:
        line += f"\n       {entry.body}"
    return line
