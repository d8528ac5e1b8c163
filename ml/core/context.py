# SPDX-License-Identifier: GPL-3.0-or-later
"""One match context: the checks that turn what somebody sent into a complete, valid context. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .schema import Context, Field, Schema

SHOWN = 80  # characters of a name or a value that a message repeats


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


def validate(schema: Schema, raw: Any, prefix: str = "", ignored: set[str] | None = None) -> Context:
    """Return the complete context that ``raw`` describes, with the defaults filled in.

    An optional member that is null counts as absent. A number with no fraction is an integer, whether it was written
    as 45 or 45.0: JSON has only one kind of number. ``prefix`` is put before the field names in the problems
    (``instances[3].``). Members that the schema does not know are added to ``ignored``; where that is None, they are wrong.

    Raises ContextError, which lists everything that is wrong and not only the first thing.
    """
    if not isinstance(raw, Mapping):
        needed = ", ".join(field.name for field in schema.required)
        what = f"an object with the member {needed}" if needed else "an object"
        detail = f"{prefix.rstrip('.') or 'the context'} must be {what}, got {_show(raw)}"
        raise ContextError([Problem(prefix.rstrip("."), detail, "an object", _show(raw))])
    problems: list[Problem] = []
    context: Context = {}
    known = 0
    for field in schema.fields:
        value = raw.get(field.name)
        if value is None:
            known += field.name in raw
            if field.default is None:
                problems.append(_missing(schema, field, raw, prefix))
            else:
                context[field.name] = field.default
            continue
        known += 1
        accepted = _accept(field, value)
        if accepted is None:
            detail = f"{prefix}{field.name} must be {field.allowed}, got {_show(value)}"
            problems.append(Problem(prefix + field.name, detail, field.allowed, _show(value)))
        else:
            context[field.name] = accepted
    if known < len(raw):
        unknown = [name for name in raw if name not in schema.names]
        if ignored is None:
            problems += _unknown(schema, raw, unknown[:10], prefix)
        else:
            ignored.update(unknown)
    if problems:
        raise ContextError(problems)
    return context


def near_misses(schema: Schema, names: Iterable[str]) -> list[tuple[str, str]]:
    """Return those of ``names`` that look like the name of a field, each with that."""
    import difflib

    fields = {_key(field.name): field.name for field in schema.fields}
    found = []
    for name in names:
        near = difflib.get_close_matches(_key(name[:SHOWN]), fields, 1, 0.75)
        found += [(name[:SHOWN], fields[near[0]])] if near else []
    return found


def _key(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").casefold()


def _missing(schema: Schema, field: Field, raw: Mapping[str, Any], prefix: str) -> Problem:
    unknown = [str(name) for name in raw if name not in schema.names]
    near = [sent for sent, meant in near_misses(schema, unknown[:20]) if meant == field.name]
    hint = f"; did you mean it by {near[0]}?" if near else ""
    detail = f"{prefix}{field.name} is required: send {field.allowed}{hint}"
    return Problem(prefix + field.name, detail, field.allowed, None)


def _unknown(schema: Schema, raw: Mapping[str, Any], names: Iterable[str], prefix: str) -> Iterable[Problem]:
    allowed = "only " + ", ".join(field.name for field in schema.fields)
    for name in names:
        shown = str(name)[:SHOWN]
        sent = _show(raw[name])
        detail = f"{prefix}{shown} is not a member of a context: send {allowed}; got {sent}"
        yield Problem(prefix + shown, detail, allowed, sent)


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
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return f"an integer of more than {SHOWN} digits"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
