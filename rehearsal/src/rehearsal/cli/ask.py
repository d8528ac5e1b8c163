# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal ask`: send one request to the deployed function with curl, and show the line that did it."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from typing import Any

from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.settings import Settings
from rehearsal.store import Store


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("ask", help="send one request to the deployed function, and show the curl line for it")
    parser.add_argument("--data", metavar="JSON", type=compact, help="the body to POST (default: a GET without a body)")
    parser.set_defaults(run=run)


def compact(text: str) -> str:
    """Return JSON text without superfluous spaces."""
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None


def local_url(settings: Settings, key: str) -> str:
    """Return where a browser reaches the function with that key of the store, without a proxy."""
    return f"http://127.0.0.1:{settings.gateway_port}/{key.rsplit('/', 1)[-1]}"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the first function's URL, a curl line, the answer that it got, and where its page is; return curl's exit code."""
    functions = [(key, record["resource"]) for key, record in Store(settings.home / "state.sqlite").list("functions")]
    found = next((entry for entry in functions if entry[1].get("serviceConfig", {}).get("uri")), None)
    if found is None:
        raise RehearsalError("no function is deployed; deploy one first")
    command = [
        "curl", "--silent", "--show-error", "--fail-with-body",
        "--proxy", settings.proxy_url, "--cacert", str(settings.ca_bundle),
    ]  # fmt: skip
    if arguments.data is not None:
        command += ["--header", "Content-Type: application/json", "--data", arguments.data]
    url = found[1]["serviceConfig"]["uri"]
    command.append(url)
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    say(f"\nThe function answers at {url}\n\n  {shlex.join(command)}\n\n{answer.stdout.strip()}{answer.stderr.strip()}")
    say(f"\nIts page, in a browser on this machine: {local_url(settings, found[0])}")
    return answer.returncode
