# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a site: who may change its VM, its releases and its function now.

It is an object in the bucket, made with ``ifGenerationMatch=0`` and held by a lease that its holder renews. While a training is on, the VM
renews it as well, under the same token and with ``run`` set: so it outlives a controller that was switched off, and no longer.
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
    """``token`` is its run's secret name; times are RFC 3339; ``run`` is the training that the VM is busy with, or ""."""

    token: str
    holder: str
    purpose: str
    since: str
    until: str
    run: str = ""

    def lapsed(self, now: datetime.datetime) -> bool:
        """Whether nobody has renewed it in time."""
        return now > datetime.datetime.fromisoformat(self.until) + datetime.timedelta(seconds=SKEW_SECONDS)

    def renewed(self, now: datetime.datetime, run: str | None = None) -> SiteLock:
        """It, for another lease; with ``run`` given, for or without a training."""
        return replace(self, until=_later(now), run=self.run if run is None else run)

    def refusal(self) -> str:
        """What whoever comes second is told, in one line."""
        what = f"training {self.run}, begun by {self.purpose}," if self.run else self.purpose
        return f"{self.holder} has held this site since {self.since} for {what} and still renews that"

    def to_bytes(self) -> bytes:
        """As the object's content."""
        return json.dumps(asdict(self), indent=1).encode()


REMEDY = "Wait until it has ended, or end it with playbooks/stop_vm.yml."


def taken(token: str, holder: str, purpose: str, now: datetime.datetime, run: str = "") -> SiteLock:
    """A lock that begins now."""
    return SiteLock(token, holder, purpose, now.isoformat(timespec="seconds"), _later(now), run)


def parse(content: bytes | None) -> SiteLock | None:
    """The lock in an object's content; None for no object, or one that is no lock."""
    try:
        return SiteLock(**json.loads(content)) if content else None
    except (ValueError, TypeError):
        return None


def _later(now: datetime.datetime) -> str:
    return (now + datetime.timedelta(seconds=LEASE_SECONDS)).isoformat(timespec="seconds")
