# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that nobody can tear: the publish sweep, the counter, damaged bytes, and rollback."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import ml.publish.publisher
from ml.bucket import Bucket, BucketError
from ml.core.gate import Proof
from ml.core.releases import Candidate, read_pointer
from ml.publish.publisher import publish
from tests.damaged_files import damage, deserialisers_guarded
from tests.faulty_storage import KINDS, Front, faulty_storage
from tests.prove.figures import record, table
from tests.publish_sweep import BUCKET, open_bucket, small, sweep
from tests.rollbacks import roll_back_to_each
from tests.unit.ml.model_fixtures import as_candidate, grown, new_client

pytestmark = pytest.mark.timeout(3600)
COMMAND = "make prove-serving"


@pytest.fixture
def front() -> Iterator[Front]:
    with faulty_storage() as found:
        new_client(found.url).create_bucket(BUCKET)
        yield found


def test_every_call_of_a_publish_meets_every_fault(front: Front) -> None:
    begun = time.monotonic()
    found = sweep(front)
    points = [[kind, found.points[kind], found.points[kind]] for kind in KINDS]
    record(
        "A publish meets every fault at every call",
        COMMAND,
        f"{table(['fault', 'calls swept', 'fired'], points)}\n\n"
        f"{sum(found.points.values())} faulted publishes in {time.monotonic() - begun:.0f} s, each swept until one ran through "
        f"clean; they ended {', '.join(f'{how}: {n}' for how, n in found.outcomes.most_common())}. "
        f"Violations: {len(found.violations)} (a reader found neither old nor new, an acknowledged release was not live, "
        "a second run did not repair, or it did not end in words).",
    )
    assert found.never_fired == []
    assert found.violations == []


def test_of_eight_publishers_each_commit_is_there_exactly_once(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ml.publish.publisher, "HISTORY", 1000)
    publishers, commits = 8, 50
    acknowledged, failures = [], []
    retries: Counter[str] = Counter()

    def publisher(number: int) -> None:
        for commit in range(commits):
            while True:
                bucket = open_bucket(front.url, 10, 60)
                try:
                    done = publish(bucket, quick(f"{number}-{commit}"), prove=lambda files, facts: Proof(0, 0, 0))
                    acknowledged.append(done.version)
                    break
                except BucketError as error:
                    if "other publishers were faster" not in str(error):
                        failures.append(error)
                        return
                    retries["lost"] += 1

    begun = time.monotonic()
    threads = [threading.Thread(target=publisher, args=(number,)) for number in range(publishers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    promotions = read_pointer(open_bucket(front.url, 10, 60).read).promotions()
    present = sorted(promotion.version for promotion in promotions)
    record(
        "Eight publishers, fifty commits each",
        COMMAND,
        f"Acknowledged {len(acknowledged)}, present in the history {len(present)}, each exactly once; the final version is "
        f"{present[-1]}. {retries['lost']} publishes lost the race five times in a row and were run again. "
        f"{time.monotonic() - begun:.0f} s.",
    )
    assert failures == []
    assert sorted(acknowledged) == present == list(range(1, publishers * commits + 1))
    assert len({promotion.write_id for promotion in promotions}) == len(present)


def quick(name: str) -> Candidate:
    found = small(name)
    return type(found)(
        {"model.onnx": found.files["model.onnx"], **dict.fromkeys(ml.publish.publisher.MIRRORS, b"")}, found.facts
    )


def test_no_damaged_byte_reaches_a_deserialiser() -> None:
    trained = grown(10_000, seed=42)
    candidate = as_candidate(trained, "damaged")
    begun = time.monotonic()
    with deserialisers_guarded(candidate) as guard:
        counts = damage(candidate, random.Random(1), flips=1000, truncations=200)
        # mutation check: without the digests the same damage does reach them
        unhashed = damage(candidate, random.Random(1), flips=60, truncations=12, check_digests=False)
    record(
        "Damaged files",
        COMMAND,
        f"{counts['flips']:,} random bit flips and {counts['truncations']} truncations of model.onnx, model.joblib and "
        f"model_columns.joblib, read by the function and by the proof of a candidate: {counts['refused']:,} refused, "
        f"{counts['reached']} damaged files reached a deserialiser. With the check of the digest taken out, "
        f"{unhashed['reached']} of {unhashed['flips'] + unhashed['truncations']} did. {time.monotonic() - begun:.0f} s.",
    )
    assert counts["reached"] == 0 and counts["refused"] == 1200
    assert unhashed["reached"] > 60
    assert guard.good > 0  # the undamaged files were let through


def test_each_of_five_releases_is_brought_back(front: Front, tmp_path: Path) -> None:
    """By the playbook's module, then asked over HTTP: the golden rows answer as recorded."""
    candidates = [as_candidate(grown(2_000 + 500 * n, seed=n), f"release {n}") for n in range(1, 6)]
    client = new_client(front.url)
    for candidate in candidates:
        publish(Bucket(BUCKET, client), candidate, force=True)
    rows = roll_back_to_each(front, candidates, tmp_path)
    record(
        "Rollback to each of five releases",
        COMMAND,
        table(["release", "seconds for the swap", "seconds until served", "golden rows as recorded"], rows)
        + "\n\nNothing was trained. The function looked at the pointer every 0.1 s (60 s by default).",
    )
    assert len(rows) == 5
    assert all(
        row[3] == f"{len(candidates[0].facts['golden'])} of {len(candidates[0].facts['golden'])}" for row in rows
    )
