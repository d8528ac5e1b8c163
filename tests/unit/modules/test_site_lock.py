# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a site: taking, renewing, losing and giving back its lock, on the controller and on the VM."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.releases import lock as locks
from ansible.module_utils.fanops.releases.listing import Bucket
from ansible.module_utils.fanops.releases.lock import Lock
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

import ml.bucket
from ml.publish import held_lock
from rehearsal.testing.client import Session
from rehearsal.wire.faults import Fault
from tests.unit.modules.conftest import PROJECT, RunModule, act

BUCKET = "fanops-m4-models"


@pytest.fixture
def bucket(google: Session) -> str:
    act(google, "POST", f"storage.googleapis.com/storage/v1/b?project={PROJECT}", {"name": BUCKET})
    return BUCKET


@pytest.fixture
def vm_bucket(google: Session, bucket: str) -> ml.bucket.Bucket:
    """The bucket as a training on the VM has it."""
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), _http=google)
    return ml.bucket.Bucket(bucket, client)


def a_lock(google: Session, seconds_later: float = 0) -> Lock:
    later = datetime.timedelta(seconds=seconds_later)
    return Lock(Bucket(Client(google, PROJECT), BUCKET), lambda: locks.now() + later)


def test_who_comes_second_is_told_who_since_when_and_what_to_do(run: RunModule, bucket: str) -> None:
    first = run("site_lock", bucket=bucket, purpose="training", keep=False)
    assert (
        first["token"] and run("site_lock", bucket=bucket, token=first["token"], keep=False)["token"] == first["token"]
    )
    for state in ("held", "free"):
        second = run("site_lock", bucket=bucket, state=state, keep=False)
        assert second["failed"] and second["failure"]["reason"] == "locked"
        assert "has held this site since 20" in second["msg"] and " for training " in second["msg"]
        assert second["msg"].endswith("Wait until it has ended, or end it with playbooks/stop_vm.yml.")
    planned = run("site_lock", bucket=bucket, check=True)
    assert planned["token"] is None and "would be refused without --check" in planned["warnings"][0]


def test_without_a_bucket_there_is_nothing_to_lock(google: Session, run: RunModule) -> None:
    for state in ("held", "free", "broken"):
        assert run("site_lock", bucket=BUCKET, state=state, keep=False).get("token", 0) is None, state
    assert google.mutations == []


def test_a_lapsed_lease_is_taken_over_and_its_holder_notices(google: Session, bucket: str) -> None:
    a_lock(google).take("first", "a@one", "training")
    with pytest.raises(GoogleApiError, match="a@one has held"):
        a_lock(google, 200).take("second", "b@two", "deploying")
    assert a_lock(google, 211).take("second", "b@two", "deploying")
    assert not a_lock(google).renew("first")
    a_lock(google).give_back("first")
    with pytest.raises(GoogleApiError, match="b@two has held"):
        a_lock(google).take("first", "a@one", "training")


def end_controller(lock: Lock) -> None:
    """What the keeper does when the run on the controller has ended, or was killed."""
    locks._keep(lock, "first", iter([True, False]).__next__, lambda seconds: None)


def test_a_training_keeps_the_lock_of_a_controller_that_is_gone_until_it_ends(
    google: Session, run: RunModule, vm_bucket: ml.bucket.Bucket
) -> None:
    lock = a_lock(google)
    lock.take("first", "a@one", "training")
    with held_lock.held(vm_bucket, "first", "r1", print):
        # While its controller is there, nobody joins it: each would give the lock back under the other.
        assert "a@one has held this site" in run("site_lock", bucket=BUCKET, run_id="r1", keep=False)["msg"]
        end_controller(lock)
        other = run("site_lock", bucket=BUCKET, state="free", run_id="r2")
        assert "training r1, begun by training," in other["msg"]
        # The next run of the same training joins it, and goes again.
        assert run("site_lock", bucket=BUCKET, run_id="r1", keep=False)["token"] == "first"
        end_controller(lock)
        assert run("site_lock", bucket=BUCKET, state="free", run_id="r2")["failed"]
    assert lock.read() == (None, "0")


def test_a_controller_keeps_the_lock_when_its_training_has_ended(
    google: Session, run: RunModule, vm_bucket: ml.bucket.Bucket
) -> None:
    lock = a_lock(google)
    lock.take("first", "a@one", "training")
    with held_lock.held(vm_bucket, "first", "r1", print):
        pass
    assert "for training (until " in run("site_lock", bucket=BUCKET, state="free", run_id="r2")["msg"]
    end_controller(lock)
    assert lock.read() == (None, "0")


