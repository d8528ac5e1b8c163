# SPDX-License-Identifier: GPL-3.0-or-later
"""The 15-dimension encoding of a match context.

Four numbers as they are, one indicator a zone, one indicator an event. No event at all is the zero vector, so "None"
has no column. Training and serving both call the functions below; there is no second implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .context import EVENTS, ZONES, Context

NUMBERS: tuple[str, ...] = ("match_minute", "score_diff", "temperature", "crowd_density")
COLUMNS: tuple[str, ...] = (
    *NUMBERS,
    *(f"zone_{zone}" for zone in ZONES),
    *(f"event_{event}" for event in EVENTS if event != "None"),
)

Features = NDArray[np.float32]

_ZONE_COLUMN = {zone: COLUMNS.index(f"zone_{zone}") for zone in ZONES}
_EVENT_COLUMN = {event: COLUMNS.index(f"event_{event}") for event in EVENTS if event != "None"}


@dataclass(frozen=True)
class ContextArrays:
    """Many contexts, one array a member; all of length n.

    ``zone`` and ``event`` hold positions in ``ml.core.context.ZONES`` and ``ml.core.context.EVENTS`` (0 = "None").
    """

    match_minute: NDArray[np.int64]  # minutes
    score_diff: NDArray[np.int64]  # goals, home minus visitors
    temperature: NDArray[np.float64]  # degrees Celsius
    crowd_density: NDArray[np.float64]  # share of the seats, 0-1
    zone: NDArray[np.int64]
    event: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.match_minute)

    def context(self, row: int) -> Context:
        """Return one row as a context."""
        return Context(
            match_minute=int(self.match_minute[row]),
            score_diff=int(self.score_diff[row]),
            temperature=float(self.temperature[row]),
            crowd_density=float(self.crowd_density[row]),
            zone=ZONES[self.zone[row]],
            event=EVENTS[self.event[row]],
        )


def encode_arrays(contexts: ContextArrays) -> Features:
    """Return the features of ``contexts``, float32 of shape (n, 15), columns as in ``COLUMNS``."""
    rows = len(contexts)
    features = np.zeros((rows, len(COLUMNS)), dtype=np.float32)
    for column, name in enumerate(NUMBERS):
        features[:, column] = getattr(contexts, name)
    features[np.arange(rows), len(NUMBERS) + contexts.zone] = 1
    happened = np.flatnonzero(contexts.event)
    features[happened, len(NUMBERS) + len(ZONES) - 1 + contexts.event[happened]] = 1
    return features


def encode(contexts: Sequence[Context]) -> Features:
    """Return the features of validated contexts, float32 of shape (n, 15), columns as in ``COLUMNS``."""
    features = np.zeros((len(contexts), len(COLUMNS)), dtype=np.float32)
    features[:, : len(NUMBERS)] = [
        (context["match_minute"], context["score_diff"], context["temperature"], context["crowd_density"])
        for context in contexts
    ] or np.empty((0, len(NUMBERS)))
    for row, context in enumerate(contexts):
        features[row, _ZONE_COLUMN[context["zone"]]] = 1
        column = _EVENT_COLUMN.get(context["event"])
        if column is not None:
            features[row, column] = 1
    return features
