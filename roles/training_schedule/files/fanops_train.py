# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains on this VM without a controller: at boot, when the schedule started the VM, or by hand.

    sudo fanops-train                      what site.yml would train, if anything is new
    sudo fanops-train --samples 1000000    the same with other parameters

Either way it is a run like those of site.yml: the same unit, watchdog, limits, gate and log. What is trained, and where it
is published, site.yml wrote into the VM's metadata. With ``--scheduled``, which only the boot unit says, it does nothing
unless Compute Engine's service agent started the VM, and powers the VM off at the end, whatever that was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import socket
import subprocess
import sys
import time
import uuid
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from ansible.module_utils.fanops.training.outcome import failure_message
from ansible.module_utils.fanops.training.run import RUNS_DIR, TrainingError, TrainingRun

from ml.bucket import Bucket, BucketError
from ml.core import cron
from ml.core.releases import ReleaseError, read_manifest, read_pointer
from ml.data.file_kind import DataError
from ml.fingerprint import data_identity, fingerprint
from ml.publish import held_lock, messages, run_outcome
from ml.publish.held_lock import LockedError

METADATA = "http://metadata.google.internal/computeMetadata/v1"
PARAMETERS = "instance/attributes/fanops-training"
WATCHDOG = Path("/run/fanops-watchdog")
#: Google's own account, as which instance schedules start VMs.
SERVICE_AGENT = "@compute-system.iam.gserviceaccount.com"
#: The parts of a fingerprint, in the words of a reason.
PARTS = {"code": "code", "lock": "libraries", "data": "data", "parameters": "parameters"}
STARTS = ("start", "insert", "resume")
ATTEMPTS, PAUSE_SECONDS = 10, 3.0
NOT_OURS = 75
#: When the schedule started the VM last, and by which schedule.
LAST_START = "runs/last-start.json"
#: The same on this VM's disk, for when the bucket cannot be reached.
LAST_START_HERE = Path(RUNS_DIR) / "last-start.json"


class NotPossibleError(Exception):
    """Nothing can be trained; the message says why and what to do."""


@dataclass
class Parameters:
    """What the VM's metadata says; times in seconds."""

    bucket: str
    samples: int
    data: str
    seed: int
    accuracy_floor: float
    function_memory: str
    timeout_seconds: int
    lease_seconds: int
    grace_seconds: int
    python: str
    home: str
    user: str
    scheduled: bool
    data_days: int = 0
    monthly_ceiling_usd: float = 0.0
    notify_secret: str = ""
    notify_on: tuple[str, ...] = ()
    schedule: str = ""
    timezone: str = "UTC"
    force: bool = False

    def options(self, run_id: str, trigger: str, why: str) -> dict[str, Any]:
        """Return the options of ``TrainingRun``, as role model_training gives them to the module training_run."""
        rows = [f"--data={self.data}" if self.data else f"--samples={self.samples}"]
        if self.data.startswith("gs://"):
            rows += [f"--data-days={self.data_days}", f"--data-cache={RUNS_DIR}/.data"]
        limits = [f"--accuracy-floor={self.accuracy_floor}", f"--function-memory={self.function_memory}"]
        argv = [
            self.python,
            "-m",
            "ml.train",
            *rows,
            f"--seed={self.seed}",
            *limits,
            f"--time-limit={self.timeout_seconds}",
            f"--monthly-ceiling={self.monthly_ceiling_usd}",
        ]
        argv += [f"--output={RUNS_DIR}/{run_id}", f"--publish=gs://{self.bucket}", *(["--force"] if self.force else [])]
        log = ["-m", "ml.publish.run_log", f"--run={RUNS_DIR}/{run_id}", f"--to=gs://{self.bucket}"]
        if self.notify_secret:
            log += [f"--notify-secret={self.notify_secret}", f"--notify-on={','.join(self.notify_on)}"]
        return {
            "run_id": run_id,
            "argv": argv,
            "on_end": [self.python, *log],
            "chdir": f"{self.home}/app",
            "environment": {"MPLCONFIGDIR": f"{RUNS_DIR}/.matplotlib", "PYTHONPYCACHEPREFIX": f"{RUNS_DIR}/.pycache"},
            "user": self.user,
            "memory_max": None,
            "timeout_seconds": self.timeout_seconds,
            "trigger": trigger,
            "why": why,
        }


def read_parameters() -> Parameters:
    """Return what site.yml has written. Raises NotPossibleError."""
    try:
        return Parameters(**json.loads(metadata(PARAMETERS)))
    except (TypeError, ValueError) as error:
        raise NotPossibleError(
            f"the metadata fanops-training of this VM is damaged ({error}); run site.yml again"
        ) from error


def metadata(path: str) -> str:
    """Return a value of the metadata server. Raises NotPossibleError."""
    try:
        answer = requests.get(f"{METADATA}/{path}", headers={"Metadata-Flavor": "Google"}, timeout=10)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise NotPossibleError(
            f"the metadata server does not say {path} ({error}); run site.yml, which writes it"
        ) from None
    return answer.text


