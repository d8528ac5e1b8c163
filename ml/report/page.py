# SPDX-License-Identifier: GPL-3.0-or-later
"""The run report: one HTML file that needs nothing else, for a run that went well and for one that did not.

    python -m ml.report.page /var/lib/fanops/runs/RUN

writes the report of a run whose process could not do so itself, because it was killed.
"""

from __future__ import annotations

import argparse
import html
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ml.forest.evaluation import Evaluation

NAME = "report.html"
LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnx", "onnxruntime")
_LOG_LINES = 60

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: 12px } svg { max-width: 100%; height: auto }
.verdict { padding: .8rem 1rem; border-left: 5px solid #2563a8; background: #eef4fa } .failed { border-color: #b3261e; background: #fbeeed }
code { overflow-wrap: anywhere }
"""


def libraries() -> dict[str, str]:
    """Return the versions of what a model is made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _page(title: str, body: Iterable[str]) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    ).encode()


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["<table>"]
    if head:
        lines.append("<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>")
    for row in rows:
        cells = [f"<td>{html.escape(str(row[0]))}</td>"]
        cells += [f'<td class="number">{html.escape(str(cell))}</td>' for cell in row[1:]]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _log(lines: Sequence[str]) -> str:
    return f"<h2>Log</h2>\n<pre>{html.escape(chr(10).join(lines[-_LOG_LINES:]))}</pre>"


def _verdict(text: str, failed: bool = False) -> str:
    return f'<p class="verdict{" failed" if failed else ""}">{html.escape(text)}</p>'


def succeeded(
    facts: Mapping[str, Any],
    evaluation: Evaluation,
    curve: Sequence[tuple[int, int, float]],
    importances: NDArray[np.float64],
    live: Mapping[str, Any] | None,
    files: Mapping[str, bytes],
    log: Sequence[str],
) -> bytes:
    """Return the report of a trained model.

    ``facts`` are the manifest's, ``live`` is the manifest of the release that was live before (None: there was none).
    """
    from ml.report import figures

    names, columns = facts["classes"], facts["columns"]
    return _page(
        f"Training run {facts['fingerprint']['fingerprint'][:12]}",
        [
            _verdict(_quality(facts["metrics"], live)),
            "<h2>Run</h2>",
            _table((), [(name, value) for name, value in _run(facts)]),
            "<h2>Sponsors</h2>",
            _table(("sponsor", "precision", "recall", "rows"), _sponsors(evaluation, names)),
            "<h2>Confusion matrix</h2><p>Percent of the rows in which the sponsor was shown.</p>",
            figures.confusion(evaluation.confusion, names),
            "<h2>Calibration</h2>",
            figures.calibration(evaluation.calibration),
            "<h2>Learning curve</h2>",
            figures.learning(curve, facts["metrics"]["ceiling"]),
            "<h2>Feature importance</h2>",
            figures.importance(importances, columns),
            "<h2>Files</h2>",
            _table(("file", "bytes"), [(name, f"{len(data):,}") for name, data in files.items()]),
            "<h2>Versions and fingerprints</h2>",
            _table((), [*facts["libraries"].items(), *facts["fingerprint"].items()]),
            _log(log),
        ],
    )


def _quality(metrics: Mapping[str, Any], live: Mapping[str, Any] | None) -> str:
    text = f"Accuracy {metrics['accuracy']:.2%} on {metrics['rows']:,} held-out rows. "
    if metrics["ceiling"] is not None:
        text += (
            f"The best possible is {metrics['ceiling']:.2%}, {100 * (metrics['ceiling'] - metrics['accuracy']):.2f} "
            "points more. "
        )
    else:
        text += "The best possible is not known for real data. "
    if live is None:
        return text + "There was no live release to compare with."
    before = live.get("metrics", {})
    if before.get("held_out") != metrics["held_out"]:
        return text + "The live release was measured on other rows."
    return text + (
        f"The live release has {before['accuracy']:.2%} on the same rows: {100 * (metrics['accuracy'] - before['accuracy']):+.2f} points."
    )


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
    return _page(
        title,
        [
            _verdict(f"The training failed and nothing was published: {reason}", failed=True),
            "<h2>Run</h2>",
            _table((), [*parameters.items(), *libraries().items()]),
            _log(log),
        ],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of a run that ended without one; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.report.page", description="Write the report of a run whose process was killed."
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
