# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: three servers, their environments, and two models of the same rows."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from google.cloud.storage import Client

from ml.bucket import Bucket
from ml.core.gate import Proof
from ml.core.releases import Candidate
from ml.core.schema import DEFAULT
from ml.data import synthetic
from ml.data.sources import Synthetic
from ml.forest.growth import Threads, grow_forest
from ml.forest.random_forest import assemble
from ml.progress import Log
from ml.publish.candidates import make_candidate
from ml.publish.publisher import publish

ROOT = Path(__file__).parents[2]
ZONES, EVENTS = (field.values for field in DEFAULT.choices)
SAMPLES, SEED = 10_000, 42  # of the release, and of the plain way's forest: what site.yml trains by default


@dataclass(frozen=True)
class Kind:
    """One of the three servers: its folder of code and its Python."""

    name: str
    source: Path
    python: Path


def environment(name: str, lock: Path, python: str) -> Path:
    """Return the Python of a virtual environment that holds exactly what ``lock`` pins."""
    folder = ROOT / ".cache" / "serving" / name
    uv = str(Path(sys.executable).with_name("uv"))
    if not (folder / "bin" / "python").exists():
        subprocess.run([uv, "venv", "-q", "--python", python, folder], check=True)
    variables = {**os.environ, "VIRTUAL_ENV": str(folder)}
    subprocess.run([uv, "pip", "sync", "-q", "--require-hashes", "--compile-bytecode", lock], env=variables, check=True)
    return folder / "bin" / "python"


PLAIN_TRAINING = """
import sys, joblib, numpy as np, pandas as pd
from sklearn.ensemble import RandomForestClassifier
columns = ["match_minute", "score_diff", "temperature", "crowd_density", "zone", "event"]
table = pd.read_csv(sys.argv[1], keep_default_na=False)
features = pd.get_dummies(table[columns], columns=["zone", "event"])
forest = RandomForestClassifier(n_estimators=100, random_state=42).fit(features, table["sponsor"])
joblib.dump(forest, "plain.joblib"); joblib.dump(list(features.columns), "plain_columns.joblib")
"""


def prepare(folder: Path, client: Client, plain: Kind) -> Candidate:
    """Train both models on the same rows, and put them into the bucket."""
    log = Log(sys.stderr)
    client.create_bucket("models")
    source = Synthetic(SAMPLES, SEED)
    jobs = os.cpu_count() or 1
    trees, _ = grow_forest(source, SEED, Threads(jobs), log)
    candidate, _ = make_candidate(assemble(trees, DEFAULT), source, log)
    candidate.facts["fingerprint"] = {"fingerprint": "benchmark"}
    publish(Bucket("models", client), candidate, prove=lambda files, facts: Proof(0, 0, 0))
    write_csv(folder / "rows.csv")
    subprocess.run([plain.python, "-c", PLAIN_TRAINING, "rows.csv"], cwd=folder, check=True)
    for name in ("plain.joblib", "plain_columns.joblib"):
        client.bucket("models").blob(name).upload_from_filename(str(folder / name))
    return candidate


def write_csv(path: Path) -> None:
    """Write the rows that the release was trained on as a table."""
    features, labels = synthetic.partition(DEFAULT, SEED, 0, SAMPLES)
    zones = [DEFAULT.columns.index(f"zone_{zone}") for zone in ZONES]
    events = [DEFAULT.columns.index(f"event_{event}") for event in EVENTS[1:]]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["match_minute", "score_diff", "temperature", "crowd_density", "zone", "event", "sponsor"])
        for row, label in zip(features, labels, strict=True):
            event = EVENTS[1 + int(row[events].argmax())] if row[events].any() else EVENTS[0]
            writer.writerow([*map(float, row[:4]), ZONES[int(row[zones].argmax())], event, DEFAULT.classes[label]])