def starter() -> str:
    """Return the account that started this VM last, from Google's operations. Raises NotPossibleError."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    zone, name = metadata("instance/zone").rpartition("/")[2], metadata("instance/name")
    url = f"https://compute.googleapis.com/compute/v1/projects/{metadata('project/project-id')}/zones/{zone}/operations"
    query = {"filter": f"targetLink eq .*/instances/{name}", "maxResults": "500"}
    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_SECONDS if attempt else 0)
        try:
            session = AuthorizedSession(google.auth.default()[0])
            answer = session.get(url, params=query, timeout=20)
            answer.raise_for_status()
            found = [item for item in answer.json().get("items", []) if item["operationType"] in STARTS]
            if found:
                return str(max(found, key=lambda item: str(item["insertTime"])).get("user", ""))
            problem = "there is no operation that started it"
        except (requests.RequestException, google.auth.exceptions.GoogleAuthError) as error:
            problem = " ".join(str(error).split())[:300]
    raise NotPossibleError(f"cannot tell who started this VM: {problem}; the trainer needs compute.zoneOperations.list")


def arm(lease_seconds: int, grace_seconds: int) -> None:
    """Arm the watchdog, or tell an armed one the times that count."""
    WATCHDOG.mkdir(exist_ok=True)
    (WATCHDOG / "lease").touch()
    new = WATCHDOG / "armed.json.new"
    new.write_text(json.dumps({"lease_seconds": lease_seconds, "grace_seconds": grace_seconds, "by": "boot"}))
    new.replace(WATCHDOG / "armed.json")


def disarm() -> None:
    """Take back what the boot unit armed, and leave alone what a controller has armed since."""
    armed, taken = WATCHDOG / "armed.json", WATCHDOG / "armed.json.boot"
    try:
        armed.rename(taken)
    except FileNotFoundError:
        return
    if json.loads(taken.read_text()).get("by") == "boot":
        taken.unlink()
    elif not armed.exists():
        taken.rename(armed)


def site_lock(bucket: Bucket, trigger: str) -> AbstractContextManager[Any]:
    """Hold the lock that keeps others from changing this site while a run is planned, trained and published."""
    held = ExitStack()
    try:
        held.enter_context(
            held_lock.held(
                bucket, uuid.uuid4().hex, trigger, print, holder=socket.gethostname(), purpose=f"a {trigger} training"
            )
        )
    except (LockedError, BucketError) as error:
        raise NotPossibleError(str(error)) from error
    return held


def plan(parameters: Parameters, bucket: Bucket) -> tuple[str, str]:
    """Return (run id, why it is needed); the reason is empty when the live release was made from the same.

    Raises NotPossibleError when the bucket or the data cannot be read.
    """
    try:
        bucket.check()
        identity = data_identity(parameters.data, parameters.data_days) if parameters.data else None
        new = fingerprint(parameters.samples, parameters.seed, Path(parameters.home) / "app", identity)
    except (BucketError, DataError) as error:
        raise NotPossibleError(str(error)) from error
    try:
        replaced = read_pointer(bucket.read).manifest
        known = read_manifest(bucket.read, replaced).get("fingerprint", {})
    except (ReleaseError, BucketError):  # publishing says what is wrong with it
        replaced, known = "first", None
    changed = [text for part, text in PARTS.items() if known is not None and known.get(part) != new[part]]
    if parameters.force:
        why, replaced = "a training is forced", time.strftime("%Y%m%dt%H%M%S", time.gmtime())
    elif known is None:
        why = "there is no release yet"
    else:
        why = f"changed: {', '.join(changed)}" if changed else ""
    suffix = replaced if parameters.force else replaced[:8]
    return f"{new['fingerprint'][:12]}-{suffix}", why


def train(parameters: Parameters, trigger: str) -> int:
    """Train if anything is new, follow the run to its end, and return the exit code. Raises NotPossibleError."""
    bucket = Bucket(parameters.bucket)
    with site_lock(bucket, trigger):
        run_id, why = plan(parameters, bucket)
        if not why:
            print("nothing to train: the live release was made from the same code, data and parameters", flush=True)
            run_outcome.write(bucket, run_outcome.idle(trigger, run_outcome.NOTHING_NEW))
            tell(parameters, bucket, None)
            return 0
        print(f"run {run_id}: {why}", flush=True)
        run = TrainingRun(parameters.options(run_id, trigger, why))
        if run.observe()["state"] != "running":
            run.start()
        return follow(run)


def follow(run: TrainingRun) -> int:
    """Print what the run says until it has ended; return its exit code."""
    offset = 0
    while True:
        run.wait(2)
        lines, offset = run.output(offset)
        if lines:
            print("\n".join(lines), flush=True)
        found = run.observe()
        if found["state"] != "running" and not lines:
            break
    if found["state"] == "finished":
        return 0
    print(failure_message(run.options["run_id"], found, run.options, run.tail()), file=sys.stderr)
    return int(found["exit_code"] or 1)


def failed(parameters: Parameters, reason: str) -> None:
    """Write down, and tell, that the schedule's start came to nothing."""
    outcome = run_outcome.idle("schedule", run_outcome.FAILED, reason)
    bucket: Bucket | None = None
    try:
        bucket = Bucket(parameters.bucket, timeout=10, deadline=20)
        run_outcome.write(bucket, outcome)
    except BucketError as error:
        print(f"warning: the outcome is in this log only: {error}", file=sys.stderr)
        bucket = None
    tell(parameters, bucket, messages.of_outcome(outcome))


