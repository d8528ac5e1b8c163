# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a site: who may change its VM, its releases and its function now.

It is an object in the bucket, made with ``ifGenerationMatch=0``. A controller holds it by a lease that it renews. While a training is
on, the VM holds it as well, by a lease of its own under the same token: so the lock outlives a controller that is gone, until the
training ends.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass, replace

PATH = "locks/site.json"
LEASE_SECONDS, RENEW_SECONDS = 180, 45
#: What two clocks may differ by before a lease is taken for lapsed.
SKEW_SECONDS = 30


@dataclass(frozen=True)
class SiteLock:
    """``token`` is its run's secret name; times are RFC 3339.

    ``until`` is the end of the controller's lease; ``run`` is the training that the VM is busy with, ``run_until`` the end of its lease.
    Each is "" where that side does not hold the lock.
    """

    token: str
    holder: str
    purpose: str
    since: str
    until: str = ""
    run: str = ""
    run_until: str = ""

    def lapsed(self, now: datetime.datetime) -> bool:
        """Whether neither side has renewed it in time."""
        return not (_lasts(self.until, now) or _lasts(self.run_until, now))

    def without_a_controller(self, now: datetime.datetime) -> bool:
        """Whether only its training holds it: whoever means that training may go on with it."""
        return not _lasts(self.until, now)

    def renewed(self, now: datetime.datetime) -> SiteLock:
        """It, with another lease for the controller."""
        return replace(self, until=_later(now))

    def training(self, run: str, now: datetime.datetime) -> SiteLock:
        """It, with another lease for the VM, which is busy with ``run``."""
        return replace(self, run=run, run_until=_later(now))

    def without_controller(self, now: datetime.datetime) -> SiteLock | None:
        """What is left of it when the controller has ended: None unless a training goes on."""
        return replace(self, until="") if _lasts(self.run_until, now) else None

    def without_training(self, now: datetime.datetime) -> SiteLock | None:
        """What is left of it when the training has ended: None unless a controller goes on."""
        return replace(self, run="", run_until="") if _lasts(self.until, now) else None

    def refusal(self) -> str:
        """What whoever comes second is told, in one line."""
        what = f"training {self.run}, begun by {self.purpose}," if self.run else self.purpose
        end = max(self.until, self.run_until)
        return f"{self.holder} has held this site since {self.since} for {what} (until {end}, unless that is renewed)"

    def to_bytes(self) -> bytes:
        """As the object's content."""
        return json.dumps(asdict(self), indent=1).encode()


REMEDY = "Wait until it has ended, or end it with playbooks/stop_vm.yml."


def taken(token: str, holder: str, purpose: str, now: datetime.datetime) -> SiteLock:
    """A lock that begins now; nobody holds it before it is ``renewed`` or for a ``training``."""
    return SiteLock(token, holder, purpose, now.isoformat(timespec="seconds"))


def parse(content: bytes | None) -> SiteLock | None:
    """The lock in an object's content; None for no object, or one that is no lock."""
    try:
        return SiteLock(**json.loads(content)) if content else None
    except (ValueError, TypeError):
        return None


def _later(now: datetime.datetime) -> str:
    return (now + datetime.timedelta(seconds=LEASE_SECONDS)).isoformat(timespec="seconds")


def _lasts(until: str, now: datetime.datetime) -> bool:
    return bool(until) and now <= datetime.datetime.fromisoformat(until) + datetime.timedelta(seconds=SKEW_SECONDS)
