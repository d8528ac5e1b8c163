# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wrote in a cell, as a value of a field: 24,5 or 90+3 or "half time". Standard library only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from ml.core.schema import MINUTE, Field

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_ADDED_TIME = re.compile(r"([0-9]{1,3})(?:\s*\+\s*([0-9]{1,2}))?\s*['’′]?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_MISSING = frozenset({"", "na", "n/a", "nan", "null"})
_FILLERS = re.compile(r"[\s_\-\ufeff\u200b]+")
_TOTAL = re.compile(r"\W*(total|totals|sum|sub-?total|average|mean|somme|moyenne|gesamt|summe)\b", re.IGNORECASE)


class ValueProblem(ValueError):
    """A cell that cannot be used; the message says what it must be."""


def key(text: str) -> str:
    """Return what of a name counts: not its case, blanks, ``_`` and ``-``."""
    return _FILLERS.sub("", text).casefold()


class Values(dict[object, float | None]):
    """The values that the cells of one field mean: a number, or the place of a name in ``field.values``.

    A cell is read once, the next time it is looked up. None is a cell that cannot be used; ``explain`` says why.
    """

    LARGEST = 65_536

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self._places: dict[str, int] = {}
        for place, value in enumerate(field.values):
            # two names that differ in blanks only are told apart by them
            self._places[value if key(value) in self._places else key(value)] = place

    def __missing__(self, cell: object) -> float | None:
        if len(self) >= self.LARGEST:
            self.clear()
        try:
            value: float | None = self._read(cell)
        except ValueProblem:
            value = None
        self[cell] = value
        return value

    def explain(self, cell: object) -> str:
        """Return why ``cell`` cannot be used, and what would do."""
        try:
            self._read(cell)
        except ValueProblem as problem:
            return str(problem)
        return "cannot be used"

    def _read(self, cell: object) -> float:
        field = self.field
        if isinstance(cell, (bytes, bytearray)):
            cell = cell.decode("utf-8", "surrogateescape")
        text = "" if cell is None else str(cell).strip().strip("\ufeff\u200b")
        if field.kind is str and (place := self._place(text)) is not None:
            return place
        if text.casefold() in _MISSING:
            if field.kind is str and field.default is not None:
                return field.values.index(str(field.default))
            raise ValueProblem(f"is missing, it must be {field.allowed}")
        if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueProblem("is not UTF-8 (Latin-1?): save the file as UTF-8")
        if field.kind is str:
            near = difflib.get_close_matches(text, field.values, 1)
            raise ValueProblem(f"must be {field.allowed}" + (f"; did you mean {near[0]}?" if near else ""))
        if isinstance(cell, bool):
            raise ValueProblem(f"must be {field.allowed}")
        value = float(cell) if isinstance(cell, (int, float, Decimal)) else self._number(text)
        if not field.minimum <= value <= field.maximum or (field.kind is int and value != int(value)):
            raise ValueProblem(f"must be {field.allowed}")
        return value

    def _place(self, text: str) -> int | None:
        return self._places.get(text, self._places.get(key(text)))

    def _number(self, text: str) -> float:
        field = self.field
        text = text.replace("\N{MINUS SIGN}", "-")
        if field.unit == MINUTE and (added := _ADDED_TIME.fullmatch(text)):
            return float(int(added[1]) + int(added[2] or 0))
        if _THOUSANDS.fullmatch(text):
            readings = [float(text.replace(",", ""))] + [float(text.replace(",", "."))] * (text.count(",") == 1)
            fit = [reading for reading in readings if field.minimum <= reading <= field.maximum]
            if len(fit) > 1:
                raise ValueProblem(f"can mean {fit[0]:g} or {fit[1]:g}: write it with a point, or without a comma")
            return (fit or readings)[0]
        if text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        if not _NUMBER.fullmatch(text):
            raise ValueProblem(f"must be {field.allowed}")
        return float(text)


def match_columns(names: Iterable[object], fields: Sequence[Field]) -> tuple[dict[str, int], list[str]]:
    """Return the place of each field's column, and what is wrong: columns that are missing or occur twice."""
    texts = [str(name or "").strip().strip("\ufeff\"'") for name in names]
    keys = [key(text) for text in texts]
    places: dict[str, int] = {}
    faults = []
    for field in fields:
        found = [place for place, text in enumerate(keys) if text == key(field.name)]
        if len(found) == 1:
            places[field.name] = found[0]
        elif found:
            faults.append(f"column {field.name} occurs {len(found)} times: {', '.join(texts[i] for i in found)}")
        else:
            near = difflib.get_close_matches(field.name, dict.fromkeys(texts), 3)
            faults.append(f"column {field.name} is missing" + (f"; the closest is {', '.join(near)}" if near else ""))
    if not places and faults:
        faults = [f"none of the columns {', '.join(field.name for field in fields)} is there"]
    return places, faults


def looks_like_total(cells: Iterable[object]) -> bool:
    """Say whether a row that cannot be used is the sum that a spreadsheet puts below its rows."""
    return any(_TOTAL.match(str(cell)) for cell in cells if cell)
