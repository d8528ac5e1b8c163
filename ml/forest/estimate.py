# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training will take, from a small sample of it: peak memory, duration and the size of the model.

What cannot fit is refused in seconds. The other way is that the kernel kills it after an hour.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from ml.core.releases import MAX_FILE_BYTES
from ml.data.partitions import Share
from ml.data.sources import Source
from ml.forest import random_forest
from ml.forest.machine_types import suggest
from ml.forest.memory_budget import memory_budget
from ml.progress import memory_bytes

_SAMPLE_ROWS = 4_000

# Measured with ``make bench-training``, which compares predictions with what was then taken; see benchmarks/training.py.
BYTES_A_ROW, BYTES_A_COLUMN = (
    100,
    8,
)  # of a partition: features, labels, weights, and what scikit-learn keeps beside them
BYTES_A_NODE, BYTES_A_CLASS = 64, 8  # of a tree in memory: the node, and a share for each class
CONVERT_BYTES, CONVERT_BYTES_A_NODE = 40 * 2**20, 700  # the forest turned into ONNX and loaded by onnxruntime
REPORT_BYTES, REPORT_BYTES_A_NODE = (
    112 * 2**20,
    130,
)  # all libraries, the loaded model, a chunk to measure, the pictures
SECONDS_A_COUNTED_ROW = 2e-7  # of a tree that did not grow on it
MARGIN = 1.03
FINISH_SECONDS = 4.0
ONNX_BYTES_A_NODE = 36
JOBLIB_BYTES_A_NODE = 30


class UnfitError(Exception):
    """The training cannot fit; the message says what is short and what would do."""


@dataclass(frozen=True)
class Prediction:
    """What a training is going to take, on ``jobs`` threads of this machine, or on all of its workers together."""

    memory: int  # peak bytes of the process
    seconds: float
    onnx: int  # bytes of model.onnx
    joblib: int  # bytes of model.joblib
    jobs: int
    cpus: float  # that do the work

    def as_dict(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {
            "peak_memory_bytes": self.memory,
            "seconds": round(self.seconds, 1),
            "onnx_bytes": self.onnx,
            "joblib_bytes": self.joblib,
        }

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"about {self.memory / 2**20:.0f} MiB of memory, {self.seconds:.0f} s on {self.jobs} "
            f"thread{'s' * (self.jobs > 1)}, {self.onnx / 1e6:.1f} MB of ONNX"
        )


def predict(source: Source, seed: int, jobs: int, workers: int = 0, vcpus: float = math.inf) -> Prediction:
    """Predict the training of ``source``: a tree is grown on a few thousand rows, and the CPU time of it is scaled.

    ``workers`` is the number of other machines that grow the trees; then this one only keeps them. ``vcpus`` is the number of CPUs that a
    machine has all the time: the sample may be grown at the speed of a burst, and the training will not be.
    """
    shares = source.plan()
    rows = source.rows
    sample = Share(0, min(_SAMPLE_ROWS, rows), 1, max(1, math.ceil(rows / _SAMPLE_ROWS)))
    started = time.process_time()
    features, labels = source.partition(sample)
    made = time.process_time()
    for _ in random_forest.grow(sample, features, labels, len(source.schema.classes), seed):
        pass
    grown = time.process_time()
    cpus = workers * min(1.0, vcpus) if workers else min(float(jobs), vcpus)
    seconds = rows / len(labels) * (made - started)
    seconds += SECONDS_A_COUNTED_ROW * sum(share.trees * (share.seen - share.rows) for share in shares)
    seconds += sum(share.trees * _work(share.rows) for share in shares) / _work(len(labels)) * (grown - made)

    nodes = sum(share.trees * (2 * random_forest.leaves(share.rows) - 1) for share in shares)
    threads = min(jobs, len(shares)) if len(shares) > 1 else 1
    growing = 0 if workers else threads * shares[0].rows * (BYTES_A_ROW + BYTES_A_COLUMN * len(source.schema.columns))
    finishing = max(CONVERT_BYTES + nodes * CONVERT_BYTES_A_NODE, REPORT_BYTES + nodes * REPORT_BYTES_A_NODE)
    peak = (
        memory_bytes("VmRSS")
        + nodes * (BYTES_A_NODE + BYTES_A_CLASS * len(source.schema.classes))
        + max(growing, finishing)
    )
    return Prediction(
        memory=int(peak * MARGIN),
        seconds=seconds / cpus + FINISH_SECONDS / min(1.0, vcpus),
        onnx=nodes * ONNX_BYTES_A_NODE,
        joblib=nodes * JOBLIB_BYTES_A_NODE,
        jobs=jobs,
        cpus=cpus,
    )


def _work(rows: int) -> float:
    """Return the relative time to grow a tree on ``rows`` rows: sorting dominates."""
    return rows * math.log2(max(rows, 2))


def fit(
    source: Source,
    seed: int,
    jobs: int,
    time_limit: float = 0,
    workers: int = 0,
    budget: int | None = None,
    vcpus: float = math.inf,
) -> Prediction:
    """Return the prediction with as many of the ``jobs`` threads as there is memory for.

    ``time_limit`` is in seconds, 0 for none; ``budget`` is the memory in bytes that this process may have in all;
    ``vcpus`` is as in ``predict``.
    Raises UnfitError if it does not fit with one thread either, takes too long, or makes a model that nobody can serve.
    """
    budget = memory_budget() if budget is None else budget
    while (prediction := predict(source, seed, jobs, workers, vcpus)).memory > budget and jobs > 1:
        jobs -= 1
    if max(prediction.onnx, prediction.joblib) > MAX_FILE_BYTES:
        raise UnfitError(
            f"the model would have about {max(prediction.onnx, prediction.joblib) / 2**20:.0f} MiB, and readers accept "
            f"{MAX_FILE_BYTES / 2**20:.0f} MiB, whatever the machine; train on fewer samples"
        )
    if prediction.memory > budget:
        raise UnfitError(
            f"this training needs about {prediction.memory / 2**20:.0f} MiB of memory and {budget / 2**20:.0f} MiB are "
            f"free; {suggest(memory=prediction.memory)}"
        )
    if time_limit and prediction.seconds > time_limit:
        needed = prediction.seconds * prediction.cpus / time_limit
        share = f" with {prediction.cpus:g} CPUs, which this machine type has all the time," if vcpus < jobs else ""
        raise UnfitError(
            f"this training needs about {prediction.seconds:,.0f} s{share} and the limit is {time_limit:,.0f} s; raise "
            f"training_timeout_seconds, or: {suggest(memory=prediction.memory, vcpus=needed)}"
        )
    return prediction
