# SPDX-License-Identifier: GPL-3.0-or-later
"""The match context: the one schema that the generator, the encoding, the function and the tests share.

Standard library only, so that everything may import it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

ZONES: tuple[str, ...] = ("VIP", "North", "South", "East", "West")
EVENTS: tuple[str, ...] = ("None", "Goal", "Card", "VAR", "Halftime", "Kickoff", "FinalWhistle")

_SHOWN = 80  # characters of a refused value that a message repeats


class Context(TypedDict):
    """A complete, valid match context."""

    match_minute: int
    score_diff: int
    temperature: float
    crowd_density: float
    zone: str
    event: str


@dataclass(frozen=True)
class Field:
    """One member of the context: what it means and which values it may have."""

    name: str
    description: str
    kind: type[int] | type[float] | type[str]
    default: int | float | str | None  # None: the member is required
    minimum: float = 0
    maximum: float = 0
    values: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The accepted values, in words."""
        if self.kind is str:
            return "one of " + ", ".join(self.values)
        what = "an integer" if self.kind is int else "a number"
        return f"{what} from {self.minimum:g} to {self.maximum:g}"


FIELDS: tuple[Field, ...] = (
    Field("match_minute", "minute of play, extra time included", int, 0, 0, 120),
    Field("score_diff", "goals of the home team minus goals of the visitors", int, 0, -10, 10),
    Field("temperature", "air temperature in degrees Celsius", float, 20.0, -30, 60),
    Field("crowd_density", "share of the seats that are taken", float, 0.5, 0, 1),
    Field("zone", "part of the stadium whose screens are meant", str, None, values=ZONES),
    Field("event", "what has just happened on the pitch", str, "None", values=EVENTS),
)
_NAMES = frozenset(field.name for field in FIELDS)


@dataclass(frozen=True)
class Problem:
    """Why one member of a context was refused."""

    field: str
    detail: str
    allowed: str
    sent: str | None  # None: the member was missing

    def as_dict(self) -> dict[str, str | None]:
        """Return the members of this problem, as a problem+json document lists them."""
        return {"field": self.field, "detail": self.detail, "allowed": self.allowed, "sent": self.sent}


class ContextError(ValueError):
    """A context that cannot be used; ``problems`` names every member that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.detail for problem in problems))
        self.problems = problems


def validate(raw: Any, prefix: str = "") -> Context:
    """Return the complete context that ``raw`` describes, with the defaults filled in.

    An optional member that is null counts as absent. A number with no fraction is an integer, whether it was written
    as 45 or 45.0: JSON has only one kind of number. ``prefix`` is put before the field names in the problems
    (``instances[3].``).

    Raises ContextError, which lists everything that is wrong and not only the first thing.
    """
    if not isinstance(raw, Mapping):
        detail = f"{prefix.rstrip('.') or 'the context'} must be an object with the member zone, got {_show(raw)}"
        raise ContextError([Problem(prefix.rstrip("."), detail, "an object", _show(raw))])
    problems: list[Problem] = []
    context: dict[str, int | float | str] = {}
    for field in FIELDS:
        value = raw.get(field.name)
        if value is None:
            if field.default is None:
                detail = f"{prefix}{field.name} is required: send {field.allowed}"
                problems.append(Problem(prefix + field.name, detail, field.allowed, None))
            else:
                context[field.name] = field.default
            continue
        accepted = _accept(field, value)
        if accepted is None:
            detail = f"{prefix}{field.name} must be {field.allowed}, got {_show(value)}"
            problems.append(Problem(prefix + field.name, detail, field.allowed, _show(value)))
        else:
            context[field.name] = accepted
    if unknown := [name for name in raw if name not in _NAMES]:
        allowed = "only " + ", ".join(field.name for field in FIELDS)
        for name in unknown[:10]:
            shown = str(name)[:_SHOWN]
            sent = _show(raw[name])
            detail = f"{prefix}{shown} is not a member of a context: send {allowed}; got {sent}"
            problems.append(Problem(prefix + shown, detail, allowed, sent))
    if problems:
        raise ContextError(problems)
    return context  # type: ignore[return-value]  # every member was checked above


def _accept(field: Field, value: Any) -> int | float | str | None:
    """Return ``value`` in the field's type, or None if it is not acceptable."""
    if field.kind is str:
        return value if isinstance(value, str) and value in field.values else None
    # bool is an int to Python, but not to a person who sends true for a minute
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # the order matters: an integer of a thousand digits compares, but does not convert to a float
    if not field.minimum <= value <= field.maximum:
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    if field.kind is int:
        return int(number) if number.is_integer() else None
    return number + 0.0  # -0.0 becomes 0.0


def _show(value: Any) -> str:
    """Return a short form of a refused value for a message."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return f"an integer of more than {_SHOWN} digits"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
