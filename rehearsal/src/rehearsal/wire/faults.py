# SPDX-License-Identifier: GPL-3.0-or-later
"""Planned trouble: the N-th call of a method fails, is slow, or its answer is lost.

A plan is accounted for: one that never fired is reported, since a test of a fault that did not happen proves nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from rehearsal.store import Store

ACTIONS = ("429", "500", "503", "rate-limit", "activation", "drop", "drop-request", "slow")


@dataclass
class Fault:
    """`times` calls of `method` (a glob over method ids), from the `nth` matching one on, meet `action`.

    `drop` handles the call and loses the answer, `drop-request` loses the request unhandled, `slow` waits `seconds`;
    a number is the HTTP status that is answered instead; `rate-limit` is Compute Engine's, a 403, and `activation` Service Usage's
    400 while another change of the project's APIs is under way.
    """

    method: str
    action: str
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    seen: int = 0
    fired: int = 0

    @property
    def spent(self) -> bool:
        """Whether the plan has fired as often as it was to."""
        return self.fired >= self.times


class Faults:
    """The plans, kept in the store so that the command line and the gateway share them."""

    KIND = "faults"

    def __init__(self, store: Store) -> None:
        self.store = store

    def plan(self, fault: Fault) -> int:
        """Remember the plan; return its number."""
        number = self.store.next_number(self.KIND)
        self.store.put(self.KIND, f"{number:06}", asdict(fault))
        return number

    def plans(self) -> list[tuple[int, Fault]]:
        """Return every plan with its number, oldest first."""
        return [(int(key), Fault(**value)) for key, value in self.store.list(self.KIND)]

    def unfired(self) -> list[tuple[int, Fault]]:
        """Return the plans that have not fired as often as they were to."""
        return [(number, fault) for number, fault in self.plans() if not fault.spent]

    def clear(self) -> int:
        """Forget every plan; return how many there were."""
        return sum(self.store.delete(self.KIND, key) for key, _ in self.store.list(self.KIND))

    def planned_for(self, method_id: str) -> Fault | None:
        """Count one call of the method; return the fault that is planned for it, if any."""
        with self.store.lock:
            due: Fault | None = None
            for number, fault in self.plans():
                if not fnmatchcase(method_id, fault.method):
                    continue
                fault.seen += 1
                if due is None and fault.seen >= fault.nth and not fault.spent:
                    fault.fired += 1
                    due = fault
                self.store.put(self.KIND, f"{number:06}", asdict(fault))
            return due
