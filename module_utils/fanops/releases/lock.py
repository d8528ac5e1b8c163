# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking, keeping and giving back the lock of a site, from a controller. ``core/site_lock.py`` says what it is."""

from __future__ import annotations

import datetime
import getpass
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core import site_lock
from ansible.module_utils.fanops.core.site_lock import SiteLock
from ansible.module_utils.fanops.releases.listing import Bucket

ATTEMPTS = 10
# Whether the run has ended. Soon enough that what is typed next, be it the end of the cloud, finds the lock given back.
LOOK_AGAIN_SECONDS = 0.2
PROC = Path("/proc")


def now() -> datetime.datetime:
    """The time, with its zone."""
    return datetime.datetime.now(datetime.timezone.utc)


@dataclass(frozen=True)
class Result:
    """What became of the lock: the token where it is held, whether it is newly so, what was deleted, a word of warning."""

    token: str | None = None
    new: bool = False
    deleted: dict[str, Any] | None = None
    warning: str = ""


class Lock:
    """The lock of the site whose releases are in ``bucket``."""

    def __init__(self, bucket: Bucket, clock: Callable[[], datetime.datetime] = now) -> None:
        self.bucket = bucket
        self.clock = clock

    def read(self) -> tuple[SiteLock | None, str]:
        """The lock, lapsed or not, and the generation of its object: "0" where there is none, "" where there is no bucket."""
        client, url = self.bucket.client, self.bucket.url(site_lock.PATH)
        try:
            found = client.get(url, attempting=f"look at gs://{self.bucket.name}/{site_lock.PATH}")
        except GoogleApiError as error:
            if error.status == 404:
                return None, "" if "bucket does not exist" in error.google_message else "0"
            raise
        generation = str(found["generation"])
        return site_lock.parse(self.bucket.read(site_lock.PATH, generation)), generation

    def held_by_other(self, token: str, run: str) -> SiteLock | None:
        """The lock in force, unless it is ours: by the token, or because the VM is alone with the very training that is meant."""
        lock, _ = self.read()
        return None if lock is None or self._ours(lock, token, run) or lock.lapsed(self.clock()) else lock

    def take(self, token: str, holder: str, purpose: str, run: str = "", *, again: bool = False) -> SiteLock | None:
        """Take the lock, or renew it; None where there is no bucket to keep it in yet. Raises GoogleApiError where it is another's.

        ``again``: it was taken before. Where it is not ours any more, somebody broke it or had it meanwhile, and that is an error, too.
        """
        for _ in range(ATTEMPTS):
            lock, generation = self.read()
            if not generation:
                return None
            if again and (lock is None or (lock.lapsed(self.clock()) and not self._ours(lock, token, run))):
                raise lost(lock)
            if lock is None or lock.lapsed(self.clock()):
                wanted = site_lock.taken(token, holder, purpose, self.clock()).renewed(self.clock())
            elif self._ours(lock, token, run):
                wanted = lock.renewed(self.clock())
            else:
                raise refused(lock)
            try:
                self.bucket.replace(site_lock.PATH, wanted.to_bytes(), generation)
            except GoogleApiError as error:
                # Somebody was quicker, or the answer to our own first attempt got lost: look again.
                if error.status != 412 and not error.retryable:
                    raise
            else:
                return wanted
        raise GoogleApiError("take the site's lock", "it changed hands in each of ten attempts", "Run it again.")

    def renew(self, token: str) -> bool:
        """Renew the lease; False where the lock is no longer ours."""
        lock, generation = self.read()
        if lock is None or lock.token != token:
            return False
        try:
            self.bucket.replace(site_lock.PATH, lock.renewed(self.clock()).to_bytes(), generation)
        except GoogleApiError as error:
            if error.status != 412 and not error.retryable:
                raise
        return True

    def give_back(self, token: str) -> None:
        """End the controller's lease, if the lock is still ours: it goes, unless a training holds it too."""
        for _ in range(ATTEMPTS):
            found = self.bucket.look(site_lock.PATH)
            generation = str(found["generation"]) if found else ""
            lock = site_lock.parse(self.bucket.read(site_lock.PATH, generation)) if found else None
            if found is None or lock is None or lock.token != token:
                return
            left = lock.without_controller(self.clock())
            try:
                if left is not None:
                    self.bucket.replace(site_lock.PATH, left.to_bytes(), generation)
                    return
                if self.bucket.delete(found):
                    return
            except GoogleApiError as error:
                if error.status != 412 and not error.retryable:
                    raise

    def break_up(self) -> SiteLock | None:
        """Delete the lock, whoever holds it; return what was deleted."""
        found = self.bucket.look(site_lock.PATH)
        lock = site_lock.parse(self.bucket.read(site_lock.PATH, str(found["generation"]))) if found else None
        return lock if found and self.bucket.delete(found) else None

    def result(self, params: dict[str, Any], *, check_mode: bool) -> Result:
        """Do what the options of module site_lock ask for."""
        token, run = params["token"], params["run_id"]
        try:
            if params["state"] == "broken":
                deleted = None if check_mode else self.break_up()
                return Result(deleted=asdict(deleted) if deleted else None)
            if params["state"] == "held" and not check_mode:
                holder = f"{getpass.getuser()}@{socket.gethostname()}"
                taken = self.take(token or uuid.uuid4().hex, holder, params["purpose"], run, again=bool(token))
                return Result(taken.token if taken else None, new=taken is not None and token is None)
            other = self.held_by_other(token or "", run)
        except GoogleApiError as error:
            # Before the first run there is neither a bucket nor, perhaps, its API; what the account may not see, the preflight says.
            if not error.service_disabled and not (error.status == 403 and params["state"] == "free"):
                raise
            return Result()
        if other and not check_mode:
            raise refused(other)
        return Result(warning=f"{other.refusal()}: this run would be refused without --check." if other else "")

    def _ours(self, lock: SiteLock, token: str, run: str) -> bool:
        if lock.token == token:
            return True
        # Two controllers of one training would each give the lock back under the other.
        return bool(run) and lock.run == run and lock.without_a_controller(self.clock())


