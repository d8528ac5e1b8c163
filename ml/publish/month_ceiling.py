# SPDX-License-Identifier: GPL-3.0-or-later
"""The month's ceiling on the VM: may this training go on? Known are the outcomes of the month's runs, and this machine.

Starts that left no outcome (somebody looked around on the VM) are not known here; the controller, which asks Google, counts them too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from ml.bucket import Bucket
from ml.core import spending
from ml.core.spending import Rates, Use
from ml.forest.machine_types import price_document
from ml.publish.this_machine import Machine


class MonthCeiling:
    """What VMs may cost this month, compared with what they have cost; the time is passed in for tests."""

    def __init__(
        self,
        dollars: Decimal,
        earlier: list[Use],
        machine: Machine,
        workers: int,
        rates: Rates,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dollars, self._earlier, self._rates, self._clock = dollars, earlier, rates, clock
        booted = clock() - machine.up_seconds
        self._own = Use(machine.name, machine.machine_type, machine.zone, booted, booted)
        self._workers = workers
        self._asked: float | None = None
        self._longest = 0.0

    def partition_refusal(self, predicted: float, jobs: int) -> str | None:
        """Return why the next partition would pass the ceiling; ``predicted`` seconds each, ``jobs`` of them at a time.

        Asked before each one, it learns how long they really take.
        """
        now = self._clock()
        if self._asked is not None:
            self._longest = max(self._longest, (now - self._asked) * jobs)
        self._asked = now
        return self.refusal(max(predicted, self._longest))

    def refusal(self, seconds: float = 0) -> str | None:
        """Return why going on for ``seconds`` would pass the ceiling, an end in order included; None where it would not."""
        now = self._clock()
        so_far, until = replace(self._own, ended=now), now + seconds + spending.ENDING_SECONDS
        ahead = replace(self._own, began=now, ended=until)
        uses = [*self._earlier, so_far, *spending.workers_of(so_far, self._workers)]
        more = [ahead, *spending.workers_of(ahead, self._workers)]
        return spending.refusal(uses, more, self._dollars, now, self._rates)


def open_ceiling(dollars: float, bucket: Bucket, machine: Machine, workers: int) -> MonthCeiling:
    """Return the ceiling, with what the outcomes in the bucket say of this month. Raises BucketError."""
    began, _ = spending.month_bounds(time.time())
    found = [
        json.loads(bucket.read(item.name, item.generation))
        for item in bucket.objects("runs/")
        if item.name.endswith("/outcome.json") and item.updated >= began
    ]
    earlier = spending.of_outcomes(found, machine.zone)
    return MonthCeiling(Decimal(str(dollars)), earlier, machine, workers, Rates.of(price_document()))
