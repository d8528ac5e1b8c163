# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal trouble`: set, list and clear the knobs of `rehearsal.trouble`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rehearsal import trouble
from rehearsal.cli.output import say
from rehearsal.services.compute import catalogue, limits
from rehearsal.services.compute.projects import PROJECTS
from rehearsal.services.iam import organisation
from rehearsal.services.iam.policies import DELAYS
from rehearsal.settings import Settings
from rehearsal.store import Store

DESCRIPTION = """\
Make the rehearsal as troublesome as a real cloud can be. A knob stays until it is cleared or spent; setting it again
replaces it. Single failing calls are planned with `rehearsal fault`.

  rehearsal trouble set stockout us-central1-a --times 2    two attempts find no machines, the third does
  rehearsal trouble set iam-delay 40                        a grant counts only 40 s after it was made
  rehearsal trouble set dpkg-lock 60                        the next VM boots with a busy package manager
  rehearsal trouble list                                    what is set, and how often it was met
  rehearsal trouble clear                                   a quiet cloud again
"""


@dataclass(frozen=True)
class Knob:
    """What a knob is called, does and takes; `keep` returns the (kind, key, document) that set it."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    keep: Callable[[argparse.Namespace], tuple[str, str, dict[str, Any]]]
    kind: str = trouble.KIND


def _stockout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("zone", choices=catalogue.ZONES, metavar="ZONE")
    parser.add_argument("--machine-type", action="append", metavar="TYPE", help="only these (default: every type)")
    parser.add_argument("--times", type=positive, metavar="N", help="only the next N attempts (default: until cleared)")


def _keep_stockout(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    document: dict[str, Any] = {"machineTypes": arguments.machine_type} if arguments.machine_type else {}
    return limits.STOCKOUTS, arguments.zone, document | ({"remaining": arguments.times} if arguments.times else {})


def _quota(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("metric", choices=limits.DEFAULTS, metavar="METRIC", help=", ".join(limits.DEFAULTS))
    parser.add_argument("limit", type=float, metavar="LIMIT")
    parser.add_argument("--region", default="us-central1", metavar="REGION", help="default %(default)s")


def _keep_quota(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    return limits.QUOTAS, arguments.region, {arguments.metric: arguments.limit}


def _iam_delay(parser: argparse.ArgumentParser) -> None:
    _seconds(parser)
    parser.add_argument("--resource", default="*", metavar="RESOURCE", help="only this policy, e.g. buckets/my-models")


def _keep_iam_delay(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    return DELAYS, arguments.resource, {"seconds": arguments.seconds}


def _seconds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("seconds", type=positive_seconds, metavar="SECONDS")


def _days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("days", type=positive, metavar="DAYS")


def _policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "constraint", choices=organisation.CONSTRAINTS, metavar="CONSTRAINT", help=", ".join(organisation.CONSTRAINTS)
    )
    parser.add_argument(
        "values", nargs="*", metavar="VALUE", help="what a list constraint allows; without one it denies all"
    )


def _keep_policy(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    return organisation.KIND, arguments.constraint, {"values": arguments.values} if arguments.values else {"on": True}


def _boot(parser: argparse.ArgumentParser) -> None:
    _seconds(parser)
    parser.add_argument("--boots", type=positive, default=1, metavar="N", help="the next N boots (default 1)")


def _skew(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("seconds", type=float, metavar="SECONDS", help="negative: Google's clock is behind")


def _nothing(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def _keeps(name: str) -> Callable[[argparse.Namespace], tuple[str, str, dict[str, Any]]]:
    def keep(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
        values = {key: getattr(arguments, key) for key in ("seconds", "boots", "days") if hasattr(arguments, key)}
        return trouble.KIND, name, values or {"on": True}

    return keep


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return int(text)


def positive_seconds(text: str) -> float:
    """Return a number above 0."""
    if not 0 < float(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 86400")
    return float(text)


def knob_name(text: str) -> str:
    """Return the text if a knob is called so."""
    if text not in KNOBS:
        raise argparse.ArgumentTypeError(f"no knob is called {text}; there are {', '.join(KNOBS)}")
    return text


def _own(name: str, explanation: str, arguments: Callable[[argparse.ArgumentParser], None]) -> Knob:
    return Knob(name, explanation, arguments, _keeps(name))


KNOBS = {
    knob.name: knob
    for knob in (
        Knob("stockout", "a zone has no machines left", _stockout, _keep_stockout, limits.STOCKOUTS),
        Knob("quota", "a region's quota is exhausted or small", _quota, _keep_quota, limits.QUOTAS),
        Knob("iam-delay", "changed policies count only later", _iam_delay, _keep_iam_delay, DELAYS),
        _own(trouble.API_DELAY, "an API just enabled still answers SERVICE_DISABLED for a while", _seconds),
        _own(trouble.ACCOUNT_DELAY, "a service account just created is not yet known everywhere", _seconds),
        _own(trouble.AGENT_DELAY, "the first deployment's service agent has no access to its repository yet", _seconds),
        _own(trouble.ROLE_AGE, "custom roles that were deleted were deleted so many days ago", _days),
        _own(trouble.BILLING, "billing is switched off", _nothing),
        _own("oslogin", "the project's metadata says enable-oslogin=TRUE", _nothing),
        Knob(
            organisation.KNOB,
            "an organisation policy, enforced or with the values that it allows",
            _policy,
            _keep_policy,
            organisation.KIND,
        ),
        _own(trouble.CLOCK, "Google's clock is ahead of this machine's", _skew),
        _own("dpkg-lock", "a booting VM's package manager is busy, as at a real first boot", _boot),
        _own("nologin", "a booting VM refuses logins with 'System is booting up'", _boot),
        _own("late-ssh", "a booting VM's sshd comes late", _boot),
    )
}


def add_parser(commands: Any) -> None:
    """Add `trouble` to the command line's sub-parsers."""
    parser = commands.add_parser(
        "trouble",
        help="make the cloud troublesome: stock-outs, slow IAM, a busy first boot …",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="trouble_command", required=True, metavar="COMMAND")
    knobs = kinds.add_parser("set", help="set a knob").add_subparsers(dest="knob", required=True, metavar="KNOB")
    for knob in KNOBS.values():
        knob.arguments(
            knobs.add_parser(knob.name, help=knob.help, description=f"{knob.help[0].upper()}{knob.help[1:]}.")
        )
    listing = kinds.add_parser("list", help="what is set, and how often it was met")
    listing.add_argument("--output", choices=("text", "json"), default="text")
    clear = kinds.add_parser("clear", help="clear all knobs, or those named")
    clear.add_argument("knobs", nargs="*", type=knob_name, metavar="KNOB", help=", ".join(KNOBS))
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Carry out one `rehearsal trouble` command."""
    store = Store(settings.home / "state.sqlite")
    if arguments.trouble_command == "set":
        set_knob(store, arguments, settings.project_id)
        say(f"set: {arguments.knob} {describe(current(store)[arguments.knob])}")
    elif arguments.trouble_command == "clear":
        names = arguments.knobs or list(KNOBS)
        for name in names:
            clear(store, name, settings.project_id)
        say(f"cleared: {', '.join(names)}")
    elif arguments.output == "json":
        say(json.dumps(listing(store), indent=2))
    else:
        for name, entry in listing(store).items():
            say(f"{name:<16}{describe(entry['set']):<44}met {entry['met']} times")
    return 0


def set_knob(store: Store, arguments: argparse.Namespace, project: str) -> None:
    """Set the knob that the arguments name, and begin to count anew."""
    kind, key, document = KNOBS[arguments.knob].keep(arguments)
    with store.lock:
        if kind == limits.QUOTAS:
            document = (store.get(kind, key) or {}) | document
        store.put(kind, key, document)
        store.delete(trouble.MET, arguments.knob)
        if arguments.knob == "oslogin":
            _project_metadata(store, project, "TRUE")


def clear(store: Store, name: str, project: str) -> None:
    """Clear one knob; one that is not set is no error. How often it was met is still known."""
    with store.lock:
        own = KNOBS[name].kind == trouble.KIND
        for key, _ in store.list(KNOBS[name].kind, name if own else ""):
            if not own or key == name:
                store.delete(KNOBS[name].kind, key)
        if name == "oslogin":
            _project_metadata(store, project, None)


def current(store: Store) -> dict[str, dict[str, Any]]:
    """Return knob -> {key: document} (`{"": document}` where a knob has no keys) of what is set."""
    found: dict[str, dict[str, Any]] = {}
    for name, knob in KNOBS.items():
        if knob.kind != trouble.KIND:
            documents = dict(store.list(knob.kind))
        else:
            document = store.get(knob.kind, name)
            documents = {"": document} if document else {}
        if documents:
            found[name] = documents
    return found


def listing(store: Store) -> dict[str, dict[str, Any]]:
    """Return knob -> {"set": …, "met": times} of what is set, or was and came about."""
    known = current(store)
    met = {name: trouble.times_met(store, name) for name in KNOBS}
    return {name: {"set": known.get(name, {}), "met": met[name]} for name in KNOBS if name in known or met[name]}


def describe(documents: dict[str, Any]) -> str:
    """Return what a knob is set to, in one line."""
    parts = []
    for key, document in documents.items():
        values = " ".join(f"{name}={_plain(value)}" for name, value in document.items() if name != "on")
        parts.append(" ".join(part for part in (key, values) if part) or "on")
    return "; ".join(parts) or "not set"


def _plain(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def _project_metadata(store: Store, project: str, value: str | None) -> None:
    document = PROJECTS.get(store, project) or {"items": []}
    items = [item for item in document["items"] if item["key"] != "enable-oslogin"]
    document["items"] = items + ([{"key": "enable-oslogin", "value": value}] if value else [])
    PROJECTS.put(store, project, document)
