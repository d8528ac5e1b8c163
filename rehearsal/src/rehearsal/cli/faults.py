# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal fault`: plan single failing calls."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from typing import Any

from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.settings import Settings
from rehearsal.store import Store
from rehearsal.wire.faults import ACTIONS, Fault, Faults


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("fault", help="plan trouble, and see whether it came about")
    kinds = parser.add_subparsers(dest="fault_command", required=True, metavar="COMMAND")
    add = kinds.add_parser("add", help="plan a fault, e.g. fault add compute.instances.insert 503 --nth 1")
    add.add_argument("method", help="method id or glob, as `rehearsal log` shows them")
    add.add_argument(
        "action",
        choices=ACTIONS,
        help="an HTTP status to answer; rate-limit: Compute's, which is a 403; activation: another change of the project's APIs is "
        "under way; drop: handle it, lose the answer; drop-request: lose it unhandled; slow: wait",
    )
    add.add_argument("--nth", type=int, default=1, metavar="N", help="from the N-th matching call on (default 1)")
    add.add_argument("--times", type=int, default=1, metavar="COUNT", help="for this many calls (default 1)")
    add.add_argument("--seconds", type=float, default=5.0, help="how long `slow` waits (default 5)")
    kinds.add_parser("list", help="show the plans, how often they matched and fired")
    kinds.add_parser("check", help="exit 1 when a planned fault never fired")
    kinds.add_parser("clear", help="forget every plan")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Plan, list, check or clear faults; return the exit code."""
    faults = Faults(Store(settings.home / "state.sqlite"))
    if arguments.fault_command == "add":
        fault = Fault(
            arguments.method,
            arguments.action,
            arguments.nth,
            arguments.times,
            arguments.seconds if arguments.action == "slow" else 0.0,
        )
        if not known_method(fault.method):
            raise RehearsalError(f"no method is called {fault.method!r}; `rehearsal log` shows the ids in use")
        say(f"planned as number {faults.plan(fault)}: {describe(fault)}")
    elif arguments.fault_command == "list":
        for number, fault in faults.plans():
            say(f"{number:>4} {describe(fault)}")
    elif arguments.fault_command == "clear":
        say(f"{faults.clear()} plans forgotten")
    else:
        unfired = faults.unfired()
        for _, fault in unfired:
            sys.stderr.write(f"rehearsal: planned fault never fired: {describe(fault)}\n")
        return 1 if unfired else 0
    return 0


def describe(fault: Fault) -> str:
    """Return a plan in words."""
    waits = f" {fault.seconds:g} s" if fault.action == "slow" else ""
    plan = f"{fault.method} {fault.action}{waits} from call {fault.nth}, {fault.times} times"
    return f"{plan}; matched {fault.seen}, fired {fault.fired}"


def known_method(pattern: str) -> bool:
    """Whether any of Google's methods, or any endpoint with a route of its own, matches the glob."""
    from rehearsal.wire.discovery import Router  # loading the documents takes a while, and only this command needs them
    from rehearsal.wire.methods import endpoints

    ids = {method.id for document in Router().documents for method in document.methods}
    return any(fnmatchcase(name, pattern) for name in ids | endpoints())
