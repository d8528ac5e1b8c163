# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a model is, measured in the form that will serve, on rows that no tree has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.core.features import Features, context_at, encode
from ml.core.gate import Comparison, Difference, wilson
from ml.core.releases import Release
from ml.core.schema import Context, Field, Schema
from ml.core.serving import Model, model_of
from ml.data import rules, synthetic
from ml.data.partitions import Share
from ml.data.sources import Source
from ml.data.spool import context_hash
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
    confusion: NDArray[np.int64]
    # a bin of the confidence each: rows, sum of confidences, right answers
    calibration: NDArray[np.float64]
    # of every row, in the order of the source: whether the answer was right, the actual class, the hash of the context
    right: NDArray[np.bool_]
    labels: NDArray[np.int16]
    contexts: NDArray[np.uint64]


def evaluate(model: Model, source: Source) -> Evaluation:
    """Measure ``model`` on the held-out rows of ``source``, a chunk at a time.

    The metrics are ``accuracy`` with its 95 % ``interval``, ``ceiling`` (0-1; the best possible accuracy, None where the
    distribution is not known), ``rows``, and the different ``contexts`` among them.
    """
    confusion = np.zeros((len(model.classes), len(model.classes)), dtype=np.int64)
    calibration = np.zeros((CALIBRATION_BINS, 3))
    parts: list[tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.uint64]]] = []
    best: float | None = 0.0
    for features, labels, ceiling in source.held_out():
        chances = model.probabilities(features)
        winners = chances.argmax(axis=1)
        right = winners == labels
        np.add.at(confusion, (labels, winners), 1)
        confidence = chances.max(axis=1).astype(np.float64)
        place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        for column, weights in enumerate((np.ones(len(labels)), confidence, right.astype(np.float64))):
            calibration[:, column] += np.bincount(place, weights, minlength=CALIBRATION_BINS)
        best = None if best is None or ceiling is None else best + ceiling * len(labels)
        parts.append((right, labels.astype(np.int16), context_hash(source.schema, features)))
    rights, shown, contexts = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows, hits = len(rights), int(rights.sum())
    metrics = {
        "accuracy": round(hits / rows, 6),
        "interval": [round(bound, 6) for bound in wilson(hits, rows)],
        "ceiling": None if best is None else round(best / rows, 6),
        "rows": rows,
        "contexts": len(np.unique(contexts)),
    }
    return Evaluation(metrics, confusion, calibration, rights, shown, contexts)


def compare(live: Release, candidate: Evaluation, source: Source) -> Comparison:
    """Ask a live release about the held-out rows that ``candidate`` was measured on, and compare row by row.

    Only rows on which one of the two is wrong tell them apart (McNemar 1947). Rows of one context get the same answers,
    so they count as one observation (Obuchowski, Statistics in Medicine 17, 1998): the variance of "lost minus gained"
    is the sum of its squares over the contexts. Raises ReleaseError if the release cannot be asked.
    """
    model, columns = _asked(live, source.schema)
    classes = source.schema.classes
    order = np.array([classes.index(name) if name in classes else -1 for name in model.classes])
    answers = [order[model.probabilities(columns(chunk.features)).argmax(axis=1)] for chunk in source.held_out()]
    theirs = np.concatenate(answers) == candidate.labels
    lost = theirs.astype(np.float64) - candidate.right  # 1 lost, -1 gained, 0 no difference
    _, context = np.unique(candidate.contexts, return_inverse=True)

    def difference(rows: NDArray[np.bool_]) -> Difference:
        count = int(rows.sum())
        clusters = np.bincount(context[rows], weights=lost[rows])
        words = (
            f"on the same {count:,} rows ({int((lost[rows] > 0).sum()):,} lost, {int((lost[rows] < 0).sum()):,} gained)"
        )
        deviation = float(np.sqrt((clusters**2).sum())) / count
        return Difference(float(theirs[rows].mean()), float(candidate.right[rows].mean()), deviation, words)

    shown = np.bincount(candidate.labels, minlength=len(classes))
    return Comparison(
        difference(np.ones(len(theirs), dtype=np.bool_)),
        {name: difference(candidate.labels == index) for index, name in enumerate(classes) if shown[index]},
    )


def _asked(live: Release, schema: Schema) -> tuple[Model, Callable[[Features], Features]]:
    """Return the model of a release, and what brings features into its columns: those it does not know are left out."""
    model = model_of(live)
    columns = model.schema.columns
    if columns == schema.columns:
        return model, lambda features: features

    def taken(features: Features) -> Features:
        result = np.zeros((len(features), len(columns)), dtype=np.float32)
        for place, name in enumerate(columns):
            if name in schema.columns:
                result[:, place] = features[:, schema.columns.index(name)]
        return result

    return model, taken


def unseen(forest: RandomForestClassifier) -> list[str]:
    """Return the sponsors that no row to train on showed: the forest never answers them."""
    classes = forest.classes_.tolist()
    seen = np.sum([tree.tree_.value[0, 0, : len(classes)] for tree in forest.estimators_], axis=0)
    return [name for name, weight in zip(classes, seen, strict=True) if not weight]


def learning_curve(forest: RandomForestClassifier, shares: list[Share], source: Source) -> list[tuple[int, int, float]]:
    """Return (trees, rows they grew on, accuracy on part of the held-out rows) while trees were added to the forest."""
    chunk = next(iter(source.held_out()))
    features, labels = chunk.features[:_CURVE_ROWS], chunk.labels[:_CURVE_ROWS]
    seen = [min(source.rows, rows) for rows in _rows_by_tree(shares)]
    trees = len(forest.estimators_)
    wanted = sorted({*np.geomspace(1, trees, _CURVE_POINTS).round().astype(int).tolist(), trees})
    classes = len(forest.classes_)
    total = np.zeros((len(features), classes))
    curve = []
    for number, estimator in enumerate(forest.estimators_, start=1):
        total += estimator.tree_.predict(features)[:, :classes]
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
    """Return the share (0-1) that each column has in the decisions of the forest (mean decrease of Gini)."""
    values: NDArray[np.float64] = np.mean([t.tree_.compute_feature_importances() for t in forest.estimators_], axis=0)
    return values


def golden_rows(forest: RandomForestClassifier, schema: Schema) -> list[dict[str, Any]]:
    """Return contexts with the answers of the forest, for everyone who loads the model to replay."""
    contexts = golden_contexts(schema)
    answers = probabilities(forest, encode(schema, contexts))
    classes = forest.classes_.tolist()
    return [
        {"context": context, "sponsor": classes[answer.argmax()], "probabilities": answer.tolist()}
        for context, answer in zip(contexts, answers, strict=True)
    ]


def golden_contexts(schema: Schema) -> list[Context]:
    """Return contexts from all over the domain of a schema; where the rules know it, as they draw them."""
    rng = np.random.default_rng(synthetic.HELD_OUT_SEED)
    if not rules.unknown(schema):
        arrays = synthetic.draw_contexts(schema, GOLDEN_ROWS, rng).arrays
        return [context_at(schema, arrays, row) for row in range(GOLDEN_ROWS)]
    return [{field.name: _any_value(field, rng) for field in schema.fields} for _ in range(GOLDEN_ROWS)]


def _any_value(field: Field, rng: np.random.Generator) -> int | float | str:
    if field.kind is str:
        return field.values[rng.integers(len(field.values))]
    if field.kind is int:
        return int(rng.integers(int(field.minimum), int(field.maximum), endpoint=True))
    return float(rng.uniform(field.minimum, field.maximum))
