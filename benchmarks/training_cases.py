# SPDX-License-Identifier: GPL-3.0-or-later
"""One measurement of the training benchmark, in a process of its own: ``python -m benchmarks.training_cases CASE``.

Prints one JSON object: seconds and cpu_seconds of what is measured, peak memory of the process, accuracy on the 200,000
held-out rows, and what else there is to say.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml.core.schema import DEFAULT
from ml.data import synthetic
from ml.progress import memory_bytes

ZONES, EVENTS = (field.values for field in DEFAULT.choices)

MILLION = 1_000_000
SEED = 42


class Stopwatch:
    """Wall and CPU seconds of a block (CPU is what another load on the machine changes least)."""

    def __enter__(self) -> Stopwatch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.result = {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._cpu}


def in_memory(rows: int) -> tuple[Any, Any]:
    """Return ``rows`` rows as the plain way has them: all at once."""
    parts = [synthetic.partition(DEFAULT, SEED, index, rows // 10) for index in range(10)]
    return np.vstack([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def accuracy(predict: Callable[[Any], Any]) -> float:
    """Return the share of right answers on the held-out rows; ``predict`` returns class indices."""
    right = [(predict(features) == labels) for features, labels, _ in synthetic.held_out(DEFAULT)]
    return float(np.concatenate(right).mean())


def is_in(column: str, value: str, row: dict[str, Any]) -> bool:
    """Say whether a row has that value."""
    return bool(row[column] == value)


def generate_plain() -> dict[str, Any]:
    """A row at a time, a dictionary each, then a DataFrame: the same distribution as ours."""
    import pandas as pd

    from ml.data.rules import ROTATION, RULES, SHARES

    tests: dict[str, Callable[[dict[str, Any]], bool]] = {
        "cold": lambda r: r["temperature"] < 14,
        "mild": lambda r: 14 <= r["temperature"] < 28,
        "hot": lambda r: r["temperature"] >= 28,
        "sparse": lambda r: r["crowd_density"] < 0.35,
        "packed": lambda r: r["crowd_density"] >= 0.75,
        "opening": lambda r: r["match_minute"] < 15,
        "middle": lambda r: 15 <= r["match_minute"] < 75,
        "late": lambda r: r["match_minute"] >= 75,
        "leading": lambda r: r["score_diff"] > 0,
        "level": lambda r: r["score_diff"] == 0,
        "trailing": lambda r: r["score_diff"] < 0,
        "tight": lambda r: abs(r["score_diff"]) <= 1,
        "rout": lambda r: abs(r["score_diff"]) >= 3,
        "ends": lambda r: r["zone"] in ("North", "South"),
        "sides": lambda r: r["zone"] in ("East", "West"),
    }
    for zone in ZONES:
        tests[zone.lower()] = partial(is_in, "zone", zone)
    for event in EVENTS:
        tests[event.lower()] = partial(is_in, "event", event)
    rules = [(rule.sponsor, rule.points, [tests[name] for name in rule.signals.split()]) for rule in RULES]
    draw = random.Random(SEED)
    rows = []
    with Stopwatch() as watch:
        for _ in range(MILLION):
            row: dict[str, Any] = {
                "match_minute": draw.randint(0, 120),
                "score_diff": max(-10, min(10, round(draw.gauss(0.1, 1.8)))),
                "temperature": round(max(-30, min(60, draw.gauss(24, 8))), 1),
                "crowd_density": round(draw.betavariate(2.2, 1.4), 3),
                "zone": draw.choices(ZONES, [*SHARES["zone"].values()])[0],
                "event": draw.choices(EVENTS, [*SHARES["event"].values()])[0],
            }
            points = dict.fromkeys(DEFAULT.classes, 0)
            for sponsor, value, signals in rules:
                if all(signal(row) for signal in signals):
                    points[sponsor] += value
            if draw.random() < ROTATION:
                row["sponsor"] = draw.choice(DEFAULT.classes)
            else:
                row["sponsor"] = draw.choices(DEFAULT.classes, [2.0**value for value in points.values()])[0]
            rows.append(row)
        frame = pd.get_dummies(pd.DataFrame(rows), columns=["zone", "event"])
    return {**watch.result, "rows": len(frame)}


def generate_ours() -> dict[str, Any]:
    """All partitions of a million rows, encoded, one after the other."""
    from ml.data.sources import Synthetic

    source = Synthetic(MILLION, SEED)
    with Stopwatch() as watch:
        rows = sum(len(source.partition(share)[1]) for share in source.plan())
    return {**watch.result, "rows": rows}


def fit_plain(**options: Any) -> dict[str, Any]:
    """scikit-learn's forest on a million rows in memory, all cores."""
    from sklearn.ensemble import RandomForestClassifier

    features, labels = in_memory(MILLION)
    forest = RandomForestClassifier(n_jobs=-1, random_state=SEED, **options)
    with Stopwatch() as watch:
        forest.fit(features, labels)
    return {**watch.result, "accuracy": accuracy(forest.predict)}


def fit_plain_subsample() -> dict[str, Any]:
    """The same number of rows a tree as ours has."""
    from ml.data.partitions import plan

    return fit_plain(max_samples=plan(MILLION)[0].rows)


