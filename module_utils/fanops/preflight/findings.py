# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight found, and how a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: More names than these do not help anybody.
NAMES_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """One defect: which check saw it, what is wrong, and the exact command (or setting) that mends it."""

    check: str
    found: str
    remedy: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.found}. Fix it: {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """For the module's result."""
        return {"check": self.check, "found": self.found, "remedy": self.remedy}


def summary(findings: Sequence[Finding]) -> str:
    """All findings as one line, numbered where there are several."""
    if len(findings) == 1:
        return findings[0].line
    numbered = (f"({number}) {finding.line}" for number, finding in enumerate(findings, 1))
    return f"{len(findings)} defects: {' '.join(numbered)}"


def names(values: Sequence[str]) -> str:
    """Names in a row, shortened where there are very many."""
    shown = ", ".join(values[:NAMES_SHOWN])
    return shown if len(values) <= NAMES_SHOWN else f"{shown} and {len(values) - NAMES_SHOWN} more"
