# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that answers: an onnxruntime session made from verified bytes and proven on the release's golden rows.

No scikit-learn, no pickle. The function and the training's own accuracy measurement both answer through this class, so
what is measured is what is served.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .context import ContextError, validate
from .features import Features, encode
from .gate import TOLERANCE
from .releases import Release, ReleaseError
from .schema import Context, Schema, SchemaError, from_manifest

_SORTED_ROWS = 256  # from this many rows on, sorting them costs less than it saves
_SORTED_NUMBERS, _SORTED_NAMES = 3, 24  # columns that count for the order: no more fit into an integer, or a float32
_STEPS = 255  # of a number


@functools.cache
def _cores() -> int:
    return len(os.sched_getaffinity(0))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads for the parts of a large batch; onnxruntime's own would spin between requests, and slow down single rows."""
    return ThreadPoolExecutor(_cores(), thread_name_prefix="predict")


class Model:
    """A loaded model: ``schema`` says what its columns are, ``classes`` names its outputs in order."""

    def __init__(self, serialised: bytes, schema: Schema, classes: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests and instances are the parallelism; a pool would only spin
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena keeps the memory of the largest batch for ever
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for every kind of failure
            raise ReleaseError(f"onnxruntime {onnxruntime.__version__} cannot load model.onnx: {error}") from error
        self.schema = schema
        self.classes = tuple(classes)
        self._lowest = np.array([field.minimum for field in schema.numbers[:_SORTED_NUMBERS]], dtype=np.float32)
        self._steps = np.array(
            [_STEPS / (field.maximum - field.minimum) for field in schema.numbers[:_SORTED_NUMBERS]], dtype=np.float32
        )

    def probabilities(self, features: Features) -> NDArray[np.float32]:
        """Return P(class | features), float32 (n, classes), for features float32 (n, columns)."""
        if len(features) < _SORTED_ROWS:
            return self._run(features)
        order = self._neighbours(features)
        probabilities = np.empty((len(features), len(self.classes)), dtype=np.float32)
        parts = np.array_split(features[order], min(_cores(), len(features) // _SORTED_ROWS))
        probabilities[order] = np.concatenate(list(_threads().map(self._run, parts)))
        return probabilities

    def _neighbours(self, features: Features) -> NDArray[np.int64]:
        """Return an order of the rows in which similar ones follow each other.

        They take the same way through most trees, which the processor then predicts: half the time for 10,000 rows.
        """
        count = len(self.schema.numbers)
        names = features[:, count : count + _SORTED_NAMES]
        key = (names @ (2 ** np.arange(names.shape[1])).astype(np.float32)).astype(np.int64)  # as bits
        numbers = ((features[:, : len(self._lowest)] - self._lowest) * self._steps).astype(np.int64)
        for column in reversed(range(numbers.shape[1])):
            key = key * (_STEPS + 1) + numbers[:, column]
        return np.argsort(key)

    def _run(self, features: Features) -> NDArray[np.float32]:
        result: NDArray[np.float32] = self._session.run(["probabilities"], {"features": features})[0]
        return result

    def predict(self, contexts: Sequence[Context]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the winning class indices (n,) and all probabilities (n, classes) for validated contexts."""
        probabilities = self.probabilities(encode(self.schema, contexts))
        return probabilities.argmax(axis=1), probabilities

    def prove(self, golden: Sequence[Mapping[str, Any]]) -> None:
        """Replay rows whose answers the training recorded; raise ReleaseError if one differs.

        The rows are contexts, so that the encoding is proven too.
        """
        try:
            contexts = [validate(self.schema, row["context"]) for row in golden]
            expected = np.array([row["probabilities"] for row in golden], dtype=np.float64)
        except (KeyError, TypeError, ContextError) as error:
            raise ReleaseError(f"the golden rows cannot be read: {error}") from error
        if not contexts:
            raise ReleaseError("the release has no golden rows, so nothing proves that it answers as it was trained")
        winners, found = self.predict(contexts)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=TOLERANCE):
            worst = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
            raise ReleaseError(
                f"model.onnx does not answer the golden rows as the forest did: probabilities differ by {worst:.2g}, "
                f"{TOLERANCE:g} is allowed"
            )
        for row, winner in zip(golden, winners, strict=True):
            if self.classes[winner] != row["sponsor"]:
                raise ReleaseError(f"a golden row answers {self.classes[winner]}, the forest answered {row['sponsor']}")


def model_of(release: Release) -> Model:
    """Return the proven model of a release; raise ReleaseError if it does not fit this code or fails its proof."""
    columns, classes = release.manifest.get("columns"), release.manifest.get("classes")
    try:
        schema = from_manifest(release.manifest)
    except SchemaError as error:
        raise ReleaseError(str(error)) from error
    if columns != list(schema.columns):
        raise ReleaseError(f"the release was trained on columns {columns}, its schema encodes {list(schema.columns)}")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ReleaseError("the manifest names no classes")
    model = Model(release.files["model.onnx"], schema, classes)
    model.prove(release.manifest.get("golden", ()))
    return model
