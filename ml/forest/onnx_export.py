# SPDX-License-Identifier: GPL-3.0-or-later
"""The forest as an ONNX TreeEnsembleClassifier, written straight from scikit-learn's node arrays.

A general converter builds Python lists of every class in every leaf first: 600 MB for a forest of a million rows, on a
machine of 1 GB. The arrays are all that is needed, and a leaf names only the classes that it has seen.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import RandomForestClassifier

from ml.core.features import COLUMNS
from ml.core.sponsors import CLASSES

INPUT, LABEL, PROBABILITIES = "features", "label", "probabilities"
_OPSET, _ML_OPSET, _IR_VERSION = 17, 3, 8  # old enough for every onnxruntime of the last years


def to_onnx(forest: RandomForestClassifier) -> bytes:
    """Return the serialised model.

    Input ``features``: float32 (n, 15). Outputs ``label``: int64 (n,), the class index; ``probabilities``: float32 (n,
    12). The same forest always gives the same bytes.
    """
    node = helper.make_node(
        "TreeEnsembleClassifier", [INPUT], [LABEL, PROBABILITIES], domain="ai.onnx.ml", post_transform="NONE"
    )
    for name, values in _attributes(forest).items():
        attribute = node.attribute.add(name=name)
        if name == "nodes_modes":
            attribute.type = onnx.AttributeProto.STRINGS
            attribute.strings.extend(b"LEAF" if leaf else b"BRANCH_LEQ" for leaf in values)
        elif values.dtype == np.float32:
            attribute.type = onnx.AttributeProto.FLOATS
            attribute.floats.extend(values)
        else:
            attribute.type = onnx.AttributeProto.INTS
            attribute.ints.extend(values.tolist())
    graph = helper.make_graph(
        [node],
        "sponsor_forest",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(COLUMNS)])],
        [
            helper.make_tensor_value_info(LABEL, TensorProto.INT64, [None]),
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [None, len(CLASSES)]),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    )
    model.ir_version = _IR_VERSION
    model.producer_name = "fanops-m4"
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _attributes(forest: RandomForestClassifier) -> dict[str, NDArray[np.generic]]:
    """Return the attributes of the operator, one flat array each, over the nodes (or leaf classes) of all trees."""
    columns: dict[str, list[NDArray[np.generic]]] = {}

    def add(**arrays: NDArray[np.generic]) -> None:
        for name, array in arrays.items():
            columns.setdefault(name, []).append(array)

    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        add(
            nodes_treeids=np.full(tree.node_count, number),
            nodes_nodeids=np.arange(tree.node_count),
            nodes_featureids=np.where(leaf, 0, tree.feature),
            nodes_values=np.where(leaf, np.float32(0), _round_down(tree.threshold)),
            nodes_modes=leaf,
            nodes_truenodeids=np.where(leaf, 0, tree.children_left),
            nodes_falsenodeids=np.where(leaf, 0, tree.children_right),
        )
        chances = tree.value[:, 0, :] / len(forest.estimators_)
        nodes, classes = np.nonzero(chances * leaf[:, None])
        add(
            class_treeids=np.full(len(nodes), number),
            class_nodeids=nodes,
            class_ids=classes,
            class_weights=chances[nodes, classes].astype(np.float32),
        )
    attributes: dict[str, NDArray[np.generic]] = {name: np.concatenate(parts) for name, parts in columns.items()}
    attributes["classlabels_int64s"] = np.arange(len(CLASSES))
    return attributes


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 not above each threshold: ``x <= threshold`` stays as true for every float32 ``x``."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32)
