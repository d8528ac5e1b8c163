# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic training data in partitions, drawn from the distribution that ``ml.data.rules`` states.

A partition depends on the seed and on its own number only, so partitions can be made in any order, on any machine, and
never have to be in memory together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.core.features import Features, encode_arrays
from ml.core.schema import Schema
from ml.data.rules import ROTATION, RULES, SHARES, SIGNALS, Drawn

Labels = NDArray[np.int64]

# Every use of randomness has its own stream below a seed: spawn keys (stream, partition), see
# numpy.random.SeedSequence.
DATA_STREAM, FOREST_STREAM = 0, 1

# The held-out rows are the same for every training seed and size, so that the accuracies of two releases can be
# compared.
HELD_OUT_SEED = 0x4D34
HELD_OUT_ROWS = 200_000
_HELD_OUT_CHUNK = 50_000
_BLOCK = 10_000  # rows


def stream(seed: int, kind: int, index: int) -> np.random.SeedSequence:
    """Return the independent seed of partition ``index`` for one kind of use (DATA_STREAM, FOREST_STREAM)."""
    return np.random.SeedSequence(seed, spawn_key=(kind, index))


def draw_contexts(schema: Schema, rows: int, rng: np.random.Generator) -> Drawn:
    """Draw ``rows`` contexts that cover the valid domain of a schema that the rules know.

    The members are independent (a half-time whistle may fall in minute 10), because a client may send any combination
    and the forest should have seen its like. Scores crowd around a draw, temperatures around 24 °C.
    """
    drawn: dict[str, NDArray[Any]] = {
        "match_minute": rng.integers(0, 121, rows),
        "score_diff": np.rint(rng.normal(0.1, 1.8, rows)),
        "temperature": np.clip(rng.normal(24.0, 8.0, rows), -30, 60).round(1),
        "crowd_density": np.round(rng.beta(2.2, 1.4, rows), 3),
    }
    for name, shares in SHARES.items():
        odds = [shares[value] for value in schema.places[name]]
        if len(odds) < len(shares):
            odds = [share / sum(odds) for share in odds]
        drawn[name] = rng.choice(len(odds), rows, p=odds)
    for field in schema.numbers:
        within = np.clip(drawn[field.name], field.minimum, field.maximum)
        drawn[field.name] = within.astype(np.int64) if field.kind is int else within
    return Drawn(schema, drawn)


def probabilities(schema: Schema, contexts: Drawn) -> NDArray[np.float64]:
    """Return P(sponsor | context), shape (n, sponsors), columns in the order of ``schema.classes``; rows sum to 1."""
    place = {name: number for number, name in enumerate(schema.classes)}
    present = {name: signal(contexts) for name, signal in SIGNALS.items()}
    # One contiguous row a sponsor while the points are added up; the transposed view goes out.
    points = np.zeros((len(place), len(contexts)))
    for rule in RULES:
        if rule.sponsor not in place:
            continue
        names = rule.signals.split()
        if not names:
            points[place[rule.sponsor]] += rule.points
            continue
        applies = present[names[0]]
        for name in names[1:]:
            applies = applies & present[name]
        points[place[rule.sponsor]] += rule.points * applies
    points -= points.max(axis=0)
    odds: NDArray[np.float64] = np.exp2(points, out=points)
    odds *= (1 - ROTATION) / odds.sum(axis=0)
    odds += ROTATION / len(place)
    return odds.T


def draw_labels(chances: NDArray[np.float64], rng: np.random.Generator) -> Labels:
    """Draw one class index a row from ``chances``, shape (n, sponsors)."""
    drawn = rng.random(len(chances))
    labels: Labels = np.zeros(len(chances), dtype=np.int64)
    threshold = np.zeros(len(chances))
    # the last threshold is 1 up to rounding; leaving it out keeps every index in range
    for column in chances.T[:-1]:
        threshold += column
        labels += drawn >= threshold
    return labels


def partition(schema: Schema, seed: int, index: int, rows: int) -> tuple[Features, Labels]:
    """Return partition ``index`` of the data of ``seed``: features float32 (rows, columns) and class indices (rows,).

    Drawn block by block: what it takes besides the result does not grow with ``rows``, and stays in the CPU's cache.
    """
    rng = np.random.default_rng(stream(seed, DATA_STREAM, index))
    features = np.empty((rows, len(schema.columns)), dtype=np.float32)
    labels = np.empty(rows, dtype=np.int64)
    for start in range(0, rows, _BLOCK):
        end = min(rows, start + _BLOCK)
        contexts = draw_contexts(schema, end - start, rng)
        features[start:end] = encode_arrays(schema, contexts.arrays)
        labels[start:end] = draw_labels(probabilities(schema, contexts), rng)
    return features, labels


def held_out(schema: Schema, rows: int = HELD_OUT_ROWS) -> Iterator[tuple[Features, Labels, float]]:
    """Yield the held-out rows in chunks: features, labels, and the Bayes accuracy of the chunk."""
    for index, start in enumerate(range(0, rows, _HELD_OUT_CHUNK)):
        rng = np.random.default_rng(stream(HELD_OUT_SEED, DATA_STREAM, index))
        contexts = draw_contexts(schema, min(_HELD_OUT_CHUNK, rows - start), rng)
        chances = probabilities(schema, contexts)
        yield encode_arrays(schema, contexts.arrays), draw_labels(chances, rng), bayes_accuracy(chances)


def bayes_accuracy(chances: NDArray[np.float64]) -> float:
    """Return the accuracy (0-1) of the best possible model on contexts whose P(sponsor | context) is ``chances``.

    Nobody can do better in expectation than to name the likeliest sponsor every time.
    """
    return float(chances.max(axis=1).mean())
