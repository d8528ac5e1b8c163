# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VM decides by itself: whose start this was, whether anything is new, and what became of the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml.bucket import BucketError
from ml.data.file_kind import DataError
from ml.publish import messages, run_outcome
from ml.publish.this_machine import Machine, up_seconds
from roles.training_schedule.files import fanops_train

AGENT = "service-1@compute-system.iam.gserviceaccount.com"
PARAMETERS: dict[str, Any] = {
    "bucket": "b", "samples": 1000, "data": "", "seed": 1, "accuracy_floor": 0.6, "function_memory": "512Mi",
    "timeout_seconds": 60, "lease_seconds": 900, "grace_seconds": 120, "python": "python3", "home": "/opt/fanops", "user": "x",
    "scheduled": True,
}  # fmt: skip


class Kept:
    """A bucket that is a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = False

    def mirror(self, path: str, data: bytes, *_: str) -> None:
        if self.broken:
            raise BucketError("it cannot be reached")
        self.objects[path] = data

    def read_versioned(self, path: str) -> tuple[bytes, int] | None:
        if self.broken:
            raise BucketError("it cannot be reached")
        return (self.objects[path], 1) if path in self.objects else None


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A VM whose boot unit has armed the watchdog; ``off`` lists the commands that switch it off, ``told`` messages."""
    found = SimpleNamespace(
        starter=AGENT,
        off=[],
        told=[],
        trained=[],
        watchdog=tmp_path / "watchdog",
        failure=None,
        parameters={},
        bucket=Kept(),
    )
    monkeypatch.setattr(fanops_train, "WATCHDOG", found.watchdog)
    monkeypatch.setattr(fanops_train, "LAST_START_HERE", tmp_path / "last-start.json")
    monkeypatch.setattr(fanops_train, "starter", lambda: found.starter)
    monkeypatch.setattr(fanops_train, "metadata", lambda path: json.dumps(PARAMETERS | found.parameters))
    monkeypatch.setattr("subprocess.run", lambda argv, check: found.off.append(argv[-1]))
    monkeypatch.setattr(fanops_train, "Bucket", lambda name, **_: found.bucket)
    monkeypatch.setattr(run_outcome, "this_machine", lambda: Machine("vm", "e2-micro", "us-central1-a", 60.0))
    monkeypatch.setattr(messages, "notify", lambda bucket, message, *_: found.told.append(message))

    def train(parameters: fanops_train.Parameters, trigger: str) -> int:
        found.trained.append(trigger)
        if found.failure:
            raise found.failure
        return 0

    monkeypatch.setattr(fanops_train, "train", train)
    fanops_train.arm(600, 60)
    return found


def test_the_schedules_start_trains_and_goes_off(vm: Any) -> None:
    assert fanops_train.main(["--scheduled"]) == 0
    assert vm.trained == ["schedule"] and vm.off == ["poweroff"]
    armed = json.loads((vm.watchdog / "armed.json").read_text())
    assert (armed["lease_seconds"], armed["grace_seconds"]) == (900, 120)


def test_a_failure_goes_off_too_and_is_an_outcome(vm: Any) -> None:
    vm.failure = fanops_train.NotPossibleError("the bucket is gone")
    with pytest.raises(fanops_train.NotPossibleError):
        fanops_train.main(["--scheduled"])
    assert vm.off == ["poweroff"]
    (name,) = (name for name in vm.bucket.objects if name.endswith("/outcome.json"))
    outcome = json.loads(vm.bucket.objects[name])
    assert (outcome["result"], outcome["message"]) == (run_outcome.FAILED, "the bucket is gone")
    assert [(message.event, message.facts) for message in vm.told] == [("failure", outcome)]


def test_a_failure_is_told_also_when_the_bucket_is_what_fails(vm: Any) -> None:
    vm.failure = BucketError("cannot read the bucket")
    vm.bucket.broken = True
    with pytest.raises(BucketError):
        fanops_train.main(["--scheduled"])
    assert vm.off == ["poweroff"]
    assert [(message.event, message.facts["message"]) for message in vm.told] == [("failure", "cannot read the bucket")]


WEEKLY = {"schedule": "30 3 * * 1", "timezone": "Africa/Casablanca"}
MONDAY = 1_795_401_000.0  # 2026-11-23, 03:30 in Casablanca (02:30 UTC)


