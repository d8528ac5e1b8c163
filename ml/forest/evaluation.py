# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a model is, measured in the form that will serve, on rows that no tree has seen."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.core.features import encode
from ml.core.serving import Model
from ml.core.sponsors import CLASSES
from ml.data import synthetic
from ml.data.partitions import Share
from ml.data.sources import Source
from ml.forest.random_forest import probabilities

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

GOLDEN_ROWS = 24
CALIBRATION_BINS = 10
_CURVE_ROWS = 10_000
_CURVE_POINTS = 8


@dataclass
class Evaluation:
    """What was counted on the held-out rows, beyond the accuracy that the manifest states."""

    metrics: dict[str, Any]
    # rows (actual, predicted), in the order of the model's classes
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64))
    # a bin of the confidence each: rows, sum of confidences, right answers
    calibration: NDArray[np.float64] = field(default_factory=lambda: np.zeros((CALIBRATION_BINS, 3)))


def evaluate(model: Model, source: Source, jobs: int = 1) -> Evaluation:
    """Measure ``model`` on the held-out rows of ``source``, with ``jobs`` threads.

    The metrics are ``accuracy`` and ``ceiling`` (0-1; the ceiling is None where the distribution is not known),
    ``rows``, and ``held_out``, the digest of those rows.
    """
    result = Evaluation({})
    digest = hashlib.sha256()
    best: float | None = 0.0
    order = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in model.classes])
    chunks = list(source.held_out())
    with ThreadPoolExecutor(jobs) as pool:
        answers = list(pool.map(model.probabilities, (chunk.features for chunk in chunks)))
    for (features, labels, ceiling), chances in zip(chunks, answers, strict=True):
        winners = order[chances.argmax(axis=1)]
        right = winners == labels
        known = winners >= 0  # a live release may know a sponsor that this catalogue does not
        np.add.at(result.confusion, (labels[known], winners[known]), 1)
        confidence = chances.max(axis=1).astype(np.float64)
        place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        for column, weights in enumerate((np.ones(len(labels)), confidence, right.astype(np.float64))):
            result.calibration[:, column] += np.bincount(place, weights, minlength=CALIBRATION_BINS)
        best = None if best is None or ceiling is None else best + ceiling * len(labels)
        digest.update(features.tobytes())
        digest.update(labels.astype("<i8").tobytes())
    rows = int(result.calibration[:, 0].sum())
    result.metrics = {
        "accuracy": round(float(result.calibration[:, 2].sum()) / rows, 6),
        "ceiling": None if best is None else round(best / rows, 6),
        "rows": rows,
        "held_out": digest.hexdigest(),
    }
    return result


def learning_curve(forest: RandomForestClassifier, shares: list[Share], source: Source) -> list[tuple[int, int, float]]:
    """Return (trees, rows they grew on, accuracy on part of the held-out rows) while trees were added to the forest."""
    chunk = next(iter(source.held_out()))
    features, labels = chunk.features[:_CURVE_ROWS], chunk.labels[:_CURVE_ROWS]
    seen = [min(source.rows, rows) for rows in _rows_by_tree(shares)]
    trees = len(forest.estimators_)
    wanted = sorted({*np.geomspace(1, trees, _CURVE_POINTS).round().astype(int).tolist(), trees})
    total = np.zeros((len(features), len(CLASSES)))
    curve = []
    for number, estimator in enumerate(forest.estimators_, start=1):
        total += estimator.tree_.predict(features)[:, : len(CLASSES)]
        if number in wanted:
            curve.append((number, seen[number - 1], float((total.argmax(axis=1) == labels).mean())))
    return curve


def _rows_by_tree(shares: list[Share]) -> list[int]:
    """Return how many rows the first tree, the first two trees, … have seen."""
    rows, seen = 0, []
    for share in shares:
        rows += share.seen
        seen += [rows] * share.trees
    return seen


def importance(forest: RandomForestClassifier) -> NDArray[np.float64]:
    """Return the share (0-1) that each of the 15 columns has in the decisions of the forest (mean decrease of Gini)."""
    values: NDArray[np.float64] = np.mean([t.tree_.compute_feature_importances() for t in forest.estimators_], axis=0)
    return values


def golden_rows(forest: RandomForestClassifier) -> list[dict[str, Any]]:
    """Return contexts with the answers of the forest, for everyone who loads the model to replay."""
    arrays = synthetic.draw_contexts(GOLDEN_ROWS, np.random.default_rng(synthetic.HELD_OUT_SEED))
    contexts = [arrays.context(row) for row in range(GOLDEN_ROWS)]
    answers = probabilities(forest, encode(contexts))
    return [
        {"context": context, "sponsor": CLASSES[answer.argmax()], "probabilities": answer.tolist()}
        for context, answer in zip(contexts, answers, strict=True)
    ]
