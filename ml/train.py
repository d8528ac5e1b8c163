# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the sponsor model, measure it against the best possible accuracy, save it, and publish it if asked to.

python -m ml.train --samples 10000 --seed 42 --output model
python -m ml.train --samples 1000000 --output model --publish gs://fanops-m4-models
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.fingerprint import DEFAULT_SAMPLES, DEFAULT_SEED, fingerprint
from ml.progress import Log, Progress, memory_bytes
from ml.releases import SCHEMA, Candidate, ReleaseError, canonical_json, sha256

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

    from ml.bucket import Bucket
    from ml.serving import Model

SMALLEST_SAMPLES = 100
GOLDEN_ROWS = 24
_LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnx", "onnxruntime")


class TrainingError(Exception):
    """The training cannot go on; the message says why and what to do. ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def format_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.train",
        description="Train the sponsor model on synthetic data and save it "
        "(model.joblib, model_columns.joblib, model.onnx, manifest.json).",
        epilog="Exit codes: 0 trained (and published), 1 failed or refused by the quality gate, 2 wrong arguments.",
    )
    parser.add_argument(
        "--samples", type=int, default=DEFAULT_SAMPLES, metavar="N", help="rows to train on (default %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="S",
        help="the same seed gives the same model (default %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("model"), metavar="DIR", help="where the files go (default ./%(default)s)"
    )
    parser.add_argument("--publish", metavar="gs://BUCKET", help="make the model the live release of this bucket")
    parser.add_argument(
        "--access-patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="go on trying while the bucket refuses access: a grant may take minutes to count (default: fail at once)",
    )
    parser.add_argument("--force", action="store_true", help="promote it even if it is worse than the live release")
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="trees to grow at once; the model does not depend on it (default: one a core)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = format_parser().parse_args(argv)
    try:
        return _run(arguments)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except MemoryError:
        peak = memory_bytes() / 2**20
        print(
            f"error: out of memory at {peak:.0f} MiB; use fewer --samples or a machine with more memory",
            file=sys.stderr,
        )
        return 1


def _run(arguments: argparse.Namespace) -> int:
    log = Log()
    _check(arguments)
    names = fingerprint(arguments.samples, arguments.seed)
    log(f"training run: {arguments.samples:,} samples, seed {arguments.seed}, fingerprint {names['fingerprint'][:12]}")
    bucket = _open_bucket(arguments.publish, arguments.access_patience, log)  # before an hour of training, not after it
    forest = train(arguments.samples, arguments.seed, arguments.jobs or len(os.sched_getaffinity(0)), log)
    candidate = evaluate(forest, log)
    candidate.facts.update(
        fingerprint=names,
        samples=arguments.samples,
        seed=arguments.seed,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        libraries={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        resources={"peak_memory_bytes": memory_bytes(), "seconds": round(log.seconds, 1)},
    )
    save(candidate, arguments.output, log)
    if bucket is not None:
        publish_candidate(bucket, candidate, arguments.force, log)
    log(f"finished in {log.seconds:.1f} s, peak memory {memory_bytes() / 2**20:.0f} MiB")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that cannot work, before anything expensive is imported or written."""
    if arguments.samples < SMALLEST_SAMPLES:
        raise TrainingError(f"--samples must be at least {SMALLEST_SAMPLES}, got {arguments.samples}", 2)
    if not 0 <= arguments.seed < 2**63:
        raise TrainingError(f"--seed must be from 0 to {2**63 - 1}, got {arguments.seed}", 2)
    if not 0 <= arguments.access_patience <= 3600:
        raise TrainingError(f"--access-patience must be from 0 to 3600 seconds, got {arguments.access_patience:g}", 2)
    if arguments.jobs < 0:
        raise TrainingError(f"--jobs must be 0 (one a core) or more, got {arguments.jobs}", 2)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"cannot use --output {arguments.output}: {error.strerror}; choose a folder you may write to", 2
        ) from error
    if not os.access(arguments.output, os.W_OK):
        raise TrainingError(f"cannot write to --output {arguments.output}; choose a folder you may write to", 2)


def _open_bucket(url: str | None, patience: float, log: Log) -> Bucket | None:
    """Return the bucket to publish to, reached once so that a wrong name or missing rights end the run at once."""
    if url is None:
        return None
    # The training machine has Python 3.10 by design; its lock holds versions that run on it.
    warnings.filterwarnings("ignore", message="You are using a non-supported Python version", category=FutureWarning)
    from ml.bucket import Bucket, BucketError, bucket_name

    try:
        bucket = Bucket(bucket_name(url), patience=patience, report=log)
        bucket.check()
    except ValueError as error:
        raise TrainingError(f"--publish: {error}", 2) from error
    except BucketError as error:
        raise TrainingError(f"--publish {url}: {error}") from error
    return bucket