def look_back(parameters: Parameters) -> None:
    """Tell of runs that were due since the schedule's last start, and did not come. Nothing that goes wrong here matters to the run.

    Only between two starts by the same schedule: before its first one, nothing is known to have been due.
    """
    now = time.time()
    seen = {"schedule": parameters.schedule, "timezone": parameters.timezone, "at": now}
    known = [_last_start_here()]
    bucket: Bucket | None = None
    try:
        reached = Bucket(parameters.bucket, timeout=10, deadline=20)
        found = reached.read_versioned(LAST_START)
        known += [json.loads(found[0])] if found else []
        bucket = reached
    except (BucketError, ValueError) as error:
        print(f"warning: not all is known of earlier starts: {error}", file=sys.stderr)
    try:
        same = [
            one for one in known if (one.get("schedule"), one.get("timezone")) == (seen["schedule"], seen["timezone"])
        ]
        last = max((float(one["at"]) for one in same), default=None)
        gaps = [] if last is None else not_come(parameters.schedule, parameters.timezone, last, now)
        if gaps:
            tell(parameters, bucket, messages.missed(gaps))
        if bucket is not None:
            bucket.mirror(LAST_START, json.dumps(seen).encode(), "application/json", "schedule")
        new = LAST_START_HERE.with_suffix(".new")
        new.write_text(json.dumps(seen), encoding="utf-8")
        new.replace(LAST_START_HERE)
    except (BucketError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"warning: of runs that do not come, not all may be told: {error}", file=sys.stderr)


def _last_start_here() -> dict[str, Any]:
    try:
        found = json.loads(LAST_START_HERE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def not_come(schedule: str, timezone: str, last: float, now: float) -> list[str]:
    """Return when starts were due between two that came (seconds since 1970), in UTC. Raises ValueError, LookupError."""
    began, ended = (datetime.datetime.fromtimestamp(at, datetime.timezone.utc) for at in (last, now))
    # The last moment that was due is the one that this start is for.
    moments = list(cron.due(schedule, timezone, began, ended))[:-1]
    return [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments]


def tell(parameters: Parameters, bucket: Bucket | None, message: messages.Message | None) -> None:
    """Send a message to those who want it."""
    messages.notify(bucket, message, parameters.notify_secret, parameters.notify_on, print)


def scheduled() -> int:
    """Do what the schedule wants. The boot unit has armed the watchdog already."""
    parameters = read_parameters()
    account = starter() if parameters.scheduled else ""
    if not account.endswith(SERVICE_AGENT):
        by = (
            f"started by {account or 'nobody known'}, not by the schedule"
            if parameters.scheduled
            else "there is no schedule"
        )
        print(f"{by}: nothing to do", flush=True)
        disarm()
        return NOT_OURS
    try:
        arm(parameters.lease_seconds, parameters.grace_seconds)
        look_back(parameters)
        try:
            return train(parameters, "schedule")
        except Exception as error:  # whatever it is: nobody is there to see it
            failed(parameters, " ".join(str(error).split()) or type(error).__name__)
            raise
    finally:
        subprocess.run(["/bin/systemctl", "poweroff"], check=False)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="fanops-train", description="Train on this VM, as site.yml or the schedule would, and publish the model.",
        epilog="What is not given is as site.yml has it. The VM powers itself off when the run is over.",
    )  # fmt: skip
    parser.add_argument("--scheduled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, metavar="N", help="rows of synthetic data")
    parser.add_argument("--data", metavar="FILE", help="data files instead: a path, or gs://bucket/…")
    parser.add_argument("--seed", type=int, metavar="S", help="the seed")
    parser.add_argument(
        "--force", action="store_true", help="train, and promote, even if nothing is new or it is worse"
    )
    parser.add_argument(
        "--keep-vm", action="store_true", help="leave the VM running afterwards, within Google's run limit"
    )
    arguments = parser.parse_args(argv)
    if arguments.scheduled:
        return scheduled()
    parameters = read_parameters()
    if arguments.samples is not None:
        parameters.samples, parameters.data = arguments.samples, ""
    if arguments.data is not None:
        parameters.data, parameters.data_days = arguments.data, 0
    parameters.seed = parameters.seed if arguments.seed is None else arguments.seed
    parameters.force = arguments.force
    if not arguments.keep_vm:
        arm(parameters.lease_seconds, parameters.grace_seconds)
    return train(parameters, "hand")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NotPossibleError, TrainingError, BucketError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
