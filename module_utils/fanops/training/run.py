# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run as a named systemd unit, followed by its files. Standard library only: it runs on the VM.

A run's folder holds ``run.json`` (what was started, written before the start), ``training.log`` (its output) and, once
it has ended, ``status.json`` (how, written by the unit's ExecStopPost). systemd forgets a transient unit when it ends,
and the VM may be rebooted: the files remain.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.fanops.training.outcome import oom_kills, verdict

RUNS_DIR = "/var/lib/fanops/runs"
#: Touched as a sign that a controller is alive; the VM's watchdog (role vm_watchdog) looks at its age.
LEASE = Path("/run/fanops-watchdog/lease")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: The most output handed over at once, in bytes, and the number of lines in a result's ``log``.
CHUNK = 65536
TAIL_LINES = 40

# bash is the unit's main process and leaves last: when only tee is left behind, a systemd on cgroup v1 may miss its end
# and wait for it in vain. Both live through a SIGTERM, so that nothing which the program says while it is stopped gets
# lost.
WRAPPER = 'trap : TERM; "$@" > >(trap "" TERM; exec tee -a "$0") 2>&1; code=$?; wait $!; exit $code'

# systemd gives ExecStopPost the result in the environment. Renaming makes the file appear whole, and last: whoever sees it may
# switch the VM off.
FINISH = """\
#!/bin/sh
cd "$(dirname "$0")" || exit 1
oom=$(awk '$1 == "oom_kill" {print $2}' /proc/vmstat)
printf '{"result": "%s", "exit_code": "%s", "exit_status": "%s", "ended": %s, "oom_kills": %s}\\n' \\
  "$SERVICE_RESULT" "$EXIT_CODE" "$EXIT_STATUS" "$(date +%s)" "${oom:-0}" > status.json.new
{on_end}
mv status.json.new status.json
"""
#: The longest that what is done at the end may take, in seconds.
ON_END_SECONDS = 60


class TrainingError(Exception):
    """A run that cannot be started; the text says why, and what to do."""


class TrainingRun:
    """One run, by its id.

    :param options: run_id, argv, chdir, environment, user, memory_max, timeout_seconds, as the module's.
    :param command: runs an argument list and returns a CompletedProcess with text output.
    """

    def __init__(
        self,
        options: dict[str, Any],
        *,
        runs_dir: str = RUNS_DIR,
        command: Callable[[list[str]], Any] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not RUN_ID.fullmatch(options["run_id"]):
            raise TrainingError(
                f"Could not start run {options['run_id']!r}: give a run id of letters, digits, '.', '-' and '_' only."
            )
        self.options = options
        self.unit = f"fanops-train-{options['run_id']}.service"
        self.folder = Path(runs_dir) / options["run_id"]
        self.log = self.folder / "training.log"
        self._command = command or _run
        self._clock = clock
        self._sleep = sleep

    # -- reading -------------------------------------------------------------------------------------------------

    def observe(self) -> dict[str, Any]:
        """State (absent, running, finished, failed), reason, exit_code, started_at (ISO, UTC), seconds."""
        record = _read_json(self.folder / "run.json")
        status = _read_json(self.folder / "status.json")
        found: dict[str, Any] = {
            "state": "absent",
            "reason": "",
            "exit_code": None,
            "started_at": None,
            "seconds": None,
        }
        if record is None:
            return found
        found["started_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["started"]))
        if status is not None:
            found["seconds"] = max(0, int(status["ended"] - record["started"]))
            found.update(verdict(status, record))
        elif self._active():
            found.update(state="running", seconds=max(0, int(self._clock() - record["started"])))
        else:
            # The unit may have ended between the two looks.
            status = _read_json(self.folder / "status.json")
            if status is not None:
                return self.observe()
            found.update(state="failed", reason="interrupted")
        return found

    def output(self, offset: int) -> tuple[list[str], int]:
        """Whole lines of output from byte ``offset`` on, and the offset after them."""
        try:
            with self.log.open("rb") as file:
                file.seek(offset)
                data = file.read(CHUNK)
        except OSError:
            return [], offset
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == CHUNK:  # one endless line
            end = len(data)
        return data[:end].decode("utf-8", "replace").splitlines(), offset + end

    def tail(self) -> list[str]:
        """The last lines of output."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - CHUNK))
                text: str = file.read().decode("utf-8", "replace")
            return text.splitlines()[-TAIL_LINES:]
        except OSError:
            return []

    def wait(self, seconds: float) -> None:
        """Return when the run has ended, or after ``seconds``. Looks at a file only: the CPU belongs to the run."""
        deadline = self._clock() + seconds
        while not (self.folder / "status.json").exists() and self._clock() < deadline:
            self._sleep(0.2)

    def _active(self) -> bool:
        answer = self._command(["systemctl", "show", "--property=ActiveState", "--value", self.unit])
        return answer.stdout.strip() in ("active", "activating", "deactivating", "reloading")

    # -- starting ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the unit; its folder is prepared first, so that a start is never unrecorded."""
        self._check()
        try:
            self._prepare()
        except OSError as error:
            raise TrainingError(
                f"Could not start run {self.options['run_id']}: cannot write {self.folder}: {error.strerror}. "
                "Free space on the VM's disk (old runs are in the same folder)."
            ) from error
        answer = self._command(self.command_line())
        if answer.returncode != 0 and "already" in answer.stderr:  # a failed unit that was never collected
            self._command(["systemctl", "reset-failed", self.unit])
            answer = self._command(self.command_line())
        if answer.returncode != 0:
            (self.folder / "run.json").unlink()
            raise TrainingError(
                f"Could not start {self.unit}: systemd-run said {_line(answer.stderr) or answer.returncode}."
                " Look at 'systemctl status' and the journal on the VM."
            )

    def command_line(self) -> list[str]:
        """The systemd-run call."""
        options = self.options
        properties = {
            "Type": "exec",
            "RuntimeMaxSec": str(options["timeout_seconds"]),
            # It also limits what is done at the end, after which alone the run counts as ended.
            "TimeoutStopSec": str(30 + ON_END_SECONDS),
            "StandardOutput": "journal",
            "StandardError": "journal",
            "SyslogIdentifier": "fanops-train",
            # When memory is short, the kernel shall take the training, and leave ssh alone.
            "OOMScoreAdjust": "500",
            "ExecStopPost": f"/bin/sh {self.folder}/finish.sh",
            "WorkingDirectory": options["chdir"],
            "User": options["user"],
            "MemoryMax": options["memory_max"],
        }
        environment = {"PYTHONUNBUFFERED": "1", **(options["environment"] or {})}
        return [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={self.unit}",
            f"--description=FanOps training run {options['run_id']}",
            *[f"--property={name}={value}" for name, value in properties.items() if value],
            *[f"--setenv={name}={value}" for name, value in environment.items()],
            "--",
            "/bin/bash",
            "-c",
            WRAPPER,
            str(self.log),
            *options["argv"],
        ]

    def _check(self) -> None:
        options = self.options
        what = f"Could not start run {options['run_id']}: "
        if options["chdir"] and not Path(options["chdir"]).is_dir():
            raise TrainingError(
                f"{what}there is no folder {options['chdir']}. Install the code first (role model_training)."
            )
        program = options["argv"][0]
        path = str(Path(options["chdir"] or "/", program)) if "/" in program else program
        if shutil.which(path) is None:
            raise TrainingError(f"{what}there is no program {program}. Install it first (role python_runtime).")
        if options["user"]:
            try:
                pwd.getpwnam(options["user"])
            except KeyError:
                raise TrainingError(f"{what}there is no user {options['user']} on this VM. Create it first.") from None

    def _on_end(self) -> str:
        """The shell line that runs ``on_end``; its failure is noted in the log and changes nothing."""
        argv = self.options.get("on_end")
        if not argv:
            return ":"
        folder = shlex.quote(self.options["chdir"] or "/")
        return f"(cd {folder} && timeout {ON_END_SECONDS} {shlex.join(argv)}) >> {shlex.quote(str(self.log))} 2>&1"

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.previous"))
        # A manifest of an earlier attempt says nothing about this one.
        for name in ("status.json", "run.json", "manifest.json"):
            if (self.folder / name).exists():
                (self.folder / name).unlink()
        self.log.touch(mode=0o644)
        (self.folder / "finish.sh").write_text(FINISH.replace("{on_end}", self._on_end()), encoding="utf-8")
        record = {
            "unit": self.unit,
            "argv": self.options["argv"],
            "started": self._clock(),
            "timeout_seconds": self.options["timeout_seconds"],
            "oom_kills": oom_kills(),
            "trigger": self.options.get("trigger") or "site",
            "why": self.options.get("why") or "",
        }
        new = self.folder / "run.json.new"
        new.write_text(json.dumps(record), encoding="utf-8")
        new.replace(self.folder / "run.json")
        if self.options["user"]:  # it writes its results and its status here
            for path in (self.folder, self.log):
                shutil.chown(path, self.options["user"])


def renew_lease(lease: Path = LEASE) -> None:
    """Tell the VM's watchdog, where there is one, that a controller follows the run."""
    if lease.exists():
        lease.touch()


def _run(argv: list[str]) -> Any:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def follow(run: TrainingRun, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Start the run if it must be, wait a little, and return where it is."""
    if not check_mode:
        renew_lease()
    found = run.observe()
    reattached = found["state"] == "running"
    start = (
        params["start"]
        and not params["follow_only"]
        and not reattached
        and (found["state"] != "finished" or params["force"])
    )
    if not check_mode:
        if start:
            run.start()
        if start or reattached:
            run.wait(params["poll_seconds"])
            found = run.observe()
    lines, offset = run.output(params["log_offset"])
    return {
        **found,
        "changed": start,
        "reattached": reattached,
        "unit": run.unit,
        "lines": lines,
        "log_offset": offset,
        "log_path": str(run.log),
        "log": "\n".join(run.tail()),
    }
