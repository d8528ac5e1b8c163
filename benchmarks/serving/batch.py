# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictions a second for a batch, inside the function: from the rows of a decoded request to the rows of its answer."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from ml.core.features import Features
from ml.core.schema import DEFAULT, Context
from ml.core.serving import Model
from sponsor_api.answers import Answers, validate_columns


def decoded(rows: list[dict[str, Any]]) -> tuple[list[Context], Features]:
    """Return what the function makes of the rows; all of these are valid as they stand."""
    found = validate_columns(DEFAULT, rows, set())
    assert found
    return found


rows = json.loads(Path(sys.argv[2]).read_bytes())["instances"]
model = Model(Path(sys.argv[1]).read_bytes(), DEFAULT, DEFAULT.classes)
answers = Answers(model)
contexts, features = decoded(rows)
measured: dict[str, list[float]] = {"model": [], "function": []}
for _ in range(60):
    begun = time.perf_counter()
    model.probabilities(features).argmax(axis=1)
    measured["model"].append(len(rows) / (time.perf_counter() - begun))
    begun = time.perf_counter()
    contexts, features = decoded(rows)
    answers.rows(contexts, features)
    measured["function"].append(len(rows) / (time.perf_counter() - begun))
print(json.dumps(measured))
