# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the wanted and the active state: the one source of ``changed`` and of ``diff``."""

from __future__ import annotations

from typing import Any


class Differences:
    """Collects (option, wanted, active) where they differ."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[Any, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._items)

    def __contains__(self, option: object) -> bool:
        return option in self._items

    @property
    def options(self) -> list[str]:
        """The names that differ, in the order they were found."""
        return list(self._items)

    def add(self, option: str, wanted: Any, active: Any) -> None:
        """Record a difference that needs no comparing."""
        self._items[option] = (wanted, active)

    def compare(self, wanted: dict[str, Any], active: dict[str, Any]) -> Differences:
        """Record what differs. A wanted None means "not managed"; so does a key missing from a wanted mapping.

        Lists are compared without regard to order: none of Google's fields used here has a meaning in its order.
        """
        for option, value in wanted.items():
            if value is None:
                continue
            found = active.get(option)
            if isinstance(value, dict) and isinstance(found, dict):
                # Only the keys asked for: other tools keep their own labels and metadata.
                found = {key: found[key] for key in value if key in found}
            if _comparable(value) != _comparable(found):
                self.add(option, value, found)
        return self

    def drop(self, option: str) -> None:
        """Forget a difference that will not be acted on."""
        self._items.pop(option, None)

    @property
    def before(self) -> dict[str, Any]:
        """The active values of what differs; what is not there is left out."""
        return {option: active for option, (_wanted, active) in self._items.items() if active is not None}

    @property
    def after(self) -> dict[str, Any]:
        """The wanted values of what differs; what shall not be there is left out."""
        return {option: wanted for option, (wanted, _active) in self._items.items() if wanted is not None}


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_comparable(item) for item in value), key=repr)
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    return value
