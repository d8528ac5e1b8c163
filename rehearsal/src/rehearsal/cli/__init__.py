# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `rehearsal`: bring a Google Cloud up on this machine, look into it, plan faults, take it down."""

from __future__ import annotations

import argparse
import json
import shlex
import sys

from rehearsal.cli import (
    ask,
    calendar,
    console,
    faults,
    isolate,
    lifecycle,
    log,
    new_method,
    permissions,
    status,
    trouble,
)
from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.services.iam.sign_in import renew_subject_token
from rehearsal.settings import Settings, load
from rehearsal.wire.trust import IDENTITIES, client_environment

DESCRIPTION = """\
A Google Cloud on this machine. Real Debian guests stand in for Compute Engine instances, real containers for
functions, and Google's own clients use it unmodified: only the environment says where to connect.

  rehearsal up                       build what is missing (images, certificates) and start
  eval "$(rehearsal env)"            point this shell's Google clients at it
  gcloud compute instances list      … or ansible-playbook site.yml
  rehearsal log --mutating           what was asked of it
  rehearsal down                     power everything off; `up` brings it all back
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="rehearsal", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start the rehearsal; builds missing images first")
    up.add_argument(
        "--image",
        action="append",
        metavar="FAMILY",
        help="an image to have ready (default: debian-11 and python313; may be repeated)",
    )
    up.add_argument(
        "--withdraw",
        action="append",
        default=[],
        metavar="FAMILY",
        help="answer 404 for this image family, as Google does for debian-11 since September 2026",
    )

    up.set_defaults(run=run_up)

    down = commands.add_parser("down", help="power everything off; the state stays")
    down.add_argument(
        "--purge",
        action="store_true",
        help="forget everything but the images: instances, functions, buckets, accounts, logs",
    )
    down.add_argument("--images", action="store_true", help="with --purge: remove the images too")

    down.set_defaults(run=run_down)

    env = commands.add_parser("env", help="print the exports that point any Google client at the rehearsal")
    env.add_argument("--output", choices=("shell", "json"), default="shell")
    env.add_argument(
        "--identity",
        choices=IDENTITIES,
        default="deployer",
        help="who signs in: the deployer by its key file (default), the project's owner as `gcloud auth application-default login` leaves "
        "them, the owner acting as the deployer, or a CI system by workload identity federation",
    )

    env.set_defaults(run=run_env)

    methods = commands.add_parser(
        "methods",
        help="which of Google's methods are answered here, and whether they were exercised and stayed within the schema",
        description="From the request log since the project was created. Clean: called, every request and answer within "
        "Google's schema, and never answered 405.",
    )
    methods.add_argument("--each", action="store_true", help="a line for each method, not only for each service")
    methods.add_argument(
        "--output", choices=("text", "json", "markdown"), default="text",
        help="markdown prints what is implemented, as rehearsal/docs/fidelity.md lists it",
    )  # fmt: skip

    methods.set_defaults(run=run_methods)

    for command in (status, console, ask, log, faults, permissions, trouble, calendar, isolate, new_method):
        command.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code. Failures end in one line on stderr."""
    arguments = build_parser().parse_args(argv)
    settings = load()
    try:
        code: int = arguments.run(settings, arguments)
    except RehearsalError as error:
        sys.stderr.write(f"rehearsal: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return code


def run_up(settings: Settings, arguments: argparse.Namespace) -> int:
    """Start the rehearsal."""
    lifecycle.up(settings, arguments.image, arguments.withdraw, say)
    return 0


def run_down(settings: Settings, arguments: argparse.Namespace) -> int:
    """Power everything off; with --purge, forget it too."""
    lifecycle.down(settings, purge=arguments.purge, images=arguments.images, say=say)
    return 0


def run_env(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the client environment as shell exports or as JSON."""
    if not settings.deployer_key.exists():
        raise RehearsalError("there is no rehearsal yet; run `rehearsal up` first")
    if arguments.identity == "federated":
        renew_subject_token(settings)
    environment = client_environment(settings, arguments.identity)
    if arguments.output == "json":
        say(json.dumps(environment, indent=2))
    else:
        # An empty GCP_SERVICE_ACCOUNT_FILE is a key file's name to the google.cloud collection.
        lines = [
            f"export {name}={shlex.quote(value)}" if value else f"unset {name}" for name, value in environment.items()
        ]
        say("\n".join(lines))
    return 0


def run_methods(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print which of Google's methods are answered here."""
    from rehearsal.wire import methods  # it loads every handler, which the other commands need not wait for

    methods.run(settings, output=arguments.output, each=arguments.each, say=say)
    return 0
