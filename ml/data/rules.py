# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would be shown when: the distribution P(sponsor | context) that the synthetic data follow.

A sponsor collects the points of every rule whose signals are all present. A point doubles its odds:

    P(sponsor | context) = (1 - ROTATION) * 2**points / sum of 2**points + ROTATION / sponsors

so a lead of one point is a coin that lands 2 : 1, and a lead of four points is close to certain. One slot in a hundred
is rotated through all sponsors whatever happens, as contracts ask for. Because the distribution is known, so is
the best accuracy that any model can have on it (``ml.data.synthetic.bayes_accuracy``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ml.core.schema import Schema
from ml.data.file_kind import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROTATION = 0.01

#: The fields that the rules read, and how often each value of a choice occurs.
NUMBERS = ("match_minute", "score_diff", "temperature", "crowd_density")
SHARES: dict[str, dict[str, float]] = {
    "zone": {"VIP": 0.16, "North": 0.21, "South": 0.21, "East": 0.21, "West": 0.21},
    "event": {
        "None": 0.28, "Goal": 0.15, "Card": 0.13, "VAR": 0.10, "Halftime": 0.12, "Kickoff": 0.11, "FinalWhistle": 0.11,
    },
}  # fmt: skip


class Drawn:
    """Many drawn contexts: an array for each field. ``shows`` says where a choice has one of some values."""

    def __init__(self, schema: Schema, arrays: dict[str, NDArray[Any]]) -> None:
        self._schema = schema
        self.arrays = arrays

    def __getattr__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def shows(self, field: str, *names: str) -> NDArray[np.bool_]:
        """Say for each row whether ``field`` has one of ``names``; those that the schema does not have never occur."""
        places = self._schema.places[field]
        found: NDArray[np.bool_] = self.arrays[field] < 0
        for name in names:
            found = found | (self.arrays[field] == places.get(name, -1))
        return found


Signal = Callable[[Drawn], "NDArray[np.bool_]"]


class Rule(NamedTuple):
    """``points`` for ``sponsor`` where all of the ``signals`` (names in SIGNALS, separated by blanks) are present."""

    sponsor: str
    points: int
    signals: str = ""


def _zone(*names: str) -> Signal:
    return lambda contexts: contexts.shows("zone", *names)


def _event(name: str) -> Signal:
    return lambda contexts: contexts.shows("event", name)


SIGNALS: dict[str, Signal] = {
    # weather, degrees Celsius
    "cold": lambda c: c.temperature < 14,
    "mild": lambda c: (c.temperature >= 14) & (c.temperature < 28),
    "hot": lambda c: c.temperature >= 28,
    # share of the seats that are taken
    "sparse": lambda c: c.crowd_density < 0.35,
    "packed": lambda c: c.crowd_density >= 0.75,
    # the clock, minutes
    "opening": lambda c: c.match_minute < 15,
    "middle": lambda c: (c.match_minute >= 15) & (c.match_minute < 75),
    "late": lambda c: c.match_minute >= 75,
    # the score, seen from the home team
    "leading": lambda c: c.score_diff > 0,
    "level": lambda c: c.score_diff == 0,
    "trailing": lambda c: c.score_diff < 0,
    "tight": lambda c: abs(c.score_diff) <= 1,
    "rout": lambda c: abs(c.score_diff) >= 3,
    # where the screens are: behind the goals (where people sing), or along the pitch (where families sit)
    "vip": _zone("VIP"),
    "north": _zone("North"),
    "south": _zone("South"),
    "east": _zone("East"),
    "west": _zone("West"),
    "ends": _zone("North", "South"),
    "sides": _zone("East", "West"),
    # what has just happened
    "goal": _event("Goal"),
    "card": _event("Card"),
    "var": _event("VAR"),
    "halftime": _event("Halftime"),
    "kickoff": _event("Kickoff"),
    "finalwhistle": _event("FinalWhistle"),
}

RULES: tuple[Rule, ...] = (
    # Drinks: water for the heat, most of all late and in the eastern stand's evening sun; cola for the break and a
    # full end.
    Rule("Sidi Ali", 4),
    Rule("Sidi Ali", 10, "hot"),
    Rule("Sidi Ali", 4, "hot late"),
    Rule("Sidi Ali", 5, "hot east"),
    Rule("Coca-Cola", 5),
    Rule("Coca-Cola", 6, "ends"),
    Rule("Coca-Cola", 9, "ends packed"),
    Rule("Coca-Cola", 9, "halftime"),
    Rule("Coca-Cola", 3, "hot packed"),
    # Food: families at half-time, a cold day, and the way out on the western side, where the grills are.
    Rule("Koutoubia", 3),
    Rule("Koutoubia", 20, "halftime sides"),
    Rule("Koutoubia", 7, "halftime cold"),
    Rule("Koutoubia", 14, "cold west"),
    Rule("Koutoubia", 16, "finalwhistle west"),
    # Telecoms: replays on the phone while the referee looks; Inwi has the north end, Orange a full south end.
    Rule("Orange", 4),
    Rule("Orange", 19, "var"),
    Rule("Orange", 18, "late packed south"),
    Rule("Orange", 13, "late tight sides"),
    Rule("Inwi", 4),
    Rule("Inwi", 24, "var north"),
    Rule("Inwi", 14, "var sparse"),
    Rule("Inwi", 11, "opening north"),
    Rule("Inwi", 11, "ends sparse"),
    # Apparel: Puma with the winning side and the late winner, Adidas with the comeback and the restart.
    Rule("Puma", 13, "goal"),
    Rule("Puma", 5, "goal leading"),
    Rule("Puma", 12, "goal late ends"),
    Rule("Puma", 19, "kickoff south"),
    Rule("Adidas", 20, "goal trailing"),
    Rule("Adidas", 17, "goal level"),
    Rule("Adidas", 15, "goal rout"),
    Rule("Adidas", 13, "kickoff"),
    # Cars: families along the pitch, in the quiet part of the match and whenever it stops there.
    Rule("Hyundai", 4),
    Rule("Hyundai", 7, "sides"),
    Rule("Hyundai", 4, "sides middle mild"),
    Rule("Hyundai", 14, "sides card"),
    Rule("Hyundai", 12, "sides kickoff"),
    # Institution: fair play, the handshake, a match that is decided, a cold day at the ends.
    Rule("OCP", 5),
    Rule("OCP", 11, "card"),
    Rule("OCP", 12, "finalwhistle"),
    Rule("OCP", 15, "rout"),
    Rule("OCP", 12, "ends cold"),
    # The VIP stand: the bank by default, the card when people celebrate or are many, the airline when they think of
    # leaving.
    Rule("CDG", 3),
    Rule("CDG", 8, "vip"),
    Rule("CDG", 8, "vip sparse"),
    Rule("CDG", 11, "vip card"),
    Rule("CDG", 20, "vip var trailing"),
    Rule("Visa", 24, "vip goal"),
    Rule("Visa", 18, "vip halftime"),
    Rule("Visa", 16, "vip packed"),
    Rule("Royal Air Maroc", 3),
    Rule("Royal Air Maroc", 17, "vip late"),
    Rule("Royal Air Maroc", 15, "vip cold"),
    Rule("Royal Air Maroc", 17, "finalwhistle leading"),
)


def unknown(schema: Schema) -> list[str]:
    """Return what of a schema no rule knows: fields, values and sponsors. Without rows of one's own nothing can show them."""
    found = []
    for field in schema.fields:
        if field.name in SHARES and field.kind is str:
            found += [f"{field.name} {value}" for value in field.values if value not in SHARES[field.name]]
        elif field.name not in NUMBERS or field.kind is str:
            found.append(f"the field {field.name}")
    found += [f"the field {name} is not there" for name in (*NUMBERS, *SHARES) if name not in schema.names]
    ruled = {rule.sponsor for rule in RULES}
    return found + [f"{schema.target.name} {name}" for name in schema.classes if name not in ruled]


def check(schema: Schema) -> None:
    """Raise DataError if no synthetic rows can be drawn for a schema."""
    if missing := unknown(schema):
        shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        raise DataError(
            f"no rule draws synthetic rows for {shown}: bring training_data (--data) with rows that show them"
        )
