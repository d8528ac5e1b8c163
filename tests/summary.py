# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test` found, in one table: every layer with its tests and seconds, and the ten slowest tests.

Reads build/results: JUnit reports of pytest (`<layer>.xml`), and lines of `name<TAB>seconds<TAB>passed|failed` of what
is no pytest (`<layer>.tsv`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.prove.figures import table

RESULTS = Path(__file__).resolve().parents[1] / "build" / "results"
SLOWEST = 10


class Result(NamedTuple):
    """One test, with its wall time; `outcome` is passed, failed or skipped."""

    layer: str
    name: str
    seconds: float
    outcome: str


def junit(report: Path) -> Iterator[Result]:
    """The tests of a report of pytest."""
    for case in ElementTree.parse(report).iter("testcase"):  # we wrote it ourselves a moment ago
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        yield Result(report.stem, name, float(case.get("time", 0)), outcome)


def lines(report: Path) -> Iterator[Result]:
    """What was written a line at a time."""
    for line in report.read_text(encoding="utf-8").splitlines():
        name, seconds, outcome = line.split("\t")
        yield Result(report.stem, name, float(seconds), outcome)


def results(folder: Path) -> list[Result]:
    """Everything that was run."""
    return [
        result
        for report in sorted(folder.iterdir())
        for result in (junit(report) if report.suffix == ".xml" else lines(report))
    ]


def summary(found: list[Result]) -> str:
    """Return both tables as text."""
    layers = []
    for layer in dict.fromkeys(result.layer for result in found):
        mine = [result for result in found if result.layer == layer]
        counts = [sum(result.outcome == outcome for result in mine) for outcome in ("passed", "failed", "skipped")]
        layers.append([layer, *counts, f"{sum(result.seconds for result in mine):.0f}"])
    slowest = sorted(found, key=lambda result: -result.seconds)[:SLOWEST]
    return "\n\n".join(
        [
            table(["layer", "passed", "failed", "skipped", "seconds"], layers),
            table(["slowest", "layer", "seconds"], [[r.name, r.layer, f"{r.seconds:.1f}"] for r in slowest]),
        ]
    )


if __name__ == "__main__":
    print(summary(results(RESULTS)))
    sys.exit(0)
