# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run's files and verdicts. systemd itself is exercised on a guest, by the rehearsal tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.fanops.training.outcome import failure_message, verdict
from ansible.module_utils.fanops.training.run import FINISH, WRAPPER, TrainingError, TrainingRun, renew_lease

OPTIONS: dict[str, Any] = {
    "run_id": "abc",
    "argv": ["/bin/true", "--samples", "10"],
    "chdir": "/",
    "environment": {"A": "x y"},
    "user": None,
    "memory_max": None,
    "timeout_seconds": 60,
}


class Systemd:
    """Records the commands; ``active`` is what ``systemctl show`` says."""

    def __init__(self) -> None:
        self.active = "inactive"
        self.commands: list[list[str]] = []
        self.errors: list[str] = []

    def __call__(self, argv: list[str]) -> Any:
        self.commands.append(argv)
        if argv[0] == "systemd-run" and self.errors:
            return SimpleNamespace(returncode=1, stdout="", stderr=self.errors.pop(0))
        if argv[0] == "systemd-run":
            self.active = "active"
        return SimpleNamespace(returncode=0, stdout=f"{self.active}\n", stderr="")


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def run(tmp_path: Path, systemd: Systemd) -> TrainingRun:
    return TrainingRun(OPTIONS, runs_dir=str(tmp_path), command=systemd, clock=lambda: 1000.0)


def end(run: TrainingRun, systemd: Systemd, **status: Any) -> None:
    """The unit ends."""
    systemd.active = "inactive"
    ended = {"result": "success", "exit_code": "exited", "exit_status": "0", "ended": 1042, "oom_kills": 0, **status}
    (run.folder / "status.json").write_text(json.dumps(ended))


def test_run_is_absent_then_running_then_finished(run: TrainingRun, systemd: Systemd) -> None:
    assert run.observe()["state"] == "absent"
    run.start()
    assert run.observe()["state"] == "running"
    end(run, systemd)
    assert run.observe() == {
        "state": "finished",
        "reason": "",
        "exit_code": 0,
        "started_at": "1970-01-01T00:16:40Z",
        "seconds": 42,
    }


def test_unit_is_limited_and_outlives_nothing(run: TrainingRun, systemd: Systemd) -> None:
    run.start()
    command = systemd.commands[-1]
    assert command[0] == "systemd-run" and "--unit=fanops-train-abc.service" in command
    assert "--property=RuntimeMaxSec=60" in command and "--setenv=A=x y" in command
    assert not any("MemoryMax" in item or "User=" in item for item in command)
    assert command[-3:] == OPTIONS["argv"]


def test_run_that_vanished_was_interrupted(run: TrainingRun, systemd: Systemd) -> None:
    run.start()
    systemd.active = "inactive"
    assert run.observe()["reason"] == "interrupted"


def test_new_start_forgets_the_old_end_and_keeps_the_old_log(run: TrainingRun, systemd: Systemd) -> None:
    run.start()
    run.log.write_text("first\n")
    end(run, systemd, exit_status="1", result="exit-code")
    run.start()
    assert run.observe()["state"] == "running" and run.output(0) == ([], 0)
    assert (run.folder / "training.log.previous").read_text() == "first\n"


def test_unit_left_over_is_reset(run: TrainingRun, systemd: Systemd) -> None:
    systemd.errors = ["Unit fanops-train-abc.service was already loaded."]
    run.start()
    assert [command[0:2] for command in systemd.commands][1] == ["systemctl", "reset-failed"]


def test_refused_start_leaves_no_record(run: TrainingRun, systemd: Systemd) -> None:
    systemd.errors = ["Failed to connect to bus: No such file or directory"]
    with pytest.raises(TrainingError, match="Failed to connect to bus"):
        run.start()
    assert run.observe()["state"] == "absent"


def test_output_comes_in_whole_lines(run: TrainingRun, tmp_path: Path) -> None:
    run.folder.mkdir()
    run.log.write_bytes(b"one\ntwo\nthr")
    lines, offset = run.output(0)
    assert lines == ["one", "two"]
    run.log.write_bytes(b"one\ntwo\nthree\n\xff\n")
    assert run.output(offset)[0] == ["three", "\N{REPLACEMENT CHARACTER}"]
    assert run.tail()[0] == "one"
    run.log.write_bytes(b"x" * 100_000)
    assert run.output(0)[1] == 65536


