# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `rehearsal`: bring a Google Cloud up on this machine, look into it, plan faults, take it down."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from rehearsal import lifecycle, trouble_cli
from rehearsal.faults import ACTIONS, Fault, Faults
from rehearsal.identity import usage
from rehearsal.requestlog import Entry, RequestLog
from rehearsal.settings import Settings, load
from rehearsal.store import Store
from rehearsal.trust import client_environment

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

    down = commands.add_parser("down", help="power everything off; the state stays")
    down.add_argument(
        "--purge",
        action="store_true",
        help="forget everything but the images: instances, functions, buckets, accounts, logs",
    )
    down.add_argument("--images", action="store_true", help="with --purge: remove the images too")

    status = commands.add_parser(
        "status", help="what is there, and whether anything was answered that Google would not answer"
    )
    status.add_argument("--output", choices=("text", "json"), default="text")

    env = commands.add_parser("env", help="print the exports that point any Google client at the rehearsal")
    env.add_argument("--output", choices=("shell", "json"), default="shell")
    env.add_argument(
        "--identity",
        choices=("deployer", "owner"),
        default="deployer",
        help="whose key: the deployer's, which may do what the playbooks need (default), or the project owner's",
    )

    log = commands.add_parser("log", help="show the requests that were answered")
    log.add_argument("--method", metavar="GLOB", default="*", help="only these method ids, e.g. 'compute.instances.*'")
    log.add_argument("--status", type=int, metavar="CODE", help="only answers with this HTTP status")
    log.add_argument("--mutating", action="store_true", help="only requests that change something")
    log.add_argument("--violations", action="store_true", help="only requests or answers outside Google's schema")
    log.add_argument("--since", type=float, metavar="SECONDS", help="only the last SECONDS")
    log.add_argument(
        "--after", type=int, default=0, metavar="NUMBER", help="only entries after this number (see --mark)"
    )
    log.add_argument(
        "--mark", action="store_true", help="print only the number of the newest entry, to use with --after"
    )
    log.add_argument("--bodies", action="store_true", help="show request bodies")
    log.add_argument("--follow", action="store_true", help="go on showing new ones until Ctrl-C")
    log.add_argument("--output", choices=("text", "json"), default="text", help="json prints one object a line")

    methods = commands.add_parser(
        "methods",
        help="which of Google's methods are answered here, and whether they were exercised and stayed within the schema",
        description="From the request log since the project was created. Clean: called, every request and answer within "
        "Google's schema, and never answered 501.",
    )
    methods.add_argument("--each", action="store_true", help="a line for each method, not only for each service")
    methods.add_argument(
        "--output", choices=("text", "json", "markdown"), default="text",
        help="markdown prints what is implemented, as docs/fidelity.md lists it",
    )  # fmt: skip

    fault = commands.add_parser("fault", help="plan trouble, and see whether it came about")
    kinds = fault.add_subparsers(dest="fault_command", required=True, metavar="COMMAND")
    add = kinds.add_parser("add", help="plan a fault, e.g. fault add compute.instances.insert 503 --nth 1")
    add.add_argument("method", help="method id or glob, as `rehearsal log` shows them")
    add.add_argument(
        "action",
        choices=ACTIONS,
        help="an HTTP status to answer; drop: handle it, lose the answer; drop-request: lose it unhandled; slow: wait",
    )
    add.add_argument("--nth", type=int, default=1, metavar="N", help="from the N-th matching call on (default 1)")
    add.add_argument("--times", type=int, default=1, metavar="COUNT", help="for this many calls (default 1)")
    add.add_argument("--seconds", type=float, default=5.0, help="how long `slow` waits (default 5)")
    kinds.add_parser("list", help="show the plans, how often they matched and fired")
    kinds.add_parser("check", help="exit 1 when a planned fault never fired")
    kinds.add_parser("clear", help="forget every plan")

    permissions = commands.add_parser(
        "permissions", help="who holds which permissions by its roles, and which were exercised, unused or refused"
    )
    permissions.add_argument("--principal", metavar="GLOB", default="*", help="only these, e.g. 'm4-*'")
    permissions.add_argument("--forget", action="store_true", help="begin to count anew")
    permissions.add_argument("--output", choices=("text", "json"), default="text")

    trouble_cli.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code. Failures end in one line on stderr."""
    arguments = build_parser().parse_args(argv)
    settings = load()
    try:
        if arguments.command == "up":
            lifecycle.up(settings, arguments.image, arguments.withdraw, say)
        elif arguments.command == "down":
            lifecycle.down(settings, purge=arguments.purge, images=arguments.images, say=say)
        elif arguments.command == "status":
            return status(settings, arguments.output)
        elif arguments.command == "env":
            print_environment(settings, arguments.output, arguments.identity)
        elif arguments.command == "log":
            show_log(settings, arguments)
        elif arguments.command == "methods":
            from rehearsal import methods  # it loads every handler, which the other commands need not wait for

            methods.run(settings, output=arguments.output, each=arguments.each, say=say)
        elif arguments.command == "permissions":
            show_permissions(settings, arguments)
        elif arguments.command == "trouble":
            trouble_cli.run(settings, arguments, say)
        else:
            return fault_command(settings, arguments)
    except lifecycle.RehearsalError as error:
        sys.stderr.write(f"rehearsal: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return 0


def say(line: str) -> None:
    """Print one line of progress at once."""
    print(line, flush=True)


def print_environment(settings: Settings, output: str, identity: str) -> None:
    """Print the client environment as shell exports or as JSON."""
    if not settings.deployer_key.exists():
        raise lifecycle.RehearsalError("there is no rehearsal yet; run `rehearsal up` first")
    environment = client_environment(settings, identity)
    if output == "json":
        say(json.dumps(environment, indent=2))
    else:
        say("\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items()))


def status(settings: Settings, output: str) -> int:
    """Print what is there; return 0 when it runs and answered everything within Google's schemas, else 3."""
    content = summary(settings)
    if output == "json":
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
            f"requests: {content['requests']}, not implemented (501): {sum(content['not_implemented'].values())}, "
            f"outside the schema: {content['violations']}"
        )
        for method_id, count in content["not_implemented"].items():
            say(f"  501 {method_id} x{count}")
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
        if entry.status == 501:
            content["not_implemented"][entry.method] = content["not_implemented"].get(entry.method, 0) + 1
    return content


