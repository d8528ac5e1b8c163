# SPDX-License-Identifier: GPL-3.0-or-later
"""The random forest: grown partition by partition, so that its memory does not depend on the number of rows.

Every partition of the data grows a share of the trees, and the trees are put together into one ordinary
``RandomForestClassifier``. The seed of a tree depends on the seed of the run, its partition and its place in it, never
on the number of jobs: the same seed gives the same forest on one core or on many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from ml.core.features import Features
from ml.core.schema import Schema
from ml.data.partitions import Share
from ml.data.synthetic import FOREST_STREAM, Labels, stream

SHARE_OF_FEATURES = 0.4  # 6 of 15: the interactions need several columns at once, scikit-learn's 3 find them late
MIN_SAMPLES_LEAF = 3
SMALLEST_TREE, LARGEST_TREE = 64, 768  # leaves; more adds size but no accuracy
ROWS_PER_LEAF = 32
_BATCH = 20  # trees: every batch prepares the rows anew


def leaves(rows: int) -> int:
    """Return the most leaves of a tree that grows on ``rows`` rows."""
    return min(LARGEST_TREE, max(SMALLEST_TREE, rows // ROWS_PER_LEAF))


def features_of(columns: int) -> int:
    """Return how many columns a split may choose from."""
    return max(1, round(SHARE_OF_FEATURES * columns))


def grow(
    share: Share, features: Features, labels: Labels, classes: int, seed: int, jobs: int = 1
) -> Iterator[list[DecisionTreeClassifier]]:
    """Grow the trees of ``share`` on its rows, and yield them a few at a time so that a caller can report progress.

    ``features`` is float32 (rows, columns), ``labels`` holds class indices (rows,), of which there are ``classes``.
    Trees of different partitions differ because their rows do, and each sees all rows of its partition; a single
    partition is bagged as usual.
    """
    features, labels, weights = _with_all_classes(features, labels, classes)
    forest = RandomForestClassifier(
        n_estimators=0,
        max_features=features_of(features.shape[1]),
        min_samples_leaf=MIN_SAMPLES_LEAF,
        max_leaf_nodes=leaves(share.rows),
        bootstrap=share.of == 1,
        n_jobs=jobs,
        random_state=int(stream(seed, FOREST_STREAM, share.index).generate_state(1)[0]),
        warm_start=True,
    )
    # A warm start draws the seeds of the trees that exist already, so batches do not change which trees grow.
    for grown in range(0, share.trees, _BATCH):
        forest.n_estimators = min(share.trees, grown + _BATCH)
        forest.fit(features, labels, sample_weight=weights)
        yield [_canonical(tree) for tree in forest.estimators_[grown:]]


def _with_all_classes(
    features: Features, labels: Labels, classes: int
) -> tuple[Features, Labels, NDArray[np.float64] | None]:
    """Append a row of weight 0 for every class that is missing, so that every tree knows all classes."""
    missing = np.setdiff1d(np.arange(classes), labels)
    if not missing.size:
        return features, labels, None
    weights = np.ones(len(labels) + missing.size)
    weights[len(labels) :] = 0
    extra = np.zeros((missing.size, features.shape[1]), dtype=features.dtype)
    return np.vstack([features, extra]), np.concatenate([labels, missing]), weights


def count(trees: list[DecisionTreeClassifier], features: Features, labels: Labels) -> list[DecisionTreeClassifier]:
    """Add rows to the leaves of ``trees`` that did not see them, and return the trees.

    The splits stay, and every node tells of all rows that passed it. Counts are whole numbers, so neither the order nor
    the size of what is added changes a bit.
    """
    for estimator in trees:
        tree = estimator.tree_
        state = tree.__getstate__()
        nodes, values = state["nodes"], state["values"]
        shape = (tree.node_count, values.shape[2])
        leaves_of_rows = tree.apply(features)
        added = np.bincount(leaves_of_rows * shape[1] + labels, minlength=shape[0] * shape[1]).reshape(shape)
        for node in range(tree.node_count - 1, -1, -1):  # a child comes after its parent
            if nodes["left_child"][node] >= 0:
                added[node] = added[nodes["left_child"][node]] + added[nodes["right_child"][node]]
        counts = np.rint(values[:, 0] * nodes["weighted_n_node_samples"][:, None]) + added
        total = counts.sum(axis=1)
        shares = counts / total[:, None]
        values[:, 0] = shares
        nodes["n_node_samples"] += added.sum(axis=1)
        nodes["weighted_n_node_samples"] = total
        nodes["impurity"] = 1 - (shares**2).sum(axis=1)
        tree.__setstate__({**state, "nodes": nodes, "values": values})
    return trees


def assemble(trees: Sequence[DecisionTreeClassifier], schema: Schema) -> RandomForestClassifier:
    """Return one forest of ``trees``, whose ``predict`` answers with sponsor names.

    It is set to one job: with several, scikit-learn adds up the trees in the order in which threads finish, and the
    last bit of a probability would depend on the weather.
    """
    forest = RandomForestClassifier(
        n_estimators=len(trees),
        max_features=features_of(len(schema.columns)),
        min_samples_leaf=MIN_SAMPLES_LEAF,
        n_jobs=1,
    )
    forest.estimators_ = list(trees)
    forest.estimator_ = DecisionTreeClassifier()
    forest.classes_ = np.array(schema.classes)
    forest.n_classes_ = len(schema.classes)
    forest.n_outputs_ = 1
    forest.n_features_in_ = len(schema.columns)
    # with the names set, scikit-learn refuses a DataFrame whose columns are in another order
    forest.feature_names_in_ = np.array(schema.columns, dtype=object)
    return forest


def _canonical(tree: DecisionTreeClassifier) -> DecisionTreeClassifier:
    """Zero what scikit-learn leaves uninitialised: the padding of a node, and a leaf's direction for missing values.

    Both hold whatever was in memory before, so the same forest would have other bytes, and another digest, in every
    run.
    """
    state = tree.tree_.__getstate__()
    nodes = np.zeros(state["nodes"].shape, state["nodes"].dtype)  # zeros_like would leave the padding alone
    for name in nodes.dtype.names:
        nodes[name] = state["nodes"][name]
    nodes["missing_go_to_left"][nodes["left_child"] < 0] = 0
    tree.tree_.__setstate__({**state, "nodes": nodes})
    return tree


def probabilities(forest: RandomForestClassifier, features: Features) -> NDArray[np.float64]:
    """Return P(class | features), shape (n, classes): the mean of the trees, added up in their order."""
    classes = len(forest.classes_)
    total = np.zeros((len(features), classes))
    for tree in forest.estimators_:
        total += tree.tree_.predict(features)[:, :classes]
    return total / len(forest.estimators_)
