# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a run, as one small document in the bucket: ``runs/RUN/outcome.json``. Together they are the history.

The same for runs of site.yml, of the schedule and by hand, and for starts that found nothing to do. It is made at the end of
the run from the files that the run left, so it is there for one that was killed as well.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ml.arguments import CEILING_CODE
from ml.bucket import Bucket
from ml.forest.machine_types import machine_types
from ml.publish.this_machine import UnknownMachineError, this_machine

SCHEMA = 1
#: The outcome of the last run that left everything up to date.
LAST_GOOD = "runs/up-to-date.json"
PROMOTED, REFUSED, FAILED, CEILING, NOTHING_NEW = "promoted", "refused", "failed", "ceiling", "nothing new"


def of_run(run: Path) -> dict[str, Any]:
    """Return the outcome of the run in this folder; ``seconds`` are the run's, ``vm_seconds`` the VM's since its boot."""
    record, status, manifest = (_read(run / name) for name in ("run.json", "status.json.new", "manifest.json"))
    status = status or _read(run / "status.json")
    began, ended = float(record.get("started", 0)), float(status.get("ended", time.time()))
    message = _last_line(run / "training.log")
    well = status.get("result") == "success" and str(status.get("exit_status")) == "0"
    result = PROMOTED if well else REFUSED if "not published: " in message else FAILED
    if status.get("result") == "exit-code" and str(status.get("exit_status")) == str(CEILING_CODE):
        result = CEILING
    if death := _death(status, record):
        message = f"{death}; before that: {message}"  # the last line does not say why
    return {
        **_head(run.name, str(record.get("trigger") or "site"), str(record.get("why") or ""), result),
        "message": "" if well else message,
        "started": _utc(began),
        "ended": _utc(ended),
        "seconds": round(ended - began),
        "rows": manifest.get("samples"),
        "source": manifest.get("source"),
        "accuracy": (manifest.get("metrics") or {}).get("accuracy"),
        "fingerprint": (manifest.get("fingerprint") or {}).get("fingerprint"),
        "workers": _workers(record.get("argv") or []),
        **_cost(),
    }


def _death(status: dict[str, Any], record: dict[str, Any]) -> str:
    """Return how a run ended that did not end itself; "" for one that did. bash tells a death by signal N as exit code 128 + N."""
    result, code = str(status.get("result") or "success"), str(status.get("exit_status"))
    killed = code in ("137", "KILL") and int(status.get("oom_kills") or 0) > int(record.get("oom_kills") or 0)
    if result == "oom-kill" or killed:
        return "the kernel killed it because the VM's memory was full: choose a larger vm_machine_type, or train on fewer rows"
    if result == "timeout":
        return "it was not done within its time limit and was stopped: raise training_timeout_seconds, or train on fewer rows"
    if result == "exit-code":
        return f"it was killed by signal {int(code) - 128}" if code.isdigit() and int(code) > 128 else ""
    return "" if result == "success" else f"systemd ended it ({result})"


def write(bucket: Bucket, outcome: dict[str, Any]) -> None:
    """Put an outcome into the bucket; a good one also as the last good one, which the function looks at. Raises BucketError."""
    run, data = outcome["run"], json.dumps(outcome, indent=1).encode()
    bucket.mirror(f"runs/{run}/outcome.json", data, "application/json", run)
    if outcome["result"] in (PROMOTED, NOTHING_NEW):
        bucket.mirror(LAST_GOOD, data, "application/json", run)


def idle(trigger: str, result: str, message: str = "") -> dict[str, Any]:
    """Return the outcome of a start that trained nothing, so that it is known to have come."""
    now = time.time()
    name = f"{trigger}-{time.strftime('%Y%m%dt%H%M%S', time.gmtime(now))}"
    times = {"started": _utc(now), "ended": _utc(now), "seconds": 0}
    return {**_head(name, trigger, "", result), "message": message, **times, **_cost()}


def _head(run: str, trigger: str, why: str, result: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "run": run, "trigger": trigger, "why": why, "result": result}


def _cost() -> dict[str, Any]:
    """Return which VM it was, how long it has been up, and what that is at list price; None for what is not known."""
    try:
        machine = this_machine()
        price = next((known.price for known in machine_types() if known.name == machine.machine_type), None)
    except (UnknownMachineError, OSError, LookupError) as error:
        print(f"warning: the outcome is without a price: {error}", file=sys.stderr)
        return dict.fromkeys(("vm", "zone", "machine_type", "vm_seconds", "list_price_usd"))
    up = round(machine.up_seconds)
    cost = None if price is None else round(price * up / 3600, 6)
    return {
        "vm": machine.name,
        "zone": machine.zone,
        "machine_type": machine.machine_type,
        "vm_seconds": up,
        "list_price_usd": cost,
    }


def _workers(argv: list[str]) -> int:
    return next((int(option.partition("=")[2]) for option in argv if option.startswith("--workers=")), 0)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or [line for line in lines if line.strip()] or [""])[-1][:500]


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
