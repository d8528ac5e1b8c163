# SPDX-License-Identifier: GPL-3.0-or-later
"""The sponsor catalogue, read from ``sponsors.json`` (standard library only)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CATALOGUE_FILE = Path(__file__).with_name("sponsors.json")


@dataclass(frozen=True)
class Sponsor:
    """One sponsor: its name, its branch, and the line that the screens show."""

    name: str
    category: str
    campaign_message: str


def read_catalogue(path: Path = CATALOGUE_FILE) -> dict[str, Sponsor]:
    """Return the sponsors by name, in the order of the file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {entry["name"]: Sponsor(**entry) for entry in document["sponsors"]}


CATALOGUE: dict[str, Sponsor] = read_catalogue()

# The class index of a sponsor is its place in this order: sorted, as scikit-learn sorts the labels it is given.
CLASSES: tuple[str, ...] = tuple(sorted(CATALOGUE))
