# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of a module's options: for each one its place in Google's resource, and how it reads there.

Comparison, request bodies and check mode's prediction follow from the table, so a new option is one line of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


def same(value: Any) -> Any:
    """The value as it is."""
    return value


def texts(values: dict[str, Any] | None) -> dict[str, str] | None:
    """Labels or variables as Google keeps them: texts."""
    return None if values is None else {key: str(value) for key, value in values.items()}


@dataclass(frozen=True)
class Field:
    """One option that describes a resource; None means that it is not managed."""

    option: str
    #: Where Google keeps it: names and list positions with dots between.
    path: str
    #: What it means that Google returns nothing there.
    missing: Any = None
    #: From Google's form to the option's, from the option's to Google's, and from what a person writes to what is compared.
    read: Callable[[Any], Any] = same
    write: Callable[[Any], Any] = same
    normalize: Callable[[Any], Any] = same

    def wanted(self, options: dict[str, Any]) -> Any:
        """What the options ask for, None if nothing."""
        value = options[self.option]
        return None if value is None else self.normalize(value)

    def view(self, current: dict[str, Any]) -> Any:
        """What Google has, as the option would say it."""
        found: Any = current
        for part in self.path.split("."):
            here = dict(enumerate(found)) if isinstance(found, list) else found or {}
            found = here.get(int(part) if part.isdigit() else part)
        return self.missing if found in (None, "", []) else self.read(found)

    def put(self, body: dict[str, Any], value: Any, path: str = "") -> None:
        """Write a value of ``wanted`` into a request body, at ``path`` where that is not the field's own."""
        parts = (path or self.path).split(".")
        place: Any = body
        for part, following in pairwise(parts):
            empty: Any = [{}] if following == "0" else {}
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, empty)
        place[parts[-1]] = self.write(value)


def wanted(fields: Collection[Field], options: dict[str, Any]) -> dict[str, Any]:
    """What the options ask for, by option."""
    return {field.option: field.wanted(options) for field in fields}


def view(fields: Collection[Field], current: dict[str, Any]) -> dict[str, Any]:
    """What Google has, by option."""
    return {field.option: field.view(current) for field in fields}


def body(fields: Collection[Field], options: dict[str, Any], only: Collection[str] | None = None) -> dict[str, Any]:
    """Every option that is given, or those of ``only``, as Google wants them in a request."""
    result: dict[str, Any] = {}
    for field in fields:
        value = field.wanted(options)
        if value is not None and (only is None or field.option in only):
            field.put(result, value)
    return result
