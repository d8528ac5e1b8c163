# SPDX-License-Identifier: GPL-3.0-or-later
"""The forest as an ONNX TreeEnsembleClassifier, written straight from scikit-learn's node arrays.

A general converter, and the onnx library itself, build Python lists of every class in every leaf first: hundreds of
megabytes for a forest of a million rows, on a machine of 1 GB. A model is one operator with a dozen long attributes, so
its protobuf message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) is written here, from numpy's arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

INPUT, LABEL, PROBABILITIES = "features", "label", "probabilities"
_OPSET, _ML_OPSET, _IR_VERSION = 17, 3, 8  # old enough for every onnxruntime of the last years
# Field numbers and enumeration values of onnx.proto.
_ATTRIBUTE_NAME, _ATTRIBUTE_S, _ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS, _ATTRIBUTE_TYPE = (
    1,
    4,
    7,
    8,
    9,
    20,
)
_STRING, _FLOATS, _INTS, _STRINGS = 3, 6, 7, 8
_TENSOR_FLOAT, _TENSOR_INT64 = 1, 7


def to_onnx(forest: RandomForestClassifier) -> bytes:
    """Return the serialised model.

    Input ``features``: float32 (n, columns). Outputs ``label``: int64 (n,), the class index; ``probabilities``: float32 (n,
    classes). The same forest always gives the same bytes.
    """
    node = [
        (1, INPUT.encode()), (2, LABEL.encode()), (2, PROBABILITIES.encode()), (4, b"TreeEnsembleClassifier"),
        *((5, attribute) for attribute in _attributes(_arrays(forest))),
        (7, b"ai.onnx.ml"),
    ]  # fmt: skip
    graph = _message(
        [
            (1, _message(node)),
            (2, b"sponsor_forest"),
            (11, _value(INPUT, _TENSOR_FLOAT, forest.n_features_in_)),
            (12, _value(LABEL, _TENSOR_INT64)),
            (12, _value(PROBABILITIES, _TENSOR_FLOAT, forest.n_classes_)),
        ]
    )
    opsets = [
        (8, _message([(1, domain), (2, version)])) for domain, version in ((b"", _OPSET), (b"ai.onnx.ml", _ML_OPSET))
    ]
    return _message([(1, _IR_VERSION), (2, b"fanops-m4"), (7, graph), *opsets])


def _message(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    """Return a protobuf message: a number as a varint, bytes (texts, messages, packed arrays) with their length before them."""
    return b"".join(
        part
        for number, value in fields
        for part in (
            (_varint(number << 3), _varint(value))
            if isinstance(value, int)
            else (_varint(number << 3 | 2), _varint(len(value)), value)
        )
    )


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _varints(values: NDArray[np.uint32]) -> bytes:
    """Return numbers from 0 to 2**32 - 1 as varints, one after the other."""
    left = values.copy()
    groups = np.empty((len(left), 5), dtype=np.uint8)
    used = np.empty(groups.shape, dtype=bool)
    for place in range(groups.shape[1]):
        used[:, place] = (left > 0) | (place == 0)
        groups[:, place] = (left & 0x7F) | np.where(left >= 0x80, 0x80, 0)
        left >>= 7
    packed: bytes = groups[used].tobytes()
    return packed


def _value(name: str, element: int, columns: int | None = None) -> bytes:
    """Return the description of an input or output: any number of rows, and ``columns`` if it has them."""
    shape = _message([(1, b""), *([] if columns is None else [(1, _message([(1, columns)]))])])
    return _message([(1, name.encode()), (2, _message([(1, _message([(1, element), (2, shape)]))]))])


_LEAF, _BRANCH = (_message([(_ATTRIBUTE_STRINGS, mode)]) for mode in (b"LEAF", b"BRANCH_LEQ"))


def _attributes(arrays: Mapping[str, NDArray[np.generic]]) -> Iterable[bytes]:
    """Yield the attributes of the operator as messages."""
    for name, values in arrays.items():
        fields: list[tuple[int, int | bytes]]
        if values.dtype == bool:
            yield _message([(_ATTRIBUTE_NAME, name.encode()), (_ATTRIBUTE_TYPE, _STRINGS)]) + b"".join(
                [_LEAF if leaf else _BRANCH for leaf in values.tolist()]
            )
            continue
        if values.dtype == np.float32:
            fields = [(_ATTRIBUTE_FLOATS, values.astype("<f4").tobytes()), (_ATTRIBUTE_TYPE, _FLOATS)]
        else:
            fields = [(_ATTRIBUTE_INTS, _varints(values.astype(np.uint32))), (_ATTRIBUTE_TYPE, _INTS)]
        yield _message([(_ATTRIBUTE_NAME, name.encode()), *fields])
    yield _message([(_ATTRIBUTE_NAME, b"post_transform"), (_ATTRIBUTE_S, b"NONE"), (_ATTRIBUTE_TYPE, _STRING)])


def _arrays(forest: RandomForestClassifier) -> dict[str, NDArray[np.generic]]:
    """Return the attributes of the operator, one flat array each, over the nodes (or leaf classes) of all trees."""
    columns: dict[str, list[NDArray[np.generic]]] = {}

    def add(**arrays: NDArray[np.generic]) -> None:
        for name, array in arrays.items():
            columns.setdefault(name, []).append(array)

    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        add(
            nodes_treeids=np.full(tree.node_count, number, dtype=np.uint32),
            nodes_nodeids=np.arange(tree.node_count, dtype=np.uint32),
            nodes_featureids=np.where(leaf, 0, tree.feature).astype(np.uint32),
            nodes_values=np.where(leaf, np.float32(0), _round_down(tree.threshold)),
            nodes_modes=leaf,
            nodes_truenodeids=np.where(leaf, 0, tree.children_left).astype(np.uint32),
            nodes_falsenodeids=np.where(leaf, 0, tree.children_right).astype(np.uint32),
        )
        chances = tree.value[:, 0, :] / len(forest.estimators_)
        nodes, classes = np.nonzero(chances * leaf[:, None])
        add(
            class_treeids=np.full(len(nodes), number, dtype=np.uint32),
            class_nodeids=nodes.astype(np.uint32),
            class_ids=classes.astype(np.uint32),
            class_weights=chances[nodes, classes].astype(np.float32),
        )
    attributes: dict[str, NDArray[np.generic]] = {name: np.concatenate(parts) for name, parts in columns.items()}
    attributes["classlabels_int64s"] = np.arange(forest.n_classes_, dtype=np.uint32)
    return attributes


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 not above each threshold: ``x <= threshold`` stays as true for every float32 ``x``."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32)
