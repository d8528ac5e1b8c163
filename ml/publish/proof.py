# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a candidate: its bytes as the bucket returned them, loaded and asked in processes of their own.

    python -m ml.publish.proof onnx|joblib FOLDER

A file that is damaged, or a model too large, can end a process instead of raising an exception; it must not be the
publisher's. The memory of the onnx process is what the function will need.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml.core.gate import TOLERANCE, Proof
from ml.core.releases import ReleaseError, sha256
from ml.progress import memory_bytes

BATCH_ROWS = 10_000  # the largest batch that the function accepts
SECONDS = 600  # the longest time for one of the two processes
_FACTS = "facts.json"


class ProofError(ReleaseError):
    """The candidate failed its proof; it must not be promoted, not even by force."""


def prove(files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Proof:
    """Load ``model.onnx`` and ``model.joblib`` of a candidate, each in a process of its own, and replay the golden rows.

    Raises ProofError if one of them cannot be loaded, or answers other than the manifest's ``facts`` say.
    """
    wanted = ("model.onnx", "model.joblib", "model_columns.joblib")
    with tempfile.TemporaryDirectory(prefix="proof-") as folder:
        for name in wanted:
            (Path(folder) / name).write_bytes(files[name])
        named = {name: facts.get(name) for name in ("columns", "classes", "golden", "model_schema")}
        named["files"] = {name: sha256(files[name]) for name in wanted}
        (Path(folder) / _FACTS).write_text(json.dumps(named), encoding="utf-8")
        _child("joblib", folder)
        return Proof(**_child("onnx", folder))


def _child(form: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "ml.publish.proof", form, folder]
    try:
        ended = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProofError(f"loading model.{form} did not end within {SECONDS} s; nothing was promoted") from error
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise ProofError(
            f"the process that loaded model.{form} was ended by {name}: the model is damaged or needs more memory than "
            "this machine has; nothing was promoted"
        )
    lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines() or ["it said nothing"]
    if ended.returncode != 0:
        raise ProofError(f"model.{form} failed its proof: {lines[-1].removeprefix('error: ')}; nothing was promoted")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def read_verified(folder: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file; raise ReleaseError before anybody can deserialise bytes with another digest."""
    data = (folder / name).read_bytes()
    if sha256(data) != facts["files"][name]:
        raise ReleaseError(f"{name} has SHA-256 {sha256(data)}, not {facts['files'][name]}; it was not loaded")
    return data


def prove_onnx(folder: Path, facts: Mapping[str, Any]) -> Proof:
    """Replay the golden rows on onnxruntime, then a batch of the largest size, and return the memory that took."""
    import numpy as np

    from ml.core.schema import from_manifest
    from ml.core.serving import Model

    data = read_verified(folder, "model.onnx", facts)
    base = memory_bytes("VmRSS")
    model = Model(data, from_manifest(facts), facts["classes"])
    model.prove(facts["golden"])
    loaded = memory_bytes("VmRSS")
    model.probabilities(np.zeros((BATCH_ROWS, len(facts["columns"])), dtype=np.float32))
    return Proof(base_bytes=base, load_bytes=max(0, loaded - base), peak_bytes=memory_bytes())


def prove_joblib(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replay the golden rows on the pickled forest."""
    import io

    import joblib
    import numpy as np

    from ml.core.context import validate
    from ml.core.features import encode
    from ml.core.schema import from_manifest
    from ml.forest.random_forest import probabilities

    columns = joblib.load(io.BytesIO(read_verified(folder, "model_columns.joblib", facts)))
    if list(columns) != list(facts["columns"]):
        raise ReleaseError(f"model_columns.joblib holds {list(columns)}, the manifest says {facts['columns']}")
    forest = joblib.load(io.BytesIO(read_verified(folder, "model.joblib", facts)))
    golden = facts["golden"]
    schema = from_manifest(facts)
    found = probabilities(forest, encode(schema, [validate(schema, row["context"]) for row in golden]))
    worst = float(np.abs(found - np.array([row["probabilities"] for row in golden])).max())
    if worst > TOLERANCE:
        raise ReleaseError(
            f"model.joblib does not answer the golden rows as recorded: probabilities differ by {worst:.2g}"
        )
    names = [facts["classes"][winner] for winner in found.argmax(axis=1)]
    if names != [row["sponsor"] for row in golden]:
        raise ReleaseError("model.joblib answers a golden row with another sponsor than recorded")


def main(arguments: list[str]) -> int:
    """Prove one form of the model; the last line of the output is the result."""
    form, folder = arguments[0], Path(arguments[1])
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    try:
        if form == "onnx":
            print(json.dumps(dataclasses.asdict(prove_onnx(folder, facts))))
        else:
            prove_joblib(folder, facts)
            print("{}")
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # whatever a deserialiser raises, the publisher shows the last line
        print(f"error: {type(error).__name__}: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