@pytest.mark.parametrize(
    ("weeks", "before", "told"),
    [
        (1, WEEKLY, []),
        (3, WEEKLY, ["2026-11-30T02:30:00Z", "2026-12-07T02:30:00Z"]),
        (3, {**WEEKLY, "schedule": "0 3 * * 1"}, []),
        (3, None, []),
    ],
)
def test_the_next_start_tells_of_those_that_did_not_come(
    vm: Any, monkeypatch: pytest.MonkeyPatch, weeks: int, before: dict[str, str] | None, told: list[str]
) -> None:
    vm.parameters.update(WEEKLY)
    if before:
        vm.bucket.objects[fanops_train.LAST_START] = json.dumps({**before, "at": MONDAY + 420}).encode()
    monkeypatch.setattr("time.time", lambda: MONDAY + weeks * 604_800 + 300)
    assert fanops_train.main(["--scheduled"]) == 0
    assert [message.facts["due"] for message in vm.told] == ([told] if told else [])
    assert json.loads(vm.bucket.objects[fanops_train.LAST_START])["at"] == MONDAY + weeks * 604_800 + 300


def test_a_start_that_the_bucket_does_not_know_came_all_the_same(vm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.parameters.update(WEEKLY)
    for week, broken, told in ((1, False, []), (2, True, []), (3, False, []), (5, True, ["2026-12-21T02:30:00Z"])):
        vm.told.clear()
        vm.bucket.broken = broken
        moment = MONDAY + week * 604_800 + 300
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        assert fanops_train.main(["--scheduled"]) == 0
        assert [due for message in vm.told for due in message.facts["due"]] == told, week


def test_what_nobody_foresaw_is_told_too(vm: Any) -> None:
    vm.failure = OSError(28, "No space left on device", "/var/lib/fanops/runs/abc")
    with pytest.raises(OSError, match="No space"):
        fanops_train.main(["--scheduled"])
    assert vm.off == ["poweroff"]
    (message,) = vm.told
    assert message.event == "failure" and "No space left on device" in message.text


def test_of_a_folder_in_a_bucket_the_newest_days_count_and_files_are_kept(
    vm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def identity(data: str, days: int) -> dict[str, str]:
        asked.append((data, days))
        return {"data": "x"}

    monkeypatch.setattr(fanops_train, "data_identity", identity)
    names = {"fingerprint": "f" * 64, "code": "", "lock": "", "data": "", "parameters": ""}
    monkeypatch.setattr(fanops_train, "fingerprint", lambda *_: names)
    vm.bucket.check = lambda: None
    vm.bucket.read = vm.bucket.read_versioned
    vm.parameters.update({"data": "gs://b/matches/", "data_days": 90})
    parameters = fanops_train.read_parameters()
    monkeypatch.setattr(fanops_train, "read_pointer", lambda read: SimpleNamespace(manifest="m" * 64))
    monkeypatch.setattr(fanops_train, "read_manifest", lambda read, digest: {"fingerprint": names})
    assert fanops_train.plan(parameters, vm.bucket)[1] == "" and asked == [("gs://b/matches/", 90)]
    argv = parameters.options("abc", "schedule", "")["argv"]
    assert "--data-days=90" in argv and "--data-cache=/var/lib/fanops/runs/.data" in argv
    vm.parameters.update({"data": "/opt/fanops/data", "data_days": 0})
    assert not [one for one in fanops_train.read_parameters().options("abc", "hand", "")["argv"] if "--data-" in one]


@pytest.mark.parametrize("rearmed", [False, True])
@pytest.mark.parametrize("scheduled", [False, True])
def test_anybody_elses_start_is_left_to_them(vm: Any, rearmed: bool, scheduled: bool) -> None:
    vm.parameters["scheduled"] = scheduled
    vm.starter = "deployer@p.iam.gserviceaccount.com" if scheduled else AGENT
    armed = vm.watchdog / "armed.json"
    if rearmed:  # by a controller, meanwhile
        armed.write_text('{"lease_seconds": 1, "grace_seconds": 1}')
    assert fanops_train.main(["--scheduled"]) == 75
    assert vm.trained == [] and vm.off == []
    assert armed.exists() == rearmed


def test_who_cannot_be_told_is_left_to_the_watchdog(vm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise fanops_train.NotPossibleError("cannot tell")

    monkeypatch.setattr(fanops_train, "starter", unknown)
    with pytest.raises(fanops_train.NotPossibleError):
        fanops_train.main(["--scheduled"])
    assert vm.off == [] and json.loads((vm.watchdog / "armed.json").read_text())["lease_seconds"] == 600


def test_by_hand_with_other_parameters(vm: Any) -> None:
    assert fanops_train.main(["--samples", "5000", "--keep-vm"]) == 0
    assert vm.trained == ["hand"] and vm.off == []


def test_a_folder_in_a_bucket_is_read_as_site_yml_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def identity(data: str, days: int) -> dict[str, str]:
        asked.append((data, days))
        raise DataError("that is enough")

    monkeypatch.setattr(fanops_train, "data_identity", identity)
    parameters = fanops_train.Parameters(**{**PARAMETERS, "data": "gs://b/daily/", "data_days": 90})
    bucket: Any = SimpleNamespace(check=lambda: None)
    with pytest.raises(fanops_train.NotPossibleError, match="that is enough"):
        fanops_train.plan(parameters, bucket)
    assert asked == [("gs://b/daily/", 90)]
    argv = parameters.options("abc", "schedule", "")["argv"]
    # What was fetched is kept beside the runs, whose own folders come and go.
    assert {"--data-days=90", "--data-cache=/var/lib/fanops/runs/.data"} <= set(argv)


OOM = "the kernel killed it because the VM's memory was full: choose a larger vm_machine_type, or train on fewer rows"


@pytest.mark.parametrize(
    ("status", "lines", "expected", "message"),
    [
        ({"result": "success", "exit_status": "0"}, ["is live"], "promoted", ""),
        (
            {"result": "exit-code", "exit_status": "1"},
            ["error: not published: worse"],
            "refused",
            "not published: worse",
        ),
        ({"result": "exit-code", "exit_status": "1"}, ["error: no space", "later"], "failed", "no space"),
        (
            {"result": "exit-code", "exit_status": "3"},
            ["error: ended in order, 1 of 5 partitions are finished"],
            "ceiling",
            "ended in order, 1 of 5 partitions are finished",
        ),
        ({"result": "oom-kill", "exit_status": "KILL"}, ["100 trees"], "failed", f"{OOM}; before that: 100 trees"),
        # bash tells the death of what it ran; the kernel counts whom it killed.
        (
            {"result": "exit-code", "exit_status": "137"},
            ["100 trees"],
            "failed",
            "it was killed by signal 9; before that: 100 trees",
        ),
        (
            {"result": "exit-code", "exit_status": "137", "oom_kills": 5},
            ["100 trees"],
            "failed",
            f"{OOM}; before that: 100 trees",
        ),
        (
            {"result": "timeout", "exit_status": "TERM"},
            ["100 trees"],
            "failed",
            "it was not done within its time limit and was stopped: raise training_timeout_seconds, or train on fewer rows; "
            "before that: 100 trees",
        ),
    ],
)
def test_what_became_of_a_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: dict[str, Any],
    lines: list[str],
    expected: str,
    message: str,
) -> None:
    machine = Machine("ml-training-vm", "e2-micro", "us-central1-a", 600.0)
    monkeypatch.setattr(run_outcome, "this_machine", lambda: machine)
    run = tmp_path / "abc"
    run.mkdir()
    record = {
        "started": 1000.0,
        "trigger": "schedule",
        "why": "changed: data",
        "argv": ["-m", "ml.train", "--workers=2"],
        "oom_kills": 4,
    }
    (run / "run.json").write_text(json.dumps(record))
    (run / "status.json").write_text(json.dumps({**status, "ended": 1042}))
    (run / "training.log").write_text("\n".join(lines))
    (run / "manifest.json").write_text(json.dumps({"samples": 7, "metrics": {"accuracy": 0.9}, "fingerprint": {}}))
    os.utime(run / "manifest.json", (0, 0))  # the VM's clock was corrected since
    found = run_outcome.of_run(run)
    assert (found["run"], found["result"], found["message"], found["trigger"], found["why"], found["seconds"]) == (
        "abc", expected, message, "schedule", "changed: data", 42,
    )  # fmt: skip
    assert (found["rows"], found["accuracy"]) == (7, 0.9)
    assert found["list_price_usd"] == pytest.approx(600 * 0.00838 / 3600, rel=0.05)
    assert (found["vm"], found["zone"], found["vm_seconds"], found["workers"]) == (
        "ml-training-vm",
        "us-central1-a",
        600,
        2,
    )


def test_a_machine_is_up_since_its_first_process_began() -> None:
    assert 0 < up_seconds() < float(Path("/proc/uptime").read_text().split()[0]) + 1
