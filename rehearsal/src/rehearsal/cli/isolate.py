# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal isolate`: run a command beside another rehearsal."""

from __future__ import annotations

import argparse
import signal
import sys

from rehearsal.machine import isolation
from rehearsal.settings import Settings


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "isolate",
        help="run a command in a network of its own, where it can have a rehearsal of its own",
        description="The command, `make test-rehearsal` for example, sees a machine without a rehearsal and may start one. The network "
        "and its rehearsal are removed when the command ends.",
    )
    parser.add_argument("name", help="the network's name")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command with its arguments")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command; its exit code is this one's. Terminated, it still takes the network down."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    return isolation.run(settings, arguments.name, arguments.argv)
