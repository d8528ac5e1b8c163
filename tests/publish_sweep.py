# SPDX-License-Identifier: GPL-3.0-or-later
"""Every HTTP call of a publish meets every kind of fault, and the bucket is looked at afterwards.

The publisher is a process of its own, so that "killed" is SIGKILL and nothing else. The files hold no model: the
processes that prove one make no HTTP call.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from ml.bucket import Bucket, BucketError
from ml.core.gate import Proof
from ml.core.releases import Candidate, load_release
from ml.publish.publisher import MIRRORS, InconclusiveError, publish
from tests.faulty_storage import KINDS, Fault, Front

ROOT = Path(__file__).parents[1]
BUCKET = "models"
# Seconds that a request may be silent, and after which retries end. A busy machine is never the one that gives up.
PATIENT = (30.0, 60.0)
# A publisher under test has little patience with just the fault that takes patience.
IMPATIENT = {"stalled": (0.5, 60.0), "503 for good": (30.0, 1.0)}
# A module-level context, whose server has the publisher's libraries loaded before it forks.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.publish_sweep"])


@dataclass
class Sweep:
    """What came out. ``violations`` says in words what went wrong, ``points`` counts the swept calls by fault."""

    points: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    never_fired: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def small(name: str) -> Candidate:
    """Return a candidate that holds no model."""
    facts = {"fingerprint": {"fingerprint": name}, "metrics": {"accuracy": 0.8, "rows": 10_000}}
    files = {
        file: f"{file} of {name}\n".encode() * 50 for file in ("model.joblib", "model_columns.joblib", "model.onnx")
    }
    return Candidate(files, facts)


def open_bucket(url: str, timeout: float = PATIENT[0], deadline: float = PATIENT[1]) -> Bucket:
    """Return the bucket behind the front; ``timeout`` and ``deadline`` in seconds."""
    client = Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    bucket = Bucket(BUCKET, client, timeout=timeout, deadline=deadline)
    bucket._retry = bucket._retry.with_delay(initial=0.02, maximum=0.2)
    return bucket


def run_publish(url: str, name: str, patience: tuple[float, float] = PATIENT) -> str:
    """Publish once; return how it ended, in the words of the sweep."""
    try:
        done = publish(open_bucket(url, *patience), small(name), prove=lambda files, facts: Proof(0, 0, 0))
    except InconclusiveError:
        return "said: unknown"
    except BucketError:
        return "said: failed"
    except Exception as error:
        return f"violation: {type(error).__name__}: {error}"
    return "published" if done.published else "was live already"


def _child(channel: multiprocessing.connection.Connection, url: str, name: str, patience: tuple[float, float]) -> None:
    os.close(2)  # the client's warnings about retries
    channel.recv()  # the parent first learns which process to kill
    channel.send(run_publish(url, name, patience))


def attempt(front: Front, fault: Fault, name: str) -> str:
    """Publish in a process of its own while ``fault`` is planned; return how it ended."""
    here, there = PROCESSES.Pipe()
    child = PROCESSES.Process(target=_child, args=(there, front.url, name, IMPATIENT.get(fault.kind, PATIENT)))
    with mock.patch.dict(os.environ, PYTHONPATH=str(ROOT)):  # for the server of the processes, started by the first
        child.start()
    there.close()
    pid = child.pid
    assert pid is not None
    fault.kill = lambda: os.kill(pid, signal.SIGKILL)
    front.plan(fault)
    here.send("go")
    try:
        outcome = here.recv() if here.poll(300) else "violation: the publisher hangs"
    except EOFError:
        outcome = "killed"
    child.kill()
    child.join()
    front.plan(None)
    return outcome


def look(front: Front) -> tuple[int, dict[str, bytes]]:
    """Return version and verified files of the live release, as a reader finds them."""
    bucket = open_bucket(front.url)
    release = load_release(bucket.read, tuple(small("").files))
    return release.version, dict(release.files)


def sweep(front: Front, kinds: Iterable[str] = KINDS, step: int = 1) -> Sweep:
    """Let each ``step``-th call meet each fault, until a publish runs through without meeting it."""
    found = Sweep()
    run_publish(front.url, "before")
    for kind in kinds:
        at = 1
        while True:
            name = f"{kind}-{at}"
            before = look(front)
            fault = Fault(kind, at)
            outcome = attempt(front, fault, name)
            if not fault.fired:
                if outcome != "published":
                    found.violations.append(f"{name}: a publish without a fault ended with {outcome}")
                break
            found.points[kind] += 1
            found.outcomes[outcome] += 1
            _judge(front, found, name, outcome, before)
            at += step
        if not found.points[kind]:
            found.never_fired.append(kind)
    return found


def _judge(front: Front, found: Sweep, name: str, outcome: str, before: tuple[int, dict[str, bytes]]) -> None:
    def wrong(what: str) -> None:
        found.violations.append(f"{name} ({outcome}): {what}")

    new = dict(small(name).files)
    if outcome.startswith("violation"):
        wrong("it did not end in words")
    if name.startswith("killed") != (outcome == "killed"):
        wrong("the kill did not come about, or came unasked")
    version, files = look(front)
    if (version, files) != before and (version, files) != (before[0] + 1, new):
        wrong(f"readers find version {version}, which is neither the old release nor the new one")
    if outcome == "published" and files != new:
        wrong("it was acknowledged and is not live")
    if outcome == "said: failed" and files == new and version == before[0] + 1:
        # failed after the swap, in the mirrors: the release is whole, and the next run repairs them
        found.outcomes["live, mirrors left to the next run"] += 1
    again = run_publish(front.url, name)
    if again not in ("published", "was live already"):
        wrong(f"running it again ended with {again}")
    if look(front) != (before[0] + 1, new):
        wrong("running it again did not make it live exactly once")
    bucket = open_bucket(front.url)
    for mirror in MIRRORS:
        if bucket.read(mirror) != new[mirror]:
            wrong(f"the mirror {mirror} is not that of the live release")
