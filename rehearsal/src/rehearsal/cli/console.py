# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal console`: one page for people that shows what the rehearsal does. Read-only, on loopback, nothing from elsewhere."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import waitress
import yaml
from werkzeug.wrappers import Request, Response

from rehearsal.cli import ask, lifecycle
from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.services.compute import clock
from rehearsal.services.compute.operations import OPERATIONS
from rehearsal.settings import Settings
from rehearsal.store import Store
from rehearsal.wire.request_log import RequestLog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: What an operation leaves a VM in.
STATES = {"insert": "RUNNING", "start": "RUNNING", "delete": ""}
#: Names under which a browser on this machine asks; another Host is a page elsewhere that was pointed at this address.
HOSTS = ("127.0.0.1", "localhost")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'"


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("console", help="a page that shows VMs, releases, requests and costs as they come")
    parser.add_argument("--port", type=int, default=3131, help="port on 127.0.0.1 (default %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page as it is now, and serve nothing")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, or write it to a file."""
    if not (settings.home / "state.sqlite").exists():
        raise RehearsalError("there is no rehearsal yet; run `rehearsal up` first")
    if arguments.output:
        try:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(page(snapshot(settings), live=False), encoding="utf-8")
        except OSError as error:
            raise RehearsalError(f"{arguments.output}: {error.strerror}; give another file with --output") from error
        say(f"written to {arguments.output}")
        return 0
    try:
        server = waitress.create_server(application(settings), host="127.0.0.1", port=arguments.port)
    except OSError as error:
        raise RehearsalError(f"port {arguments.port}: {error.strerror}; give another one with --port") from error
    say(f"the console is at http://127.0.0.1:{server.effective_port}/ until Ctrl-C")
    server.run()
    return 0


def application(settings: Settings) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Return the WSGI application: the page, and what it shows as JSON."""

    def answer(request: Request) -> Response:
        if request.host.rsplit(":", 1)[0] not in HOSTS:
            return Response("ask at 127.0.0.1\n", 403)
        if request.method not in ("GET", "HEAD"):
            return Response("read-only\n", 405)
        if request.path == "/state.json":
            return Response(json.dumps(snapshot(settings)), content_type="application/json")
        if request.path != "/":
            return Response("the console is at /\n", 404)
        return Response(page(snapshot(settings), live=True), content_type="text/html; charset=utf-8")

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = answer(Request(environ))
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = POLICY
        return response(environ, start_response)

    return serve


def page(state: dict[str, Any], *, live: bool) -> str:
    """Return the page with that state in it; with `live` it asks for the next every two seconds."""
    text = resources.files("rehearsal.cli").joinpath("console.html").read_text(encoding="utf-8")
    inside = json.dumps({**state, "live": live}).replace("<", "\\u003c")
    return text.replace("__STATE__", inside)


def snapshot(settings: Settings) -> dict[str, Any]:
    """Return what the page shows. Times are seconds since the epoch, costs dollars at list price."""
    store, now = Store(settings.home / "state.sqlite"), clock.now()
    try:
        vms = machines(store, now)
        functions = [
            {
                "name": key.rsplit("/", 1)[-1],
                "state": record["resource"].get("state", "?"),
                "url": ask.local_url(settings, key),
            }
            for key, record in store.list("functions")
        ]
        buckets = [key for key, record in store.list("buckets") if record["project"] == settings.project_id]
        disks = [record.get("resource", record) for _, record in store.list("compute.disks")]
    finally:
        store.close()
    return {
        "project": settings.project_id,
        "running": lifecycle.running_pid(settings) is not None,
        "now": now,
        "vms": vms,
        "functions": functions,
        "releases": releases(settings, buckets),
        "requests": requests(settings.home / "requests.sqlite"),
        "costs": costs(settings.prices, vms, disks, now),
    }


def machines(store: Store, now: float) -> list[dict[str, Any]]:
    """Return each VM that ever was, with its state over time as [from, to, state], from the operations that succeeded."""
    present = {
        key.rsplit("/", 1)[-1]: record.get("resource", record) for key, record in store.list("compute.instances")
    }
    events: dict[str, list[tuple[float, str]]] = {}
    for _, record in OPERATIONS.list(store):
        resource = record["resource"]
        place, _, name = resource["targetLink"].partition("/instances/")
        kind = resource["operationType"].rsplit(".", 1)[-1]
        after = STATES.get(kind, "TERMINATED" if kind in ("stop", "guestTerminate", "hostError") else None)
        if place and name and after is not None and resource["status"] == "DONE" and "error" not in resource:
            events.setdefault(name, []).append((seconds(resource["endTime"]), after))
    found = []
    for name, changes in sorted(events.items()):
        changes.sort()
        ends = [at for at, _ in changes[1:]] + [now]
        spans = [[at, end, state] for (at, state), end in zip(changes, ends, strict=True) if state]
        vm = present.get(name, {})
        machine = str(vm.get("machineType", "")).rsplit("/", 1)[-1]
        status = vm.get("status", "DELETED")
        found.append({"name": name, "machine": machine, "status": status, "spans": spans})
    return found


def releases(settings: Settings, buckets: list[str]) -> list[dict[str, Any]]:
    """Return the releases that each bucket's pointer remembers, the live one first."""
    found = []
    for bucket in buckets if settings.release_pointer else ():
        try:
            pointer = json.loads((settings.home / "storage" / bucket / settings.release_pointer).read_bytes())
            entries = [pointer, *pointer.get("history", [])]
            names = ("version", "updated", "action", "reason", "manifest")
            found += [
                {"bucket": bucket, "live": index == 0} | {name: str(entry.get(name, "")) for name in names}
                for index, entry in enumerate(entries)
            ]
        except (OSError, ValueError, AttributeError):
            continue  # no pointer there, or not this kind
    return found


def requests(path: Path) -> list[dict[str, Any]]:
    """Return how often each method was asked for, the most frequent first."""
    try:
        log = RequestLog(path)
        counts = log.counts()
        log.close()
    except sqlite3.OperationalError:
        return []
    rows = [{"method": method or "none of Google's", "count": count.requests} for method, count in counts.items()]
    return sorted(rows, key=lambda row: (-int(str(row["count"])), str(row["method"])))


def costs(
    prices: Path | None, vms: list[dict[str, Any]], disks: list[dict[str, Any]], now: float
) -> list[dict[str, Any]]:
    """Return what hours of VMs and gigabytes of disks cost so far at list price; empty without a price file."""
    if prices is None:
        return []
    listed = yaml.safe_load(prices.read_text(encoding="utf-8"))
    rows = []
    for vm in vms:
        hours = sum(to - since for since, to, state in vm["spans"] if state == "RUNNING") / 3600
        price = listed["machine_types"].get(vm["machine"], {}).get("hour")
        title = f"{vm['name']} ({vm['machine'] or 'deleted: its type is not known any more'})"
        rows.append({"item": title, "hours": hours, "dollars": None if price is None else hours * price})
        address = hours * listed["external_ipv4"]["in_use_hour"]
        rows.append({"item": f"external address of {vm['name']}", "hours": hours, "dollars": address})
    for disk in disks:
        hours = (now - seconds(disk["creationTimestamp"])) / 3600
        kind = str(disk.get("type", "")).rsplit("/", 1)[-1]
        month = listed["disk_types"].get(kind, {}).get("gib_month")
        dollars = None if month is None else hours / listed["hours_per_month"] * month * int(disk["sizeGb"])
        rows.append({"item": f"disk {disk['name']} ({disk['sizeGb']} GB {kind})", "hours": hours, "dollars": dollars})
    return rows


def seconds(timestamp: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()
