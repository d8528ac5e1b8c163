# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal calendar`: move the calendar that instance schedules follow, so that a week passes in a second."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from rehearsal import ahead
from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.services.compute import resource_policies
from rehearsal.settings import Settings
from rehearsal.store import Store

# What is due is due a moment later: a schedule fires once the calendar has passed it.
PAST_SECONDS = 1.0


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("calendar", help="move the calendar of instance schedules ahead, and show it")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--next", action="store_true", help="just past the next time at which a schedule fires")
    how.add_argument(
        "--ahead", type=float, metavar="SECONDS", help="by so many seconds; what was due meanwhile fires once"
    )
    parser.add_argument(
        "--clock",
        action="store_true",
        help="Google's clock goes with it: what operations, VMs and objects tell, and the Date of answers; a controller is behind then",
    )
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Move the calendar and print its time. Raises RehearsalError where no schedule fires any more."""
    store = Store(settings.home / "state.sqlite")
    now = resource_policies.today(store)
    seconds = arguments.ahead or 0.0
    if arguments.next:
        policies = [policy for _, policy in resource_policies.POLICIES.records.list(store)]
        due = [
            run
            for policy in policies
            for schedule in resource_policies.SCHEDULES
            if (run := resource_policies.next_run(policy, schedule, now)) is not None
        ]
        if not due:
            raise RehearsalError("no instance schedule fires any more; make one first")
        seconds = min(due) - now + PAST_SECONDS
    if seconds < 0:
        raise RehearsalError("the calendar goes forward only: what has happened has happened")
    ahead.move(store, seconds, with_clock=arguments.clock)
    say(datetime.fromtimestamp(resource_policies.today(store), UTC).isoformat(timespec="seconds"))
    return 0
