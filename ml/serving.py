# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that answers: an onnxruntime session made from verified bytes and proven on the release's golden rows.

No scikit-learn, no pickle. The function and the training's own accuracy measurement both answer through this class, so
what is measured is what is served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ml.context import Context, ContextError, validate
from ml.features import COLUMNS, Features, encode
from ml.gate import TOLERANCE
from ml.releases import Read, Release, ReleaseError, load_release, read_pointer


class Model:
    """A loaded model: ``classes`` names its outputs in order."""

    def __init__(self, serialised: bytes, classes: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests and instances are the parallelism; a pool would only spin
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena keeps the memory of the largest batch for ever
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for every kind of failure
            raise ReleaseError(f"onnxruntime {onnxruntime.__version__} cannot load model.onnx: {error}") from error
        self.classes = tuple(classes)

    def probabilities(self, features: Features) -> NDArray[np.float32]:
        """Return P(class | features), float32 (n, 12), for features float32 (n, 15)."""
        result: NDArray[np.float32] = self._session.run(["probabilities"], {"features": features})[0]
        return result

    def predict(self, contexts: Sequence[Context]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the winning class indices (n,) and all probabilities (n, 12) for validated contexts."""
        probabilities = self.probabilities(encode(contexts))
        return probabilities.argmax(axis=1), probabilities

    def prove(self, golden: Sequence[Mapping[str, Any]]) -> None:
        """Replay rows whose answers the training recorded; raise ReleaseError if one differs.

        The rows are contexts, so that the encoding is proven too.
        """
        try:
            contexts = [validate(row["context"]) for row in golden]
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
    if columns != list(COLUMNS):
        raise ReleaseError(f"the release was trained on columns {columns}, this code encodes {list(COLUMNS)}")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ReleaseError("the manifest names no classes")
    model = Model(release.files["model.onnx"], classes)
    model.prove(release.manifest.get("golden", ()))
    return model


class LiveModel:
    """The live release, refreshed from the bucket while it serves.

    The pointer is looked at during a request, at most every ``refresh_seconds``: between requests a function has no
    CPU. One request looks while the others keep answering. A release that is damaged, does not load or cannot be
    reached leaves the last known good one serving.
    """

    def __init__(
        self,
        read: Read,
        refresh_seconds: float,
        report: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = min(refresh_seconds, 5.0)  # while there is nothing to serve
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: tuple[Release, Model] | None = None
        self._checked = -float("inf")
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the last look at the bucket failed, or None if it did not."""
        return self._error

    def get(self) -> tuple[Release, Model]:
        """Return the release to answer with. Raises ReleaseError while there is none that can be used."""
        loaded = self._loaded
        if loaded is not None:
            due = self._clock() - self._checked >= self._refresh_seconds
            if due and self._lock.acquire(blocking=False):
                try:
                    self._refresh()
                finally:
                    self._lock.release()
                return self._loaded or loaded
            return loaded
        with self._lock:  # the first requests wait for the first load
            if self._loaded is None and self._clock() - self._checked >= self._retry_seconds:
                self._refresh()
            if self._loaded is None:
                raise ReleaseError(self._error or "no release was loaded yet")
            return self._loaded

    def _refresh(self) -> None:
        try:
            pointer = read_pointer(self._read)
            current = self._loaded[0].pointer if self._loaded else None
            if current is None or pointer.manifest != current.manifest or pointer.version != current.version:
                if current and pointer.version < current.version and pointer.updated <= current.updated:
                    raise ReleaseError(
                        f"the pointer went back from version {current.version} to {pointer.version} and is not newer; "
                        "a rollback has a version of its own, so this is an old copy and was not followed"
                    )
                release = load_release(self._read, pointer=pointer)
                model = model_of(release)
                # one assignment: a request sees the old pair or the new pair
                self._loaded = (release, model)
                self._report("INFO", "release loaded", version=release.version, manifest=release.digest)
            self._error = None
        except Exception as error:  # whatever happens to the bucket, a loaded model goes on serving
            self._error = f"{error}" if isinstance(error, ReleaseError) else f"{type(error).__name__}: {error}"
            self._report("ERROR", "release not loaded", error=self._error, serving=self._loaded is not None)
        finally:
            self._checked = self._clock()