def refused(lock: SiteLock) -> GoogleApiError:
    """The one line for whoever comes second."""
    return GoogleApiError("change this site", lock.refusal(), site_lock.REMEDY, reason="locked")


def lost(lock: SiteLock | None) -> GoogleApiError:
    """The one line for a run that had the lock."""
    found = (
        f"{lock.holder} had it meanwhile"
        if lock
        else "its lock was broken (playbooks/stop_vm.yml does that), or has lapsed"
    )
    return GoogleApiError("go on with this site", found, "Run it again if the VM may run.", reason="lock lost")


def keep(lock: Lock, token: str, process: int) -> None:
    """Renew the lock in a process of its own until ``process`` has ended, and then give it back.

    So it is given back also when a run fails or is killed; when the whole machine goes, the lease lapses.
    """
    if os.fork():
        return
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        if os.fork() == 0:
            _keep(lock, token, lambda: _lives(process))
    finally:
        os._exit(0)


def _keep(lock: Lock, token: str, wanted: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
    renewed = time.monotonic()
    while wanted():
        sleep(LOOK_AGAIN_SECONDS)
        if time.monotonic() - renewed < site_lock.RENEW_SECONDS:
            continue
        try:
            if not lock.renew(token):
                return
            renewed = time.monotonic()
        except GoogleApiError:
            continue  # the lease lasts for some attempts more
    try:
        lock.give_back(token)
    except GoogleApiError:
        return  # it lapses


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def run_of_this_module() -> int:
    """The id of the ansible process that started this module: the topmost one among its ancestors."""
    processes = _processes()
    found, process = os.getppid(), os.getppid()
    while process in processes and process > 1:
        parent, command = processes[process]
        if any("ansible" in word.rsplit("/", 1)[-1] for word in command[:2]):
            found = process
        process = parent
    return found


def _processes() -> dict[int, tuple[int, list[str]]]:
    """Parent and command line of each process, by id: from /proc (a small Linux has no ps), or from ps (macOS has no /proc)."""
    found: dict[int, tuple[int, list[str]]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            status, command = (folder / "stat").read_text(), (folder / "cmdline").read_text()
        except (OSError, UnicodeDecodeError):
            continue  # it has ended, or is somebody else's
        # "pid (name) state ppid": the name may have spaces and brackets.
        found[int(folder.name)] = int(status.rpartition(")")[2].split()[1]), command.split("\0")
    if found:
        return found
    listed = subprocess.run(
        ["ps", "-A", "-w", "-w", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    for line in listed.splitlines():
        pid, ppid, *words = line.split()
        found[int(pid)] = (int(ppid), words)
    return found
