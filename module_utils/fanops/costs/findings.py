# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard found: what it is, what it would cost, how to avoid it or to allow it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.fanops.costs.prices import ZERO, Money, Prices, cents, dollars

ALLOW = "allow it with -e allow_billable=true (or allow_billable: true in inventory/group_vars/all/costs.yml)"


@dataclass(frozen=True)
class Finding:
    """One violation. ``costs`` is dollars a month at list price by resource, None where the price is not known.

    Two rules may speak of the same resource: sums count it once.
    """

    rule: str
    found: str
    avoid: str
    costs: dict[str, Money | None] = field(default_factory=dict)
    per: str = ""

    @property
    def month(self) -> Money | None:
        """Dollars a month, None when a part of it is not known."""
        amounts = list(self.costs.values())
        return None if None in amounts else sum((amount for amount in amounts if amount is not None), ZERO)

    @property
    def line(self) -> str:
        """For a person."""
        return f"[{self.rule}] {self.found}: {dollars(self.month)} a month{self.per}; to avoid it, {self.avoid}"

    def facts(self) -> dict[str, Any]:
        """For a playbook."""
        month = self.month
        return {
            "rule": self.rule,
            "found": self.found,
            "month": None if month is None else float(cents(month)),
            "avoid": self.avoid,
            "allow": ALLOW,
        }


def total(findings: list[Finding]) -> tuple[Money, bool]:
    """Dollars a month for all of them, each resource once; and whether a price was missing."""
    dearest: dict[str, Money] = {}
    missing = False
    for finding in findings:
        for resource, amount in finding.costs.items():
            missing = missing or amount is None
            dearest[resource] = max(dearest.get(resource, ZERO), amount or ZERO)
    return sum((cents(amount) for amount in dearest.values()), ZERO), missing


def together(findings: list[Finding], prices: Prices) -> str:
    """The sum, in words."""
    amount, missing = total(findings)
    return f"together {'at least ' if missing else ''}{dollars(amount)} a month at the list prices of {prices.as_of}"


def refusal(findings: list[Finding], prices: Prices) -> str:
    """All of it in one line: what was found, what it costs, how to avoid or to allow it."""
    what = ". ".join(finding.line for finding in findings)
    return (
        f"Nothing was changed, because this leaves Google's Always Free tier. {what}. "
        f"That is {together(findings, prices)}. If it is meant, {ALLOW}. {prices.ipv4_note}"
    )