def train(samples: int, seed: int, jobs: int, log: Log) -> RandomForestClassifier:
    """Grow the forest partition by partition and return it."""
    from ml import dataset, forest

    try:
        shares = forest.plan(samples)
    except ValueError as error:
        raise TrainingError(f"--samples: {error}", 2) from error
    log(f"libraries loaded; {len(shares)} partition{'s' * (len(shares) > 1)} of {shares[0].rows:,} rows, {jobs} jobs")
    trees: list[Any] = []
    with Progress(log, forest.TREES) as progress:
        for share in shares:
            features, labels = dataset.partition(seed, share.index, share.rows)
            place = f" (partition {share.index + 1} of {len(shares)})" if len(shares) > 1 else ""
            log(f"samples generated: {share.rows:,} rows{place}")
            log(f"features encoded ({features.shape[1]} dimensions), {features.nbytes / 1e6:.1f} MB{place}")
            log(f"training {share.trees} trees{place}")
            for batch in forest.grow(share, features, labels, seed, jobs):
                trees += batch
                progress.advance(trees=len(batch))
            progress.advance(rows=share.rows)
        log(progress.line())
    return forest.assemble(trees)


def evaluate(forest: RandomForestClassifier, log: Log) -> Candidate:
    """Convert the forest, prove that both forms agree, and measure the form that will serve on the held-out rows.

    Returns the candidate with its files and what is known of it so far.
    """
    import joblib

    from ml.features import COLUMNS
    from ml.onnx_export import to_onnx
    from ml.serving import Model
    from ml.sponsors import CLASSES

    files = {
        "model.joblib": _dump(joblib, forest),
        "model_columns.joblib": _dump(joblib, list(COLUMNS)),
        "model.onnx": to_onnx(forest),
    }
    golden = golden_rows(forest)
    model = Model(files["model.onnx"], CLASSES)
    try:
        model.prove(golden)
    except ReleaseError as error:
        raise TrainingError(f"the exported model is wrong, nothing was published: {error}") from error
    metrics = measure(model)
    log(
        f"accuracy {metrics['accuracy']:.2%} on {metrics['rows']:,} held-out rows; the best possible is "
        f"{metrics['ceiling']:.2%}, {100 * (metrics['ceiling'] - metrics['accuracy']):.2f} points more"
    )
    facts = {
        "columns": list(COLUMNS),
        "classes": list(CLASSES),
        "metrics": metrics,
        "golden": golden,
        "forest": {
            "trees": len(forest.estimators_),
            "nodes": sum(tree.tree_.node_count for tree in forest.estimators_),
        },
    }
    return Candidate(files, facts)


def _dump(joblib: Any, value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=3)
    return buffer.getvalue()


def golden_rows(forest: RandomForestClassifier) -> list[dict[str, Any]]:
    """Return contexts with the answers of the forest, for everyone who loads the model to replay."""
    import numpy as np

    from ml import dataset
    from ml.features import encode
    from ml.forest import probabilities
    from ml.sponsors import CLASSES

    arrays = dataset.draw_contexts(GOLDEN_ROWS, np.random.default_rng(dataset.HELD_OUT_SEED))
    contexts = [arrays.context(row) for row in range(GOLDEN_ROWS)]
    answers = probabilities(forest, encode(contexts))
    return [
        {"context": context, "sponsor": CLASSES[answer.argmax()], "probabilities": answer.tolist()}
        for context, answer in zip(contexts, answers, strict=True)
    ]


def measure(model: Model) -> dict[str, Any]:
    """Return the accuracy of ``model`` and the best possible one on the held-out rows, and the digest of those rows."""
    from ml import dataset

    right, rows, ceiling = 0, 0, 0.0
    digest = hashlib.sha256()
    for features, labels, best in dataset.held_out():
        right += int((model.probabilities(features).argmax(axis=1) == labels).sum())
        rows += len(labels)
        ceiling += best * len(labels)
        digest.update(features.tobytes())
        digest.update(labels.astype("<i8").tobytes())
    return {
        "accuracy": round(right / rows, 6),
        "ceiling": round(ceiling / rows, 6),
        "rows": rows,
        "held_out": digest.hexdigest(),
    }


def save(candidate: Candidate, output: Path, log: Log) -> None:
    """Write the files and a manifest of them to ``output``. Each appears whole or not at all."""
    entries = {name: {"size": len(data), "sha256": sha256(data)} for name, data in candidate.files.items()}
    manifest = canonical_json({"schema": SCHEMA, **candidate.facts, "files": entries})
    try:
        for name, data in {**candidate.files, "manifest.json": manifest}.items():
            temporary = output / f".{name}.new"
            temporary.write_bytes(data)
            temporary.replace(output / name)
    except OSError as error:
        raise TrainingError(
            f"cannot save to {output}: {error.strerror}; free space or choose another --output"
        ) from error
    sizes = ", ".join(f"{name} {len(data) / 1e6:.2f} MB" for name, data in candidate.files.items())
    log(f"files saved to {output}: {sizes}, manifest.json")


def publish_candidate(bucket: Bucket, candidate: Candidate, force: bool, log: Log) -> None:
    """Make the candidate the live release of the bucket."""
    from ml.bucket import BucketError
    from ml.publishing import InconclusiveError, RefusedError, publish
    from ml.serving import model_of

    try:
        outcome = publish(
            bucket,
            candidate,
            force=force,
            measure=lambda live: float(measure(model_of(live))["accuracy"]),
            report=log,
        )
    except RefusedError as refusal:
        raise TrainingError(f"not published: {refusal}") from refusal
    except (BucketError, InconclusiveError, ReleaseError) as error:
        raise TrainingError(str(error)) from error
    if not outcome.published:
        log(f"nothing uploaded to gs://{bucket.name}: release {outcome.version} is this model already")


if __name__ == "__main__":
    sys.exit(main())
