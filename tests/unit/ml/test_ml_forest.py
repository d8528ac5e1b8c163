# SPDX-License-Identifier: GPL-3.0-or-later
"""The forest, its ONNX form, and the session that answers with it."""

from __future__ import annotations

import io
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
from sklearn.tree import DecisionTreeClassifier

from ml.core.features import Arrays, Features, context_at, encode_arrays
from ml.core.gate import TOLERANCE
from ml.core.releases import ReleaseError
from ml.core.schema import DEFAULT
from ml.core.serving import Model
from ml.data import partitions, synthetic
from ml.data.sources import Synthetic
from ml.forest import random_forest
from ml.forest.checkpoints import Checkpoints
from ml.forest.growth import Threads, grow_forest
from ml.forest.onnx_export import _round_down, _varint, _varints, to_onnx
from ml.progress import Log
from tests.unit.ml.model_fixtures import Candidates, Forests, as_candidate, grown


@pytest.fixture(scope="module")
def contexts() -> Arrays:
    return synthetic.draw_contexts(DEFAULT, 10_000, np.random.default_rng(3)).arrays


@pytest.fixture(scope="module")
def features(contexts: Arrays) -> Features:
    return encode_arrays(DEFAULT, contexts)


@pytest.mark.parametrize("samples", [100, 10_000, 20_001, 100_001, 1_234_567, 10_000_000, 123_456_789])
def test_the_plan_uses_every_row_and_every_tree_once_in_bounded_partitions(samples: int) -> None:
    shares = partitions.plan(samples)
    counted = [more for share in shares for more in share.counted]
    assert sum(share.seen for share in shares) == sum(share.rows for share in shares + counted) == samples
    assert sum(share.trees for share in shares) == partitions.TREES
    assert all(share.trees > 0 for share in shares) and not any(share.trees for share in counted)
    assert all(0 < share.rows <= partitions.LARGEST_PARTITION for share in shares + counted)
    everything = sorted((share.index, share.of) for share in shares + counted)
    assert everything == [(index, len(everything)) for index in range(len(everything))]
    assert max(share.seen for share in shares) - min(share.seen for share in shares) <= partitions.LARGEST_PARTITION


def test_ten_times_the_rows_are_ten_times_the_work() -> None:
    def work(samples: int) -> int:
        return sum(share.rows * share.trees for share in partitions.plan(samples))

    assert 0.85 < work(10_000_000) / (10 * work(1_000_000)) < 1.15


def test_same_seed_same_bytes_whatever_the_jobs(forests: Forests, features: Features) -> None:
    again = grown(1500, seed=1, jobs=2)
    assert (
        random_forest.probabilities(again, features).tobytes()
        == random_forest.probabilities(forests[0], features).tobytes()
    )
    assert to_onnx(again) == to_onnx(forests[0])
    first, second = as_candidate(forests[0], "x"), as_candidate(again, "x")
    assert first.files["model.joblib"] == second.files["model.joblib"]
    assert (
        random_forest.probabilities(forests[1], features).tobytes()
        != random_forest.probabilities(again, features).tobytes()
    )


def test_several_partitions_make_one_forest(monkeypatch: pytest.MonkeyPatch, features: Features) -> None:
    monkeypatch.setattr(partitions, "SMALLEST_PARTITION", 400)
    made = [grown(1500, seed=1, jobs=jobs) for jobs in (1, 2)]
    assert len(made[0].estimators_) == partitions.TREES
    assert to_onnx(made[0]) == to_onnx(made[1])
    assert random_forest.probabilities(made[0], features).shape == (10_000, 12)


def test_where_partitions_outnumber_the_trees_they_are_counted_in_the_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(partitions, "SMALLEST_PARTITION", 400)
    monkeypatch.setattr(partitions, "TREES", 3)
    monkeypatch.setattr(partitions, "TREES_A_PARTITION", 1)
    monkeypatch.setattr(partitions, "LARGEST_PARTITION", 400)
    source = Synthetic(4000, 7)
    checkpoints = Checkpoints(tmp_path, "run")
    forests = []
    for jobs, kept in ((1, None), (2, checkpoints), (2, checkpoints)):
        trees, shares = grow_forest(source, 7, Threads(jobs), Log(io.StringIO()), kept)
        forests.append(random_forest.assemble(trees, DEFAULT))
    assert [len(share.counted) for share in shares] == [3, 2, 2]
    assert to_onnx(forests[0]) == to_onnx(forests[1]) == to_onnx(forests[2])
    for share, estimator in zip(shares, forests[0].estimators_, strict=True):
        parts = [source.partition(part) for part in (share, *share.counted)]
        features, labels = np.vstack([x for x, _ in parts]), np.concatenate([y for _, y in parts])
        passed = estimator.tree_.decision_path(features).toarray()  # (rows, nodes)
        counts = passed.T @ np.eye(len(DEFAULT.classes))[labels]
        np.testing.assert_allclose(estimator.tree_.value[:, 0], counts / counts.sum(axis=1, keepdims=True), atol=1e-12)
        assert (estimator.tree_.weighted_n_node_samples == counts.sum(axis=1)).all()
        assert estimator.tree_.n_node_samples[0] >= share.seen == len(labels)
        again = DecisionTreeClassifier(
            max_leaf_nodes=64, min_samples_leaf=3, max_features=6, random_state=estimator.random_state
        )
        assert (
            again.fit(*parts[0]).tree_.threshold == estimator.tree_.threshold
        ).all()  # the splits are of the first part


