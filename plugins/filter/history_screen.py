# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last runs as a table for a terminal, and as curves for a page. Pure functions."""

from __future__ import annotations

import datetime
from typing import Any

Outcome = dict[str, Any]
HEADER = ["ended (UTC)", "result", "accuracy", "rows", "seconds", "cost $", "by", "why"]
WIDTH, HEIGHT, MARGIN = 640, 160, 30
#: What is drawn: member, title, form of a figure.
CURVES = (
    ("accuracy", "Accuracy on the held-out rows", "{:.2%}"),
    ("rows", "Rows learned", "{:,.0f}"),
    ("seconds", "Seconds of the run", "{:,.0f}"),
    ("list_price_usd", "The VM at list price, dollars", "{:.4f}"),
)


def schedule_lines(history: dict[str, Any]) -> list[str]:
    """Return when runs are due and which did not come, in lines of text; ``history`` is what training_history_info returns."""
    schedule, missed = history.get("schedule"), history.get("missed") or []
    if not schedule:
        return ["no schedule: a run comes when somebody types site.yml"]
    lines = [f"{schedule['cron']} ({schedule['timezone']}), next {_utc(schedule['next']) or 'never'}"]
    return lines + ([f"DID NOT COME: {', '.join(missed)}"] if missed else [])


def _utc(text: str | None) -> str | None:
    """Return a time in UTC and to the second: Google writes Compute's in California's."""
    if not text:
        return None
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def history_rows(outcomes: list[Outcome]) -> list[list[str]]:
    """Return the cells of each outcome, the newest first; "-" for what is not known."""
    return [[_cell(run) for _cell in CELLS] for run in reversed(outcomes)]


def history_lines(outcomes: list[Outcome]) -> list[str]:
    """Return the table as lines."""
    rows = history_rows(outcomes)
    if not rows:
        return ["no run has ended yet"]
    widths = [max(len(row[column]) for row in [HEADER, *rows]) for column in range(len(HEADER))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [HEADER, *rows]
    ]


def history_curves(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return {"title", "low", "high", "points", "dots"} of everything that has figures, in units of an SVG of 640 x 160."""
    curves = []
    for member, title, form in CURVES:
        known = [run for run in outcomes if run.get(member) is not None and run["result"] != "nothing new"]
        if not known:
            continue
        values = [float(run[member]) for run in known]
        low, high = min(values), max(values)
        step = (WIDTH - 2 * MARGIN) / max(1, len(known) - 1)
        span = (high - low) or 1.0
        dots = [
            {
                "x": round(MARGIN + number * step, 1),
                "y": round(HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN), 1),
                "text": f"{run['ended']}: {form.format(value)} ({run['result']})",
                "result": run["result"],
            }
            for number, (run, value) in enumerate(zip(known, values, strict=True))
        ]
        points = " ".join(f"{dot['x']},{dot['y']}" for dot in dots)
        curves.append(
            {"title": title, "low": form.format(low), "high": form.format(high), "points": points, "dots": dots}
        )
    return curves


def _known(member: str, form: str) -> Any:
    return lambda run: "-" if run.get(member) is None else form.format(run[member])


CELLS = (
    lambda run: run["ended"].replace("T", " ").removesuffix("Z"),
    lambda run: run["result"],
    _known("accuracy", "{:.2%}"),
    _known("rows", "{:,}"),
    _known("seconds", "{}"),
    _known("list_price_usd", "{:.4f}"),
    lambda run: run["trigger"],
    lambda run: run["message"] or run["why"] or "-",
)


class FilterModule:
    """Makes the functions filters."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "schedule_lines": schedule_lines,
            "history_rows": history_rows,
            "history_lines": history_lines,
            "history_curves": history_curves,
        }
