# SPDX-License-Identifier: GPL-3.0-or-later
"""From a forest to the files of a release: converted, proven, measured, reported, saved and published."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from ml.arguments import TrainingError
from ml.core.gate import Compare, Comparison, Limits, Verdict, judge
from ml.core.releases import SCHEMA, Candidate, Release, ReleaseError, canonical_json, load_release, sha256
from ml.core.serving import Model
from ml.data.sources import Source
from ml.forest.evaluation import Evaluation, compare, evaluate, golden_rows, unseen
from ml.forest.memory_budget import return_freed_memory
from ml.forest.onnx_export import to_onnx
from ml.progress import Log

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

    from ml.bucket import Bucket


def make_candidate(forest: RandomForestClassifier, source: Source, log: Log) -> tuple[Candidate, Evaluation]:
    """Convert the forest, prove that both forms agree, and measure the form that will serve on the held-out rows.

    Returns the candidate with its model files and what is known of it so far.
    """
    schema = source.schema
    return_freed_memory()  # the partitions'
    files = {
        "model.joblib": _dump(forest),
        "model_columns.joblib": _dump(list(schema.columns)),
        "model.onnx": to_onnx(forest),
    }
    return_freed_memory()  # the conversion's: its lists are several times the model
    golden = golden_rows(forest, schema)
    model = Model(files["model.onnx"], schema, schema.classes)
    try:
        model.prove(golden)
    except ReleaseError as error:
        raise TrainingError(f"the exported model is wrong, nothing was published: {error}") from error
    return_freed_memory()  # onnxruntime's, which parsed the model and made its own form of it
    evaluation = evaluate(model, source)
    metrics = evaluation.metrics
    best = ""
    if metrics["ceiling"] is not None:
        short = 100 * (metrics["ceiling"] - metrics["accuracy"])
        best = f"; the best possible is {metrics['ceiling']:.2%}, {short:.2f} points more"
    low, high = metrics["interval"]
    repeated = metrics["rows"] - metrics["contexts"]
    log(
        f"accuracy {metrics['accuracy']:.2%} ({low:.2%} to {high:.2%} with 95 % confidence) on {metrics['rows']:,} held-out "
        f"rows{f', {repeated:,} of them repeated' * bool(repeated)}{best}"
    )
    if missing := unseen(forest):
        log(f"no row to train on shows {', '.join(missing)}: the model never answers so")
    facts = {
        "columns": list(schema.columns),
        "classes": list(schema.classes),
        "model_schema": schema.document,
        "metrics": metrics,
        "split": source.split,
        "unseen": missing,
        "golden": golden,
        "forest": {
            "trees": len(forest.estimators_),
            "nodes": sum(tree.tree_.node_count for tree in forest.estimators_),
        },
    }
    return Candidate(files, facts), evaluation


def _dump(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=3)
    return buffer.getvalue()


def write_file(output: Path, name: str, data: bytes) -> None:
    """Write one file to ``output``; it appears whole or not at all."""
    temporary = output / f".{name}.new"
    temporary.write_bytes(data)
    temporary.replace(output / name)


def save(candidate: Candidate, output: Path, log: Log) -> None:
    """Write the files and a manifest of them to ``output``."""
    entries = {name: {"size": len(data), "sha256": sha256(data)} for name, data in candidate.files.items()}
    manifest = canonical_json({"schema": SCHEMA, **candidate.facts, "files": entries})
    try:
        for name, data in {**candidate.files, "manifest.json": manifest}.items():
            write_file(output, name, data)
    except OSError as error:
        raise TrainingError(
            f"cannot save to {output}: {error.strerror}; free space or choose another --output"
        ) from error
    sizes = ", ".join(f"{name} {len(data) / 1e6:.2f} MB" for name, data in candidate.files.items())
    log(f"files saved to {output}: {sizes}, manifest.json")


def comparer(evaluation: Evaluation, source: Source) -> Compare:
    """Return what compares a live release with the candidate; each release is asked once."""
    known: dict[str, Comparison] = {}

    def compared(live: Release) -> Comparison:
        if live.digest not in known:
            known[live.digest] = compare(live, evaluation, source)
            return_freed_memory()  # the live model's
        return known[live.digest]

    return compared


def first_look(bucket: Bucket, candidate: Candidate, limits: Limits, compare: Compare) -> Verdict:
    """Say what the gate will say, for the report; publishing asks it again."""
    from ml.bucket import BucketError

    try:
        live = load_release(bucket.read)
    except (ReleaseError, BucketError):
        live = None  # publishing says what is wrong with it
    return judge(candidate, live, limits, compare)


def publish_candidate(
    bucket: Bucket, candidate: Candidate, compare: Compare, limits: Limits, force: bool, log: Log
) -> None:
    """Make the candidate the live release of the bucket."""
    from ml.bucket import BucketError
    from ml.publish.publisher import InconclusiveError, RefusedError, publish

    try:
        outcome = publish(
            bucket,
            candidate,
            force=force,
            limits=limits,
            compare=compare,
            report=log,
        )
    except RefusedError as refusal:
        raise TrainingError(f"not published: {refusal}") from refusal
    except (BucketError, InconclusiveError, ReleaseError) as error:
        raise TrainingError(str(error)) from error
    if not outcome.published:
        log(f"nothing uploaded to gs://{bucket.name}: release {outcome.version} is this model already")
