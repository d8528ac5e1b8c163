# SPDX-License-Identifier: GPL-3.0-or-later
"""A data file that grows every day, trained on and judged by the gate as a run does it, without a bucket."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.core.features import Features
from ml.core.gate import Limits, Verdict, judge
from ml.core.releases import Candidate, Pointer, Release
from ml.core.schema import DEFAULT
from ml.core.serving import Model
from ml.data import spool, synthetic
from ml.data.synthetic import Labels
from ml.forest import random_forest
from ml.forest.evaluation import compare, evaluate, golden_rows, unseen
from ml.forest.onnx_export import to_onnx

SEED = 42  # of every training, as in group_vars
FAULT = DEFAULT.classes.index("CDG")  # seldom right in the heat
HEAT = 0.06  # of the rows are the hottest ones, where three wrong rows for a right one cost that much accuracy
LOSS = 0.05  # of accuracy, on a day that the gate shall refuse
FREE = Limits(accuracy_floor=0.0)  # the floor is the site's; 30 % noise is below the usual one on honest days, too


@dataclass(frozen=True)
class Case:
    """``first`` rows on day 0 and ``daily`` more on each day after it; ``noise`` of the sponsors are drawn at random."""

    first: int
    daily: int
    noise: float


def rows_of_day(case: Case, day: int, seed: int) -> spool.Records:
    """Return the rows that are new on a day."""
    rows = case.daily if day else case.first
    rng = np.random.default_rng((seed, day))
    contexts = synthetic.draw_contexts(DEFAULT, rows, rng)
    labels = synthetic.draw_labels(synthetic.probabilities(DEFAULT, contexts), rng)
    part: spool.Records = np.zeros(rows, dtype=spool.record_type(DEFAULT))
    for name in part.dtype.names or ():
        if name != "sponsor":
            part[name] = contexts.arrays[name]
    part["sponsor"] = np.where(rng.random(rows) < case.noise, rng.integers(0, len(DEFAULT.classes), rows), labels)
    return part


def rows_of(case: Case, days: int, seed: int) -> spool.Records:
    """Return the rows up to and with day ``days``; those of fewer days are the beginning of them."""
    return np.concatenate([rows_of_day(case, day, seed) for day in range(days + 1)])


def wrong_rows(known: int, seed: int) -> spool.Records:
    """Return rows that take a model of ``known`` rows about five points of its accuracy: in the heat they name one sponsor.

    Contexts that are held out are not among them, so what is measured stays right. Rows that were wrong there, too, would
    look like a change of the world, and no comparison tells these apart.
    """
    wrong = int(known * 3 * HEAT)
    drawn = rows_of_day(Case(int(wrong / HEAT * 1.5), 0, 0.0), 0, seed)
    hot = drawn[drawn["temperature"] >= np.quantile(drawn["temperature"], 1 - HEAT)]
    found: spool.Records = hot[~spool.held_out(DEFAULT, spool._decode(DEFAULT, hot)[0])][:wrong].copy()
    found["sponsor"] = FAULT
    return found


@dataclass(frozen=True)
class Day:
    """A candidate of one day, as a release; and the source that it was trained on."""

    release: Release
    source: spool.Spool

    def judged(self, live: Day) -> Verdict:
        """Return what the gate says to it, with ``live`` live."""
        model = Model(self.release.files["model.onnx"], DEFAULT, DEFAULT.classes)
        measured = evaluate(model, self.source)
        candidate = Candidate(self.release.files, {**self.release.manifest, "metrics": measured.metrics})
        return judge(candidate, live.release, FREE, lambda release: compare(release, measured, self.source))

    def accuracy(self, features: Features, labels: Labels) -> float:
        """Return the accuracy on other rows."""
        model = Model(self.release.files["model.onnx"], DEFAULT, DEFAULT.classes)
        return float((model.probabilities(features).argmax(axis=1) == labels).mean())


def trained(rows: spool.Records, folder: Path, faulty: float = 0.0) -> Day:
    """Train on ``rows``, kept in ``folder``.

    The hottest ``faulty`` (0-1) of the rows name one sponsor, wrongly, in training, and the right one where it is measured.
    """
    source = spool.write(folder, DEFAULT, {}, [rows], "a file that grows")
    trees = []
    for share in source.plan():
        features, labels = source.partition(share)
        if faulty:
            temperature = features[:, DEFAULT.columns.index("temperature")]
            wrong = temperature >= np.quantile(temperature, 1 - faulty)
            labels = np.where(wrong, FAULT, labels)
        for batch in random_forest.grow(share, features, labels, len(DEFAULT.classes), SEED):
            trees += batch
    forest = random_forest.assemble(trees, DEFAULT)
    manifest = {
        "columns": list(DEFAULT.columns),
        "classes": list(DEFAULT.classes),
        "golden": golden_rows(forest, DEFAULT),
        "metrics": {"accuracy": 0.0, "rows": 1, "ceiling": None},
        "split": source.split,
        "unseen": unseen(forest),
    }
    pointer = Pointer(1, "0" * 64, "", "")
    return Day(Release(pointer, manifest, {"model.onnx": to_onnx(forest)}), source)


@dataclass(frozen=True)
class Judged:
    """What the gate said on one day, to an honest candidate and to one that lost ``loss`` (0-1) of accuracy."""

    refused: str  # why the honest one was refused, "" if it was not
    worse_refused: bool
    loss: float


def days_of(case: Case, seed: int, first_day: int, days: int = 1) -> list[Judged]:
    """Train anew every day from ``first_day`` on, each candidate beside the release that is live by then."""
    rows = rows_of(case, first_day + days - 1, seed)
    lengths = [case.first + case.daily * day for day in range(first_day - 1, first_day + days)]
    reference = rows_of(Case(10_000, 0, case.noise), 0, seed + 1_000_000)
    features, labels = spool._decode(DEFAULT, reference)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        live = trained(rows[: lengths[0]], Path(folder) / "0")
        for length in lengths[1:]:
            accuracy = live.accuracy(features, labels)
            faulty = LOSS / accuracy
            for _ in range(2):
                worse = trained(rows[:length], Path(folder) / "worse", faulty)
                loss = accuracy - worse.accuracy(features, labels)
                if 0.8 * LOSS < loss < 1.2 * LOSS:
                    break
                faulty *= min(2.0, LOSS / max(loss, 0.01))
            worse_refused = bool(worse.judged(live).refusals)
            today = trained(rows[:length], Path(folder) / str(length))
            refusals = today.judged(live).refusals
            found.append(Judged("; ".join(refusals), worse_refused, loss))
            live = live if refusals else today
    return found
