# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the run report, as SVG text that stands inside a page. The same numbers give the same text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ml.forest.evaluation import CALIBRATION_BINS

_BLUE, _ORANGE, _GREY = "#2563a8", "#c4622d", "#888888"
_WIDTH, _HEIGHT = 620, 380  # CSS pixels, as everything below


class _Plot:
    """An area between two axes; ``x`` and ``y`` turn a value into a place in the picture."""

    def __init__(
        self,
        name: str,
        across: tuple[float, float],
        up: tuple[float, float],
        *,
        size: tuple[int, int] = (_WIDTH, _HEIGHT),
        left: int = 60,
        bottom: int = 45,
        log: bool = False,
    ) -> None:
        self._name, self._size, self._parts = name, size, list[str]()
        self._left, self._right, self._top, self._bottom = left, size[0] - 12, 12, size[1] - bottom
        scale: Callable[[float], float] = math.log if log else float
        first, last = scale(across[0]), scale(across[1])
        self.x: Callable[[float], float] = lambda value: (
            self._left + (scale(value) - first) / (last - first or 1) * (self._right - self._left)
        )
        self.y: Callable[[float], float] = lambda value: (
            self._bottom - (value - up[0]) / (up[1] - up[0]) * (self._bottom - self._top)
        )

    def text(
        self, x: float, y: float, text: str, anchor: str = "middle", color: str = "black", turned: float = 0
    ) -> None:
        """Write at a place in the picture, turned by degrees."""
        turn = f' transform="rotate({turned:g} {x:.1f} {y:.1f})"' if turned else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{turn}>{escape(text)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, color: str, opacity: float = 1) -> None:
        """Fill a rectangle whose upper left corner is at (x, y)."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}" fill-opacity="{opacity:.3g}"/>'
        )

    def line(self, points: Iterable[tuple[float, float]], color: str, dashed: bool = False, dots: bool = False) -> None:
        """Join ``points``, which are values."""
        places = [(f"{self.x(x):.1f}", f"{self.y(y):.1f}") for x, y in points]
        dashes = ' stroke-dasharray="6 4"' if dashed else ""
        path = " ".join(",".join(place) for place in places)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashes}/>')
        if dots:
            self._parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>' for x, y in places]

    def axes(
        self, xlabel: str, ylabel: str, xticks: Sequence[tuple[float, str]], yticks: Sequence[tuple[float, str]] = ()
    ) -> None:
        """Draw both axes with their labels; a tick is a value and its text."""
        self._parts.append(
            f'<path d="M{self._left} {self._top}V{self._bottom}H{self._right}" fill="none" stroke="black"/>'
        )
        for value, text in xticks:
            self.text(self.x(value), self._bottom + 16, text)
        for value, text in yticks:
            self.text(self._left - 6, self.y(value) + 4, text, "end")
        self.text((self._left + self._right) / 2, self._size[1] - 8, xlabel)
        if ylabel:
            self.text(14, (self._top + self._bottom) / 2, ylabel, turned=-90)

    def svg(self) -> str:
        """Return the picture."""
        width, height = self._size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(self._name)}" font-family="sans-serif" font-size="12">{"".join(self._parts)}</svg>'
        )


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return about five round values from ``low`` to ``high``."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    digits = max(0, -math.floor(math.log10(step)))
    return [(n * step, f"{n * step:.{digits}f}") for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Draw which sponsor (row) was taken for which (column), in percent of the row."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    number, cell, left = len(names), 38, 130
    plot = _Plot("confusion matrix", (0, 1), (0, 1), size=(left + number * cell + 12, number * cell + 150), left=left)
    for index, name in enumerate(names):
        middle = (index + 0.5) * cell
        plot.text(left - 6, middle + 4, name, "end")
        plot.text(left + middle + 4, number * cell + 12, name, "end", turned=-45)
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        plot.box(left + column * cell, row * cell, cell, cell, _BLUE, share / 100)
        place = (left + (column + 0.5) * cell, (row + 0.5) * cell + 4)
        plot.text(*place, f"{share:.0f}", color="white" if share > 50 else "black")
    plot.text(14, number * cell / 2, "shown", turned=-90)
    plot.text(left + number * cell / 2, number * cell + 140, "recommended")
    return plot.svg()


def importance(values: NDArray[np.float64], names: Sequence[str]) -> str:
    """Draw the share that each column has in the decisions."""
    order = np.argsort(values)
    percent = 100 * values
    plot = _Plot("feature importance", (0, max(float(percent.max()), 1e-9)), (0, len(names)), left=130)
    for place, index in enumerate(order):
        height = plot.y(0) - plot.y(0.8)
        plot.box(plot.x(0), plot.y(place + 0.9), plot.x(percent[index]) - plot.x(0), height, _BLUE)
    labels = [(place + 0.5, names[index]) for place, index in enumerate(order)]
    plot.axes("share of the decisions, percent", "", _ticks(0, max(float(percent.max()), 1e-9)), labels)
    return plot.svg()


def calibration(bins: NDArray[np.float64]) -> str:
    """Draw how often the model is right when it says how sure it is; ``bins`` is (rows, confidence, right) a bin."""
    plot = _Plot("calibration", (0, 1), (0, 1))
    width = plot.x(0.9 / CALIBRATION_BINS) - plot.x(0)
    for index, share in enumerate(bins[:, 0] / bins[:, 0].sum()):
        place = (plot.x((index + 0.05) / CALIBRATION_BINS), plot.y(share))
        plot.box(*place, width, plot.y(0) - plot.y(share), _ORANGE, 0.35)
    plot.line([(0, 0), (1, 1)], _GREY, dashed=True)
    filled = bins[bins[:, 0] > 0]
    plot.line(zip(filled[:, 1] / filled[:, 0], filled[:, 2] / filled[:, 0], strict=True), _BLUE, dots=True)
    plot.axes("confidence", "share of right answers", _ticks(0, 1), _ticks(0, 1))
    legend = (("model", _BLUE), ("as sure as it is right", _GREY), ("share of the rows", _ORANGE))
    for row, (text, color) in enumerate(legend):
        plot.text(plot.x(0.03), 30 + 18 * row, text, "start", color)
    return plot.svg()


def learning(curve: Sequence[tuple[int, int, float]], ceiling: float | None) -> str:
    """Draw the accuracy while trees, and the rows that they grew on, were added to the forest."""
    heights = [accuracy for _, _, accuracy in curve] + ([] if ceiling is None else [ceiling])
    room = 0.1 * (max(heights) - min(heights)) or 0.01
    low, high = min(heights) - room, max(heights) + room
    plot = _Plot("learning curve", (curve[0][0], curve[-1][0]), (low, high), log=True)
    if ceiling is not None:
        plot.line([(curve[0][0], ceiling), (curve[-1][0], ceiling)], _GREY, dashed=True)
        plot.text(plot.x(curve[0][0]) + 8, plot.y(ceiling) - 5, "best possible", "start", _GREY)
    plot.line([(trees, accuracy) for trees, _, accuracy in curve], _BLUE, dots=True)
    for trees, rows, accuracy in curve[::2]:
        plot.text(plot.x(trees) + 6, plot.y(accuracy) + 16, f"{rows:,} rows", "start")
    plot.axes("trees", "accuracy", [(trees, f"{trees:,}") for trees, _, _ in curve], _ticks(low, high))
    return plot.svg()
