# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the run report, drawn with matplotlib as SVG text that can stand inside a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ml.forest.evaluation import CALIBRATION_BINS

_BLUE, _ORANGE, _GREY = "#2563a8", "#c4622d", "#888888"


def _svg(name: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """Return the picture that ``draw`` makes. The same numbers give the same text."""
    # Figure alone: pyplot would look for a display, and keep every figure
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Draw which sponsor (row) was taken for which (column), in percent of the row."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="recommended", ylabel="shown")
        for row, column in np.argwhere(shares >= 0.5):
            color = "white" if shares[row, column] > 50 else "black"
            axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", color=color, fontsize=7)

    return _svg("confusion", (6.2, 5.4), draw)


def importance(values: NDArray[np.float64], names: Sequence[str]) -> str:
    """Draw the share that each column has in the decisions."""
    order = np.argsort(values)

    def draw(axes: Axes) -> None:
        axes.barh([names[index] for index in order], 100 * values[order], color=_BLUE)
        axes.set(xlabel="share of the decisions, percent")
        axes.spines[["top", "right"]].set_visible(False)

    return _svg("importance", (6.2, 3.8), draw)


def calibration(bins: NDArray[np.float64]) -> str:
    """Draw how often the model is right when it says how sure it is; ``bins`` is (rows, confidence, right) a bin."""
    filled = bins[bins[:, 0] > 0]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="as sure as it is right")
        axes.plot(filled[:, 1] / filled[:, 0], filled[:, 2] / filled[:, 0], color=_BLUE, marker="o", label="model")
        places = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
        shares = bins[:, 0] / bins[:, 0].sum()
        axes.bar(places, shares, width=0.9 / CALIBRATION_BINS, color=_ORANGE, alpha=0.35, label="share of the rows")
        axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)

    return _svg("calibration", (6.2, 3.8), draw)


def learning(curve: Sequence[tuple[int, int, float]], ceiling: float | None) -> str:
    """Draw the accuracy while trees, and the rows that they grew on, were added to the forest."""

    def draw(axes: Axes) -> None:
        axes.plot([trees for trees, _, _ in curve], [accuracy for _, _, accuracy in curve], color=_BLUE, marker="o")
        if ceiling is not None:
            axes.axhline(ceiling, color=_GREY, linestyle="--")
            axes.annotate("best possible", (curve[0][0], ceiling), va="bottom", color=_GREY)
        for trees, rows, accuracy in curve[::2]:
            axes.annotate(f"{rows:,} rows", (trees, accuracy), xytext=(3, -11), textcoords="offset points", fontsize=7)
        axes.set(xlabel="trees", ylabel="accuracy", xscale="log")
        axes.spines[["top", "right"]].set_visible(False)

    return _svg("learning", (6.2, 3.8), draw)
