# SPDX-License-Identifier: GPL-3.0-or-later
"""Flips bits and cuts ends of the files of a release, and watches what reaches the deserialisers."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import joblib
import onnxruntime

import ml.core.releases
import ml.publish.proof
from ml.core.releases import (
    Candidate,
    Pointer,
    ReleaseError,
    blob_path,
    canonical_json,
    load_release,
    manifest_path,
    sha256,
)
from ml.core.serving import model_of

FILES = ("model.onnx", "model.joblib", "model_columns.joblib")


class ReachedError(Exception):
    """Damaged bytes came to a deserialiser. Not to be let in: they may crash the process."""


@dataclass
class Guard:
    """Knows the good bytes; counts what comes."""

    digests: set[str]
    good: int = 0
    reached: int = 0
    seen: list[int] = field(default_factory=list)

    def admit(self, data: bytes) -> None:
        """Let good bytes pass."""
        if sha256_of(data) not in self.digests:
            self.reached += 1
            raise ReachedError
        self.good += 1


sha256_of = sha256  # the tests replace the one in ml.core.releases
_guards: list[Guard] = []


@contextlib.contextmanager
def deserialisers_guarded(candidate: Candidate) -> Iterator[Guard]:
    """Put a guard before joblib.load and onnxruntime.InferenceSession."""
    guard = Guard({sha256(data) for data in candidate.files.values()})
    load, session = joblib.load, onnxruntime.InferenceSession

    def guarded_load(stream: io.BytesIO, *arguments: object, **options: object) -> object:
        guard.admit(stream.getvalue())
        return load(stream, *arguments, **options)

    def guarded_session(data: bytes, *arguments: object, **options: object) -> object:
        guard.admit(data)
        return session(data, *arguments, **options)

    with (
        mock.patch.object(joblib, "load", guarded_load),
        mock.patch.object(onnxruntime, "InferenceSession", guarded_session),
    ):
        _guards.append(guard)
        try:
            yield guard
        finally:
            _guards.pop()


def damage(
    candidate: Candidate, dice: random.Random, flips: int, truncations: int, *, check_digests: bool = True
) -> Counter[str]:
    """Damage one file at a time and read the release as the function and as the proof do; return the counts."""
    guard = _guards[-1]
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        if not check_digests:
            for module in (ml.core.releases, ml.publish.proof):
                stack.enter_context(mock.patch.object(module, "sha256", _Agreeable()))
        store, facts = _stored(candidate)
        _read_all(store, facts, Path(folder), candidate.files)  # undamaged: must pass
        before = guard.reached
        for kind, times in (("flips", flips), ("truncations", truncations)):
            for turn in range(times):
                name = FILES[turn % len(FILES)]
                spoilt = _spoilt(candidate.files[name], kind, dice)
                counts[kind] += 1
                files = {**candidate.files, name: spoilt}
                damaged = {**store, blob_path(sha256_of(candidate.files[name]), name): spoilt}
                try:
                    if name == "model.onnx":
                        _read_as_function(damaged)
                    _read_as_proof(name, facts, Path(folder), files)
                except ReleaseError:
                    counts["refused"] += 1
                except ReachedError:
                    pass
        counts["reached"] = guard.reached - before
    return counts


class _Agreeable:
    """A digest function that always says what is expected, for the check of the check."""

    def __call__(self, data: bytes) -> object:
        return _Equal()


class _Equal:
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def _spoilt(data: bytes, kind: str, dice: random.Random) -> bytes:
    if kind == "truncations":
        return data[: dice.randrange(len(data))]
    spoilt = bytearray(data)
    spoilt[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(spoilt)


def _stored(candidate: Candidate) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the objects of a bucket that holds the candidate, and the facts of its proof."""
    store, entries = {}, {}
    for name, data in candidate.files.items():
        digest = sha256_of(data)
        store[blob_path(digest, name)] = data
        entries[name] = {"size": len(data), "sha256": digest}
    manifest = canonical_json({"schema": 1, **candidate.facts, "files": entries})
    digest = sha256_of(manifest)
    store[manifest_path(digest)] = manifest
    store["current.json"] = Pointer(1, digest, "w", "2026").to_bytes()
    named = {name: candidate.facts[name] for name in ("columns", "classes", "golden")}
    return store, json.loads(json.dumps({**named, "files": {name: entry["sha256"] for name, entry in entries.items()}}))


def _read_as_function(store: dict[str, bytes]) -> None:
    model_of(load_release(store.__getitem__))


def _read_as_proof(name: str, facts: dict[str, Any], folder: Path, files: Mapping[str, bytes]) -> None:
    for file in FILES:
        (folder / file).write_bytes(files[file])
    (ml.publish.proof.prove_onnx if name == "model.onnx" else ml.publish.proof.prove_joblib)(folder, facts)


def _read_all(store: dict[str, bytes], facts: dict[str, Any], folder: Path, files: Mapping[str, bytes]) -> None:
    _read_as_function(store)
    for name in ("model.onnx", "model.joblib"):
        _read_as_proof(name, facts, folder, files)
