# SPDX-License-Identifier: GPL-3.0-or-later
"""training_run: the module's decisions on the VM, and the action plugin that follows it from the controller."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.fanops.training.run import TrainingError, TrainingRun
from ansible.module_utils.fanops.training.run import follow as follow_run
from ansible.plugins.action import ActionBase

from plugins.action import training_run as plugin

PARAMS: dict[str, Any] = {
    "run_id": "abc",
    "argv": ["/bin/true"],
    "chdir": None,
    "environment": None,
    "user": None,
    "memory_max": None,
    "timeout_seconds": 60,
    "poll_seconds": 0,
    "force": False,
    "start": True,
    "follow_only": False,
    "log_offset": 0,
}


class Vm:
    """A systemd in which a started run stays active until it is ended."""

    def __init__(self, folder: Path) -> None:
        self.active = False
        self.starts = 0
        self.run = TrainingRun(PARAMS, runs_dir=str(folder), command=self._command)

    def _command(self, argv: list[str]) -> Any:
        if argv[0] == "systemd-run":
            self.starts += 1
            self.active = True
        return SimpleNamespace(returncode=0, stdout="active\n" if self.active else "inactive\n", stderr="")

    def end(self, code: int) -> None:
        self.active = False
        status = {"result": "exit-code", "exit_code": "exited", "exit_status": str(code), "ended": 9e9, "oom_kills": 0}
        (self.run.folder / "status.json").write_text(json.dumps(status))

    def ask(self, *, check: bool = False, **params: Any) -> dict[str, Any]:
        return follow_run(self.run, {**PARAMS, **params}, check_mode=check)


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path)


def test_run_is_started_once_and_then_reattached(vm: Vm) -> None:
    assert vm.ask(check=True)["changed"] and vm.starts == 0
    assert vm.ask()["state"] == "running"
    again = vm.ask()
    assert again["reattached"] and not again["changed"] and vm.starts == 1


def test_finished_run_is_left_alone_unless_forced(vm: Vm) -> None:
    vm.ask()
    vm.end(0)
    assert vm.ask()["state"] == "finished" and not vm.ask()["changed"] and vm.starts == 1
    assert vm.ask(force=True)["changed"] and vm.starts == 2


def test_failed_run_is_started_again_but_not_by_a_follower(vm: Vm) -> None:
    vm.ask()
    vm.end(1)
    assert vm.ask(start=False)["state"] == "failed" and vm.starts == 1
    assert vm.ask()["state"] == "running" and vm.starts == 2


def test_follower_never_starts_anything(vm: Vm) -> None:
    assert vm.ask(start=False)["state"] == "absent" and vm.starts == 0


def test_a_new_attempt_forgets_what_the_last_one_made(vm: Vm) -> None:
    vm.ask()
    vm.end(1)
    (vm.run.folder / "manifest.json").write_text("{}")
    assert vm.ask()["state"] == "running" and not (vm.run.folder / "manifest.json").exists()


def test_a_disk_that_takes_nothing_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")  # no folder can be made in it
    run = TrainingRun(PARAMS, runs_dir=str(tmp_path / "runs"), command=Vm(tmp_path)._command)
    with pytest.raises(TrainingError, match=r"cannot write .*runs/abc: Not a directory. Free space on the VM's disk"):
        run.start()


# -- the action plugin -------------------------------------------------------------------------------------------------


class Display:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str) -> None:
        self.lines.append(text)

    warning = display


Follow = Callable[..., dict[str, Any]]


@pytest.fixture
def display() -> Display:
    return Display()


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, display: Display, asked: list[dict[str, Any]]) -> Follow:
    """Run the plugin against planned answers; an exception among them is raised."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(plugin, "display", display)
    time = SimpleNamespace(
        monotonic=lambda: clock.now, sleep=lambda seconds: setattr(clock, "now", clock.now + seconds)
    )
    monkeypatch.setattr(plugin, "time", time)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})

    def run(*answers: Any, check: bool = False, vm: str = "RUNNING", **options: Any) -> dict[str, Any]:
        action = plugin.ActionModule.__new__(plugin.ActionModule)
        action._task = SimpleNamespace(args={"run_id": "abc", **options}, check_mode=check)
        action._connection = SimpleNamespace(reset=lambda: None)
        action._play_context = None
        action._templar = SimpleNamespace(template=str)
        loader = SimpleNamespace(get=lambda name, context: "local")
        action._shared_loader_obj = SimpleNamespace(connection_loader=loader)
        planned = list(answers)

        def execute(module_name: str, module_args: dict[str, Any], task_vars: Any) -> Any:
            if module_name == "gce_instance_info":
                assert action._connection == "local"
                history = [{"event": "stopped", "by": "b@two", "at": "2026-11-27T12:00:00Z"}]
                return {"instance": {"status": vm}, "history": history}
            asked.append(module_args)
            clock.now += 3
            answer = planned.pop(0) if len(planned) > 1 else planned[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        action._execute_module = execute
        result: dict[str, Any] = action.run(task_vars={"inventory_hostname": "vm"})
        return result

    return run


def answer(state: str, *lines: str, changed: bool = False, reattached: bool = False, offset: int = 0) -> dict[str, Any]:
    return {
        "state": state, "lines": list(lines), "log_offset": offset, "changed": changed, "reattached": reattached,
        "seconds": 7, "unit": "fanops-train-abc.service", "failed": state == "failed",
    }  # fmt: skip


def test_output_is_shown_as_it_comes(follow: Follow, display: Display, asked: list[dict[str, Any]]) -> None:
    result = follow(
        answer("running", "one", changed=True, offset=4),
        answer("running", "two", offset=8),
        answer("finished", "three", offset=14),
        answer("finished", offset=14),
    )
    shown = [line.split("| ")[1] for line in display.lines if "|" in line]
    assert shown == ["one", "two", "three"]
    assert result["changed"] and result["state"] == "finished" and result["lines"] == []
    assert [item["log_offset"] for item in asked] == [0, 4, 8, 14]
    assert [item["start"] for item in asked] == [True, False, False, False]


def test_silence_is_broken_by_a_sign_of_life(follow: Follow, display: Display) -> None:
    follow(answer("running", changed=True), *[answer("running")] * 4, answer("finished"))
    assert sum(line.endswith("…") for line in display.lines) >= 2


def test_finished_run_says_nothing(follow: Follow, display: Display, asked: list[dict[str, Any]]) -> None:
    result = follow(answer("finished", "old output"))
    assert display.lines == [] and len(asked) == 1 and not result["changed"]


def test_failure_is_returned_after_its_output(follow: Follow, display: Display) -> None:
    result = follow(answer("running", changed=True), answer("failed", "Error: x", offset=9), answer("failed", offset=9))
    assert result["failed"] and any("Error: x" in line for line in display.lines)


def test_lost_connection_is_tried_again(follow: Follow, display: Display) -> None:
    lost = AnsibleConnectionFailure("Connection timed out")
    result = follow(answer("running", reattached=True), lost, lost, answer("finished"))
    assert result["state"] == "finished" and result["reattached"]
    assert sum("Lost the connection" in line for line in display.lines) == 2


def test_vm_that_stays_away_ends_the_task_but_not_the_run(follow: Follow) -> None:
    lost = AnsibleConnectionFailure("Connection timed out")
    with pytest.raises(AnsibleConnectionFailure, match="run the playbook again to reattach"):
        follow(answer("running", changed=True), lost, reconnect_seconds=30)


def test_a_vm_that_somebody_stopped_ends_the_task_at_once_with_their_name(follow: Follow, display: Display) -> None:
    lost = AnsibleConnectionFailure("Connection timed out")
    with pytest.raises(AnsibleActionFail, match=r"vm is TERMINATED, stopped by b@two at 2026.*goes on from there"):
        follow(answer("running", changed=True), lost, vm="TERMINATED")
    assert not any("Lost the connection" in line for line in display.lines)


def test_wrong_key_is_not_tried_again(follow: Follow, asked: list[dict[str, Any]]) -> None:
    with pytest.raises(AnsibleConnectionFailure, match="Permission denied"):
        follow(AnsibleConnectionFailure("Permission denied (publickey)"))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("planned", "sentence"),
    [
        (answer("absent", changed=True), "Would start"),
        (answer("running", reattached=True), "would follow"),
        (answer("finished"), "nothing to do"),
    ],
)
def test_check_mode_says_what_would_happen(
    follow: Follow, asked: list[dict[str, Any]], planned: dict[str, Any], sentence: str
) -> None:
    assert sentence in follow(planned, check=True)["msg"] and len(asked) == 1