def test_a_class_that_a_partition_never_saw_keeps_its_column() -> None:
    features, labels = synthetic.partition(DEFAULT, 1, 0, 400)
    few = labels < 3
    share = partitions.Share(0, int(few.sum()), 4)
    trees = [
        tree
        for batch in random_forest.grow(share, features[few], labels[few], len(DEFAULT.classes), 1, 1)
        for tree in batch
    ]
    chances = random_forest.probabilities(random_forest.assemble(trees, DEFAULT), features)
    assert chances.shape == (400, 12)
    assert chances[:, 3:].max() == 0  # the rows that introduce a class have no weight
    # a class that no leaf names still has a column in ONNX, and it is zero
    found = Model(to_onnx(random_forest.assemble(trees, DEFAULT)), DEFAULT, DEFAULT.classes).probabilities(features)
    np.testing.assert_allclose(found, chances, rtol=0, atol=TOLERANCE)


def test_scikit_learn_and_onnx_give_the_same_answers(forests: Forests, contexts: Arrays, features: Features) -> None:
    expected = random_forest.probabilities(forests[0], features)
    model = Model(to_onnx(forests[0]), DEFAULT, DEFAULT.classes)
    found = model.probabilities(features)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    winners, single = model.predict([context_at(DEFAULT, contexts, 17)])
    assert single[0].tobytes() == found[17].tobytes()
    assert winners[0] == expected[17].argmax()


def test_the_onnx_file_is_valid_and_every_attribute_has_a_value_for_each_node(forests: Forests) -> None:
    model = onnx.load_from_string(to_onnx(forests[0]))
    onnx.checker.check_model(model, full_check=True)
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in model.graph.node[0].attribute
    }
    trees = [estimator.tree_ for estimator in forests[0].estimators_]
    assert attributes["nodes_treeids"] == [n for n, tree in enumerate(trees) for _ in range(tree.node_count)]
    assert attributes["nodes_truenodeids"] == [max(0, child) for tree in trees for child in tree.children_left]
    leaves = [child < 0 for tree in trees for child in tree.children_left]
    assert attributes["nodes_modes"] == [b"LEAF" if leaf else b"BRANCH_LEQ" for leaf in leaves]
    assert len(attributes["nodes_values"]) == len(attributes["nodes_featureids"]) == len(leaves)
    assert sum(attributes["class_weights"]) == pytest.approx(sum(leaves) / len(trees), rel=1e-5)
    assert attributes["post_transform"] == b"NONE" and attributes["classlabels_int64s"] == list(range(12))


def test_numbers_of_every_length_are_written_as_protobuf_does() -> None:
    values = np.array([0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**21, 2**28, 2**32 - 1], dtype=np.uint32)
    assert _varints(values) == onnx.AttributeProto(ints=values.tolist()).SerializeToString().replace(b"\x40", b"")
    assert _varints(values) == b"".join(map(_varint, values.tolist()))


def test_thresholds_keep_every_comparison() -> None:
    values = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    neighbours = np.nextafter(values, np.float32(np.inf))
    thresholds = (values.astype(np.float64) + neighbours) / 2
    rounded = _round_down(thresholds)
    assert ((values <= rounded) & (neighbours > rounded)).all()


def test_a_person_can_use_the_joblib_files(forests: Forests, features: Features) -> None:
    saved = joblib.load(io.BytesIO(as_candidate(forests[0], "x").files["model.joblib"]))
    with pytest.warns(UserWarning, match="feature names"):  # scikit-learn compares the names of a DataFrame
        answers = saved.predict(features[:50])
    assert set(answers) <= set(DEFAULT.classes)
    assert list(saved.feature_names_in_)[:2] == ["match_minute", "score_diff"]


def test_golden_rows_prove_a_model_and_expose_another(candidates: Candidates) -> None:
    first, second = candidates
    model = Model(first.files["model.onnx"], DEFAULT, DEFAULT.classes)
    model.prove(first.facts["golden"])
    with pytest.raises(ReleaseError, match="probabilities differ by"):
        model.prove(second.facts["golden"])
    with pytest.raises(ReleaseError, match="no golden rows"):
        model.prove([])
    with pytest.raises(ReleaseError, match="cannot load model"):
        Model(b"not a model", DEFAULT, DEFAULT.classes)


def test_ten_thousand_rows_reach_the_promised_accuracy_in_a_small_model() -> None:
    serialised = to_onnx(grown(10_000, seed=42, jobs=2))
    model = Model(serialised, DEFAULT, DEFAULT.classes)
    right = np.concatenate([model.probabilities(x).argmax(axis=1) == y for x, y, _ in synthetic.held_out(DEFAULT)])
    assert len(right) == 200_000
    assert right.mean() >= 0.873
    assert len(serialised) < 8_000_000