def test_a_lock_can_be_broken_whoever_holds_it(google: Session, run: RunModule, vm_bucket: ml.bucket.Bucket) -> None:
    a_lock(google).take("first", "a@one", "training")
    held_lock.hold(vm_bucket, "first", "r1")
    broken = run("site_lock", bucket=BUCKET, state="broken")
    assert (broken["lock"]["holder"], broken["lock"]["run"]) == ("a@one", "r1")
    assert run("site_lock", bucket=BUCKET, state="free")["token"] is None
    held_lock.give_back(vm_bucket, "first")
    # A training that a schedule started has no controller.
    with held_lock.held(vm_bucket, "second", "schedule", print, holder="vm", purpose="a schedule training"):
        assert "vm has held this site" in run("site_lock", bucket=BUCKET, state="free", run_id="r2")["msg"]
    assert a_lock(google).read() == (None, "0")


def test_a_run_whose_lock_was_broken_or_taken_over_does_not_take_it_again(
    google: Session, run: RunModule, bucket: str
) -> None:
    token = run("site_lock", bucket=bucket, purpose="training", keep=False)["token"]
    run("site_lock", bucket=bucket, state="broken")
    refused = run("site_lock", bucket=bucket, token=token, keep=False)
    assert refused["failed"] and refused["failure"]["reason"] == "lock lost"
    assert "its lock was broken (playbooks/stop_vm.yml does that)" in refused["msg"]
    # Who ends stops the VM: nobody else has the site.
    assert run("site_lock", bucket=bucket, token=token, state="free", keep=False)["token"] is None
    assert a_lock(google).read() == (None, "0")
    # Somebody had it meanwhile, and has gone without giving it back.
    assert a_lock(google, -1000).take("second", "b@two", "deploying")
    assert run("site_lock", bucket=bucket, token=token, keep=False)["failure"]["reason"] == "lock lost"
    # One that lapsed, and that nobody took, is still one's own.
    assert a_lock(google, -500).take("third", "c@three", "training")
    assert run("site_lock", bucket=bucket, token="third", keep=False)["token"] == "third"


def test_the_keeper_gives_the_lock_back_when_the_run_has_ended(google: Session, bucket: str) -> None:
    lock = a_lock(google)
    lock.take("first", "a@one", "training")
    locks._keep(lock, "first", iter([True, True, False]).__next__, lambda seconds: None)
    assert lock.read() == (None, "0")


@pytest.mark.parametrize("lost", [None, "drop", "drop-request"])
@pytest.mark.parametrize("state", ["absent", "lapsed"])
@pytest.mark.parametrize("request_number", [1, 2, 3])
def test_of_two_runs_that_interleave_just_one_gets_the_lock(
    google: Session, bucket: str, request_number: int, state: str, lost: str | None
) -> None:
    """The second run acts as a whole just before each request of the first; the first one's answer or request may be lost."""
    other = Session(google.cloud, google.account)
    if state == "lapsed":
        a_lock(google, -1000).take("old", "c@three", "training")
    google.forget()
    won: list[str] = []

    def second() -> None:
        if len(google.calls) == request_number:
            with suppress(GoogleApiError):  # the first one has it already, and only its answer got lost
                won.extend(["second"] if a_lock(other).take("second", "b@two", "deploying") else [])

    google.before(".*locks|.*upload", second, times=9)
    if lost:
        google.cloud.faults.plan(Fault("storage.objects.insert", lost))
    try:
        assert a_lock(google).take("first", "a@one", "training")
        won.append("first")
    except GoogleApiError as error:
        assert error.reason == "locked" and "b@two" in str(error)
    found, _ = a_lock(other).read()
    assert found and won == [found.token]


@pytest.mark.parametrize("known_by", ["/proc", "ps"])
def test_the_run_of_a_module_is_its_topmost_ansible(
    known_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Debian of the least size has no ps, macOS no /proc."""
    if known_by == "ps":
        monkeypatch.setattr(locks, "PROC", tmp_path)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "ansible-playbook (a copy)"
    program.write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, *sys.argv[1:]], check=True)\n", encoding="utf-8"
    )
    inner = tmp_path / "ansiballz_module"
    inner.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    outer = subprocess.Popen([sys.executable, program, inner], stdout=subprocess.PIPE)
    try:
        assert outer.stdout is not None and outer.stdout.readline()
        child = next(pid for pid, (parent, _) in locks._processes().items() if parent == outer.pid)
        monkeypatch.setattr(os, "getppid", lambda: child)
        assert locks.run_of_this_module() == outer.pid
    finally:
        os.kill(child, signal.SIGTERM)
        outer.wait()
        assert outer.stdout is not None
        outer.stdout.close()


def test_a_run_that_cannot_be_watched_leaves_no_lock(
    google: Session, run: RunModule, vm_bucket: ml.bucket.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> None:
        raise FileNotFoundError("ps")

    monkeypatch.setattr(locks, "_processes", unknown)
    with pytest.raises(FileNotFoundError):
        run("site_lock", bucket=BUCKET)
    assert a_lock(google).read() == (None, "0")