def show_log(settings: Settings, arguments: argparse.Namespace) -> None:
    """Print the entries that the filters let through, and with --follow those still to come."""
    log = RequestLog(settings.home / "requests.sqlite")
    if arguments.mark:
        say(str(log.last_number()))
        return
    after, since = arguments.after, time.time() - arguments.since if arguments.since else 0.0
    while True:
        for entry in log.entries(after, since):
            after = entry.number
            if selected(entry, arguments):
                say(json.dumps(entry.as_dict()) if arguments.output == "json" else line_of(entry, arguments.bodies))
        if not arguments.follow:
            return
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


def show_permissions(settings: Settings, arguments: argparse.Namespace) -> None:
    """Print, for each principal, what its roles grant and what of it was exercised."""
    store = Store(settings.home / "state.sqlite")
    if arguments.forget:
        say(f"{usage.forget(store)} counts forgotten")
        return
    reports = usage.reports(store, arguments.principal)
    if arguments.output == "json":
        say(json.dumps({name: report.as_dict() for name, report in reports.items()}, indent=2))
        return
    for name, report in reports.items():
        say(f"{name}: {len(report.granted)} granted, {len(report.exercised)} exercised, {len(report.unused)} unused")
        for title, rows in (("unused", report.unused), ("refused", report.denied), ("exercised", report.exercised)):
            for permission in sorted(rows):
                times = f" x{rows[permission]}" if isinstance(rows, dict) else ""
                say(f"  {title:<10} {permission}{times}")


def fault_command(settings: Settings, arguments: argparse.Namespace) -> int:
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
            raise lifecycle.RehearsalError(
                f"no method is called {fault.method!r}; `rehearsal log` shows the ids in use"
            )
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
    """Whether any of Google's methods, or any endpoint of ours, matches the glob."""
    from rehearsal.discovery import Router  # loading the documents takes a while, and only this command needs them
    from rehearsal.methods import endpoints

    ids = {method.id for document in Router().documents for method in document.methods}
    return any(fnmatchcase(name, pattern) for name in ids | endpoints())


if __name__ == "__main__":
    sys.exit(main())