def fit_ours(rows: int = MILLION) -> dict[str, Any]:
    """Our forest; making the partitions is part of it."""
    import os

    from ml.data.sources import Synthetic
    from ml.forest.growth import Threads, grow_forest
    from ml.forest.random_forest import assemble, probabilities
    from ml.progress import Log

    jobs = len(os.sched_getaffinity(0))
    with Stopwatch() as watch:
        trees, _ = grow_forest(Synthetic(rows, SEED), SEED, Threads(jobs), Log(io.StringIO()))
    forest = assemble(trees, DEFAULT)
    return {**watch.result, "accuracy": accuracy(lambda x: probabilities(forest, x).argmax(axis=1))}


def fit_ours_10m() -> dict[str, Any]:
    """Ten million rows."""
    return fit_ours(10 * MILLION)


def rounds_needed(fit: Callable[[int], Callable[[Any], Any]], target: float) -> dict[str, Any]:
    """Return how many rounds of boosting reach the held-out accuracy ``target``; LookupError if none do."""
    for rounds in (*range(2, 20, 2), *range(20, 101, 10)):
        reached = accuracy(fit(rounds))
        if reached >= target:
            return {"rounds": rounds, "accuracy": reached}
    raise LookupError(f"{target} was not reached in {rounds} rounds, but {reached}")


def hist_gradient_boosting(features: Any, labels: Any, rounds: int) -> Callable[[Any], Any]:
    """scikit-learn's boosting. Smaller steps and fuller leaves than the defaults: without, twelve classes diverge."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        early_stopping=False,
        max_leaf_nodes=63,
        min_samples_leaf=200,
        learning_rate=0.1,
        random_state=SEED,
    )
    fitted: Callable[[Any], Any] = model.fit(features, labels).predict
    return fitted


def lightgbm(features: Any, labels: Any, rounds: int) -> Callable[[Any], Any]:
    """LightGBM with the same settings; binning the rows is part of it."""
    import lightgbm

    options = {
        "objective": "multiclass", "num_class": 12, "num_leaves": 63, "min_data_in_leaf": 200, "learning_rate": 0.1,
        "verbose": -1, "seed": SEED,
    }  # fmt: skip
    booster = lightgbm.train(options, lightgbm.Dataset(features, labels), rounds)
    return lambda x: np.asarray(booster.predict(x)).argmax(axis=1)


def search_boosting(booster: Callable[[Any, Any, int], Callable[[Any], Any]], target: float) -> dict[str, Any]:
    """Find the rounds that reach ``target``."""
    features, labels = in_memory(MILLION)
    return rounds_needed(lambda rounds: booster(features, labels, rounds), target)


def fit_boosting(booster: Callable[[Any, Any, int], Callable[[Any], Any]], rounds: float) -> dict[str, Any]:
    """Fit that many rounds."""
    features, labels = in_memory(MILLION)
    with Stopwatch() as watch:
        predict = booster(features, labels, int(rounds))
    return {**watch.result, "rounds": int(rounds), "accuracy": accuracy(predict)}


def small_plain() -> dict[str, Any]:
    """10,000 rows, the forest of the script, pickled."""
    from sklearn.ensemble import RandomForestClassifier

    features, labels = synthetic.partition(DEFAULT, SEED, 0, 10_000)
    with Stopwatch() as watch:
        forest = RandomForestClassifier(n_jobs=-1, random_state=SEED).fit(features, labels)
    return {**watch.result, "bytes": len(pickle.dumps(forest)), "accuracy": accuracy(forest.predict)}


def command(rows: int) -> dict[str, Any]:
    """The whole command: what a person or the unit runs."""
    with tempfile.TemporaryDirectory() as folder:
        with Stopwatch() as watch:
            run = [sys.executable, "-m", "ml.train", "--samples", str(rows), "--seed", str(SEED), "--output", folder]
            subprocess.run(run, check=True, capture_output=True)
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    resources = manifest["resources"]
    return {
        "seconds": watch.result["seconds"],
        "memory": resources["peak_memory_bytes"],
        "predicted": resources["predicted"],
        "bytes": manifest["files"]["model.onnx"]["size"],
        "accuracy": manifest["metrics"]["accuracy"],
        "ceiling": manifest["metrics"]["ceiling"],
    }


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "generate-plain": generate_plain,
    "generate-ours": generate_ours,
    "fit-plain": fit_plain,
    "fit-plain-subsample": fit_plain_subsample,
    "fit-ours": fit_ours,
    "fit-ours-10m": fit_ours_10m,
    "search-hist-gradient-boosting": lambda target: search_boosting(hist_gradient_boosting, target),
    "search-lightgbm": lambda target: search_boosting(lightgbm, target),
    "fit-hist-gradient-boosting": lambda rounds: fit_boosting(hist_gradient_boosting, rounds),
    "fit-lightgbm": lambda rounds: fit_boosting(lightgbm, rounds),
    "small-plain": small_plain,
    "command-10k": lambda: command(10_000),
    "command-1m": lambda: command(MILLION),
    "command-10m": lambda: command(10 * MILLION),
}

if __name__ == "__main__":
    outcome = CASES[sys.argv[1]](*map(float, sys.argv[2:]))
    print(json.dumps({"memory": memory_bytes(), **outcome}))
