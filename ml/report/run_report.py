# SPDX-License-Identifier: GPL-3.0-or-later
"""The run report: one HTML file that needs nothing else, for a run that went well and for one that did not.

    python -m ml.report.run_report /var/lib/fanops/runs/RUN

writes the report of a run whose process could not do so itself, because it was killed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from ml.fingerprint import libraries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ml.core.gate import Verdict
    from ml.forest.evaluation import Evaluation

NAME = "report.html"
_LOG_LINES = 60


def _page(
    title: str, verdict: str, run: Iterable[tuple[str, object]], log: Sequence[str], **evaluated: object
) -> bytes:
    """Fill in the template; ``evaluated`` is what only a trained model has."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    page = environment.get_template("run_report.html.j2").render(
        title=title,
        verdict=verdict,
        run=list(run),
        log="\n".join(log[-_LOG_LINES:]),
        evaluated=bool(evaluated),
        **evaluated,
    )
    return f"{page}\n".encode()


def succeeded(
    facts: Mapping[str, Any],
    evaluation: Evaluation,
    curve: Sequence[tuple[int, int, float]],
    importances: NDArray[np.float64],
    verdict: Verdict | None,
    files: Mapping[str, bytes],
    log: Sequence[str],
) -> bytes:
    """Return the report of a trained model.

    ``facts`` are the manifest's, ``verdict`` is what the quality gate says (None: it is not to be published).
    """
    from ml.report import figures

    names, columns = facts["classes"], facts["columns"]
    return _page(
        f"Training run {facts['fingerprint']['fingerprint'][:12]}",
        _quality(facts["metrics"], verdict),
        _run(facts),
        log,
        sponsors=_sponsors(evaluation, names),
        figures={
            "confusion": figures.confusion(evaluation.confusion, names),
            "calibration": figures.calibration(evaluation.calibration),
            "learning": figures.learning(curve, facts["metrics"]["ceiling"]),
            "importance": figures.importance(importances, columns),
        },
        files=[(name, f"{len(data):,}") for name, data in files.items()],
        versions=[*facts["libraries"].items(), *facts["fingerprint"].items()],
    )


def _quality(metrics: Mapping[str, Any], verdict: Verdict | None) -> str:
    low, high = metrics["interval"]
    text = f"Accuracy {metrics['accuracy']:.2%} ({low:.2%} to {high:.2%}) on {metrics['rows']:,} held-out rows. "
    if metrics["ceiling"] is not None:
        text += (
            f"The best possible is {metrics['ceiling']:.2%}, {100 * (metrics['ceiling'] - metrics['accuracy']):.2f} "
            "points more. "
        )
    else:
        text += "The best possible is not known for real data. "
    if verdict is None:
        return text.strip()
    refusals = verdict.breaking + verdict.refusals
    said = "; ".join(refusals or verdict.notes or ["there is no live release to compare with"])
    return f"{text}The quality gate {'refuses' if refusals else 'has no objection'}: {said}."


def _run(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    used, predicted = facts["resources"], facts["resources"].get("predicted", {})
    return [
        ("data", facts["source"]),
        ("rows", f"{facts['samples']:,}"),
        ("seed", str(facts["seed"])),
        ("engine", facts["engine"]),
        ("trees, nodes", f"{facts['forest']['trees']:,}, {facts['forest']['nodes']:,}"),
        ("ended (UTC)", facts["created"]),
        ("time", f"{used['seconds']:.1f} s, predicted {predicted.get('seconds', 0):.1f} s"),
        (
            "peak memory",
            f"{used['peak_memory_bytes'] / 2**20:.0f} MiB, predicted {predicted.get('peak_memory_bytes', 0) / 2**20:.0f} MiB",
        ),
    ]


def _sponsors(evaluation: Evaluation, names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    rows = []
    for index, name in enumerate(names):
        right = evaluation.confusion[index, index]
        shown, named = evaluation.confusion[index].sum(), evaluation.confusion[:, index].sum()
        precision = f"{right / named:.1%}" if named else "never named"
        rows.append((name, precision, f"{right / shown:.1%}" if shown else "never shown", f"{shown:,}"))
    return rows


def failed(title: str, reason: str, parameters: Mapping[str, object], log: Sequence[str]) -> bytes:
    """Return the report of a run that failed: why, with what, and the end of its log."""
    verdict = f"The training failed and nothing was published: {reason}"
    return _page(title, verdict, [*parameters.items(), *libraries().items()], log)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of a run that ended without one; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.report.run_report", description="Write the report of a run whose process was killed."
    )
    parser.add_argument("folder", type=Path, help="the run's folder, with run.json and training.log")
    parser.add_argument("--reason", default="", help="why it failed (default: the last line of the log)")
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder
    try:
        lines = (folder / "training.log").read_text(encoding="utf-8", errors="replace").splitlines()
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        reason = arguments.reason or next((line for line in reversed(lines) if line.strip()), "it left no output")
        page = failed(f"Training run {folder.name}", reason, {"command": " ".join(run.get("argv", ()))}, lines)
        temporary = folder / f".{NAME}.new"
        temporary.write_bytes(page)
        temporary.replace(folder / NAME)
    except (OSError, ValueError) as error:
        print(f"error: cannot write the report of {folder}: {error}; name the folder of a run", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
