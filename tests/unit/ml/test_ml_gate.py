# SPDX-License-Identifier: GPL-3.0-or-later
"""What a candidate must show before it is promoted, and what happens when it cannot."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from google.cloud.storage import Client

from ml.bucket import Bucket
from ml.core.gate import Limits, Proof
from ml.core.releases import Candidate, load_release, read_pointer
from ml.publish.proof import ProofError, prove
from ml.publish.publisher import RefusedError, publish
from tests.damaged_files import damage, deserialisers_guarded
from tests.faulty_storage import faulty_storage
from tests.publish_sweep import sweep
from tests.unit.ml.model_fixtures import BUCKET, Candidates, Forests, as_candidate, new_client, publish_unproven

MIB = 2**20


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return Bucket(BUCKET, client, deadline=60)


def changed(candidate: Candidate, **facts: Any) -> Candidate:
    return Candidate(candidate.files, {**candidate.facts, **facts})


def test_a_release_is_proven_in_processes_of_their_own_and_its_memory_is_told(
    bucket: Bucket, candidates: Candidates
) -> None:
    publish(bucket, candidates[0])
    memory = load_release(bucket.read).manifest["memory"]
    assert 20 * MIB < memory["base_bytes"] < memory["peak_bytes"] < memory["serving_bytes"] < 512 * MIB
    assert 0 < memory["load_bytes"] < memory["peak_bytes"]


@pytest.mark.parametrize("name", ["model.onnx", "model.joblib", "model_columns.joblib"])
@pytest.mark.parametrize("what", ["of the other forest", "no model"])
def test_a_file_that_answers_otherwise_is_never_promoted(
    bucket: Bucket, candidates: Candidates, name: str, what: str
) -> None:
    """Not even by force."""
    other = candidates[1].files[name] if what == "of the other forest" else b"not a model at all"
    if name == "model_columns.joblib" and what == "of the other forest":
        other = candidates[1].files["model.joblib"]
    spoilt = Candidate({**candidates[0].files, name: other}, candidates[0].facts)
    with pytest.raises(ProofError, match="nothing was promoted"):
        publish(bucket, spoilt, force=True)
    assert bucket.read_versioned("current.json") is None


def test_a_process_that_is_killed_while_it_loads_is_told_as_such(
    candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    monkeypatch.setattr(subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, -9, "", ""))
    with pytest.raises(ProofError, match=r"ended by SIGKILL: the model is damaged or needs more memory"):
        prove(candidates[0].files, candidates[0].facts)


def test_too_low_too_large_or_of_another_schema_is_refused_with_the_numbers(
    bucket: Bucket, candidates: Candidates
) -> None:
    def refused(candidate: Candidate, memory: int = 0, **options: Any) -> str:
        with pytest.raises(RefusedError) as error:
            publish(bucket, candidate, prove=lambda files, facts: Proof(0, 30 * MIB, memory), **options)
        return str(error.value)

    low = changed(candidates[0], metrics={**candidates[0].facts["metrics"], "accuracy": 0.31})
    assert "31.00% is below the floor of 60.00%" in refused(low)
    assert bucket.read_versioned("current.json") is None
    publish_unproven(bucket, candidates[0])
    other = changed(candidates[1], columns=["match_minute"], classes=[*candidates[1].facts["classes"], "Nouveau"])
    text = refused(other)
    assert "columns are not those of the live release (without score_diff" in text and "with Nouveau" in text
    text = refused(candidates[1], memory=400 * MIB)
    assert "serving takes 526 MiB (measured: 400 MiB at the peak and 30 MiB" in text and "has 512 MiB" in text
    assert read_pointer(bucket.read).version == 1
    publish(
        bucket, candidates[1], limits=replace(Limits(), function_memory_bytes=1024 * MIB),
        prove=lambda files, facts: Proof(0, 30 * MIB, 400 * MIB),
    )  # fmt: skip
    pointer = read_pointer(bucket.read)
    assert (pointer.version, pointer.forced, pointer.reason) == (2, False, "passed the quality gate")


def test_a_forced_promotion_is_recorded_with_what_the_gate_said(bucket: Bucket, candidates: Candidates) -> None:
    publish_unproven(bucket, candidates[0])
    low = changed(candidates[1], metrics={**candidates[1].facts["metrics"], "accuracy": 0.4})
    publish(bucket, low, force=True, prove=lambda files, facts: Proof(0, 0, 999 * MIB))
    pointer = read_pointer(bucket.read)
    assert pointer.forced
    for part in ("40.00% is below the floor", "below the 80.00% of live release 1", "serving takes 1095 MiB"):
        assert part in pointer.reason
    assert not pointer.history[0].forced


def test_a_forced_release_over_a_damaged_one_goes_on_counting(
    bucket: Bucket, client: Client, candidates: Candidates
) -> None:
    publish_unproven(bucket, candidates[0])
    for blob in client.list_blobs(BUCKET, prefix="manifests/"):
        blob.upload_from_string("damaged")
    publish_unproven(bucket, candidates[1], force=True)
    pointer = read_pointer(bucket.read)
    assert (pointer.version, len(pointer.history)) == (2, 1)


@pytest.mark.timeout(300)
def test_a_sample_of_the_publish_sweep() -> None:
    """`make prove-serving` sweeps every call."""
    with faulty_storage() as front:
        new_client(front.url).create_bucket(BUCKET)
        found = sweep(front, step=6)
    assert found.violations == [] and found.never_fired == []
    assert sum(found.points.values()) >= 20


def test_a_sample_of_the_damaged_files(forests: Forests) -> None:
    """`make prove-serving` damages twelve hundred."""
    candidate = as_candidate(forests[0], "damaged")
    with deserialisers_guarded(candidate):
        counts = damage(candidate, random.Random(7), flips=60, truncations=15)
    assert counts["reached"] == 0 and counts["refused"] == 75