@pytest.mark.parametrize("run_id", ["", "a b", "../x", "-x", "x" * 65, "a/b", "a\n"])
def test_run_id_is_a_plain_name(run_id: str) -> None:
    with pytest.raises(TrainingError, match="give a run id of letters"):
        TrainingRun({**OPTIONS, "run_id": run_id})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chdir": "/no/such"}, "no folder /no/such"),
        ({"argv": ["/no/such"]}, "no program /no/such"),
        ({"user": "no-such-user"}, "no user no-such-user"),
    ],
)
def test_what_is_missing_is_named_before_the_start(
    tmp_path: Path, systemd: Systemd, change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(TrainingError, match=expected):
        TrainingRun({**OPTIONS, **change}, runs_dir=str(tmp_path), command=systemd).start()
    assert systemd.commands == [] and not (tmp_path / "abc").exists()


@pytest.mark.parametrize(
    ("status", "state", "reason", "code"),
    [
        ({}, "finished", "", 0),
        ({"exit_status": "2", "result": "exit-code"}, "failed", "exit code 2", 2),
        ({"exit_status": "137", "result": "exit-code", "oom_kills": 4}, "failed", "out of memory", None),
        ({"exit_status": "137", "result": "exit-code"}, "failed", "signal 9", None),
        ({"exit_status": "KILL", "exit_code": "killed", "result": "oom-kill"}, "failed", "out of memory", None),
        ({"exit_status": "TERM", "exit_code": "killed", "result": "timeout"}, "failed", "timeout", None),
        ({"exit_status": "143", "result": "timeout", "ended": 160}, "failed", "timeout", None),
        ({"exit_status": "1", "result": "timeout", "ended": 160}, "failed", "timeout", None),
        # It was over long before its limit; only the stop of what it left behind took too long.
        ({"exit_status": "0", "result": "timeout"}, "finished", "", 0),
        ({"exit_status": "2", "result": "timeout"}, "failed", "exit code 2", 2),
        ({"exit_status": "143", "result": "exit-code"}, "failed", "stopped", None),
        ({"exit_status": "TERM", "exit_code": "killed"}, "failed", "stopped", None),
        ({"exit_status": "SEGV", "exit_code": "dumped", "result": "core-dump"}, "failed", "signal SEGV", None),
    ],
)
def test_verdicts(status: dict[str, Any], state: str, reason: str, code: int | None) -> None:
    full = {"result": "success", "exit_code": "exited", "exit_status": "0", "oom_kills": 3, "ended": 138, **status}
    assert verdict(full, {"oom_kills": 3, "started": 100.0, "timeout_seconds": 60}) == {
        "state": state,
        "reason": reason,
        "exit_code": code,
    }


@pytest.mark.parametrize("reason", ["out of memory", "timeout", "stopped", "interrupted", "exit code 1"])
def test_failures_are_one_line(reason: str) -> None:
    message = failure_message("abc", {"seconds": 5, "reason": reason}, OPTIONS, ["working", "Error: no rows", ""])
    assert message.startswith("Training run abc failed after 5 s: ") and "\n" not in message
    if reason == "exit code 1":
        assert message.endswith("exit code 1: Error: no rows")


def test_wrapper_keeps_output_and_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]
    done = subprocess.run(
        ["/bin/bash", "-c", WRAPPER, str(log), *program], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 7
    assert sorted(log.read_text().split()) == sorted(done.stdout.split()) == ["err", "out"]


def test_finish_script_writes_what_systemd_said(tmp_path: Path) -> None:
    (tmp_path / "finish.sh").write_text(FINISH)
    environment = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "3", "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/sh", str(tmp_path / "finish.sh")], env=environment, timeout=20, check=True)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["exit_status"] == "3" and status["ended"] > 0 and isinstance(status["oom_kills"], int)


def test_the_last_command_runs_before_a_run_counts_as_ended(tmp_path: Path, systemd: Systemd) -> None:
    seen = tmp_path / "seen"
    program = f"import pathlib, sys; pathlib.Path({str(seen)!r}).write_text(str(pathlib.Path('{tmp_path}/abc/status.json').exists()))"
    options = {**OPTIONS, "on_end": [sys.executable, "-c", program + "; sys.exit('no network')"]}
    run = TrainingRun(options, runs_dir=str(tmp_path), command=systemd)
    run.start()
    environment = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0", "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/sh", str(run.folder / "finish.sh")], env=environment, check=True)
    assert seen.read_text() == "False"
    systemd.active = "inactive"
    assert run.observe()["state"] == "finished"
    assert "no network" in run.tail()[-1]


def test_a_controller_that_follows_renews_the_lease_that_the_watchdog_looks_at(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    renew_lease(lease)
    assert not lease.exists()  # no watchdog, no lease
    lease.touch()
    os.utime(lease, (1, 1))
    renew_lease(lease)
    assert lease.stat().st_mtime > 1


@pytest.mark.parametrize(
    ("shell", "script"),
    [("sh", FINISH.replace("{on_end}", ":")), ("bash", WRAPPER)],
    ids=["at the end", "around the run"],
)
def test_what_the_unit_runs_is_sound_shell(shell: str, script: str) -> None:
    # SC2016 and SC2154: $0 and "$@" are the unit's, the results are systemd's.
    command = [str(Path(sys.executable).with_name("shellcheck")), f"--shell={shell}", "--exclude=SC2154", "-"]
    checked = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
