#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Powers the VM off when its run is over and nobody stopped it. Standard library only, Debian's own Python (3.9 or later).

``fanops-watchdog run`` looks every few seconds; ``fanops-watchdog status`` prints as JSON what it would do, and when.

It is armed by a file below /run, which is gone after a boot: a VM that a person started is left to that person (and to
Google's run limit). Once armed it needs no controller, no network and no answer from anybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STATE = Path("/run/fanops-watchdog")
RUNS = Path("/var/lib/fanops/runs")
#: Seconds between two looks.
EVERY = 5.0
#: A run may take this long beyond its own limit, in seconds, until systemd has ended it.
OVERRUN = 120.0
#: After so many seconds a power-off that did not happen is tried the hard way.
FORCE_AFTER = 120.0

Answer = dict[str, Any]


def decide(now: float, armed: Answer | None, renewed: float, runs: list[Answer], idle_since: float | None) -> Answer:
    """Return {"armed", "power_off", "reason", "at"}: whether to power off now, why, and when at the latest otherwise.

    All times are seconds of the monotonic clock, which no correction of the time of day moves. ``armed`` is what the
    role wrote (``lease_seconds``, ``grace_seconds``), ``renewed`` when a controller was last heard of, ``runs`` are the
    active trainings ({"run_id", "until"}), ``idle_since`` is when the last of them was seen to have ended (None: none
    has run since arming).
    """
    if armed is None:
        return {"armed": False, "power_off": False, "reason": "not armed", "at": None}
    overdue = [run for run in runs if now > run["until"] + OVERRUN]
    if runs and not overdue:
        until = max(run["until"] for run in runs) + OVERRUN
        names = ", ".join(run["run_id"] for run in runs)
        return {"armed": True, "power_off": False, "reason": f"run {names} is active", "at": until}
    if overdue:
        return {
            "armed": True,
            "power_off": True,
            "reason": f"run {overdue[0]['run_id']} is active beyond its time limit",
            "at": now,
        }
    lapses = renewed + armed["lease_seconds"]
    reason, at = f"no controller was heard of for {now - renewed:.0f} s", lapses
    if idle_since is not None and idle_since + armed["grace_seconds"] < lapses:
        at = idle_since + armed["grace_seconds"]
        reason = f"the run ended {now - idle_since:.0f} s ago and nobody stopped the VM"
    return {"armed": True, "power_off": now >= at, "reason": reason, "at": at}


def read_json(path: Path) -> Answer | None:
    """Return the file's object, or None where there is none (any more)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def active_runs(now: float) -> list[Answer]:
    """Return the trainings that systemd runs: {"run_id", "until" (monotonic seconds of their time limit)}."""
    listed = subprocess.run(
        ["/bin/systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating",
         "fanops-train-*.service"],
        stdout=subprocess.PIPE, text=True, check=False,
    ).stdout  # fmt: skip
    runs = []
    for line in listed.splitlines():
        run_id = line.split()[0][len("fanops-train-") : -len(".service")]
        record = read_json(RUNS / run_id / "run.json") or {}
        # Without a record the lease still counts from now on: an unknown run gets an hour.
        left = record.get("started", time.time()) + record.get("timeout_seconds", 3600) - time.time()
        runs.append({"run_id": run_id, "until": now + left})
    return runs


def idle_since(now: float, armed_file: Path) -> float | None:
    """Return when the last run that ended after the arming ended, in monotonic seconds, or None."""
    try:
        armed_at = armed_file.stat().st_mtime
        ends = [path.stat().st_mtime for path in RUNS.glob("*/status.json")]
    except OSError:
        return None
    after = [end for end in ends if end >= armed_at]
    return now - max(0.0, time.time() - max(after)) if after else None


def renewed_at(now: float) -> float:
    """Return when a controller was last heard of, in monotonic seconds; the file's time is the time of day."""
    try:
        age = time.time() - (STATE / "lease").stat().st_mtime
    except OSError:
        return 0.0
    return now - max(0.0, age)


def look() -> Answer:
    """Return what to do now."""
    now = time.monotonic()
    armed_file = STATE / "armed.json"
    armed = read_json(armed_file)
    runs = active_runs(now) if armed else []
    return decide(now, armed, renewed_at(now), runs, idle_since(now, armed_file))


class PowerOff:
    """Powers off, first politely."""

    def __init__(self) -> None:
        self.began: float | None = None

    def __call__(self, reason: str) -> None:
        """Begin, or insist."""
        now = time.monotonic()
        if self.began is None:
            say(f"powering the VM off: {reason}")
            self.began = now
            subprocess.run(["/bin/systemctl", "poweroff"], check=False)
        elif now - self.began > FORCE_AFTER:
            subprocess.run(["/bin/systemctl", "poweroff", "--force", "--force"], check=False)


def say(line: str) -> None:
    """Write to the journal, which has syslog and the serial port in turn."""
    print(line, flush=True)
    try:
        descriptor = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.write(descriptor, f"fanops-watchdog: {line}\r\n".encode())
    except OSError:
        pass  # a console that does not listen must not keep the VM running
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    if arguments == ["status"]:
        answer = look()
        in_seconds = None if answer["at"] is None else round(answer["at"] - time.monotonic())
        at = None if in_seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + in_seconds))
        print(json.dumps({**answer, "at": at, "in_seconds": in_seconds}))
        return 0
    if arguments == ["run"]:
        power_off = PowerOff()
        while True:
            answer = look()
            if answer["power_off"]:
                power_off(answer["reason"])
            time.sleep(EVERY)
    print("usage: fanops-watchdog run|status", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
