# SPDX-License-Identifier: GPL-3.0-or-later
"""How a training run ended, and the line that says so. Standard library only: it runs on the VM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def verdict(status: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """State, reason and exit_code from what systemd said at the end (``status``) and what was true at the start.

    bash tells a program's death by signal N as exit code 128 + N.
    """
    exited = status["exit_code"] == "exited"
    code = int(status["exit_status"]) if exited else None
    # systemd also says timeout when a run that was over left a process behind and the stop took too long.
    over_time = status["ended"] - record["started"] >= record["timeout_seconds"]
    if status["result"] == "timeout" and (over_time or code is None):
        return {"state": "failed", "reason": "timeout", "exit_code": None}
    if status["result"] == "oom-kill" or (
        (code == 137 or status["exit_status"] == "KILL") and status["oom_kills"] > record.get("oom_kills", 0)
    ):
        return {"state": "failed", "reason": "out of memory", "exit_code": None}
    if code == 143 or status["exit_status"] == "TERM":
        return {"state": "failed", "reason": "stopped", "exit_code": None}
    if code is None or code > 128:
        signal = f"signal {code - 128}" if code else f"signal {status['exit_status']}"
        return {"state": "failed", "reason": signal, "exit_code": None}
    return {"state": "failed" if code else "finished", "reason": f"exit code {code}" if code else "", "exit_code": code}


def failure_message(run_id: str, found: dict[str, Any], options: dict[str, Any], tail: list[str]) -> str:
    """One line: what failed, why, and what to do."""
    what = f"Training run {run_id} failed after {found['seconds'] if found['seconds'] is not None else '?'} s: "
    reason = found["reason"]
    if reason == "out of memory":
        return (
            f"{what}the kernel killed it because the VM's memory was full."
            " Choose a larger vm_machine_type, or smaller partitions."
        )
    if reason == "timeout":
        return (
            f"{what}it was not done within {options['timeout_seconds']} s and was stopped."
            " Raise the time limit (it must stay below vm_max_run_seconds), or train fewer samples."
        )
    if reason == "stopped":
        return (
            f"{what}it was stopped from outside (systemctl stop, or the VM was shut down). Run again to start it anew."
        )
    if reason == "interrupted":
        return f"{what}the VM went off without a shutdown while it ran. Run again to start it anew."
    last = next((line.strip() for line in reversed(tail) if line.strip()), "no output")
    return f"{what}{reason}: {last}"


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since it booted."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match.group(1)) if match else 0
