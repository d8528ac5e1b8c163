# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to VMs without a request: the end of their run time, and instance schedules.

One thread sleeps until the next thing is due, or until a VM changes.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from rehearsal import ahead
from rehearsal.errors import ApiError
from rehearsal.services.compute import clock, operations, power, records, resource_policies
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.records import Record
from rehearsal.services.compute.resource_policies import POLICIES

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

# The calendar may be moved ahead by another process, which notifies nobody here.
LONGEST_SLEEP = 1.0
# A VM that is due while another operation has it is looked at again after this.
RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Timers:
    """Ends runs whose time is over and follows the instance schedules, from `start` to `stop`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.ended = threading.Event()
        clock.follow(ahead.clock(cloud.store))
        self._seen = resource_policies.today(cloud.store)

    def start(self) -> None:
        """Begin to watch, in the background."""
        self._cloud.background(self._watch)

    def stop(self) -> None:
        """Do nothing to any VM from now on."""
        self.ended.set()
        operations.notify(self._cloud)

    def _watch(self) -> None:
        condition = self._cloud.store.changed
        while not self.ended.is_set():
            with condition:
                sleep = self.act()
                if not self.ended.is_set():
                    condition.wait(sleep)

    def act(self) -> float:
        """Do what is due now; return the seconds until something may be due again."""
        clock.follow(ahead.clock(self._cloud.store))
        now = clock.now()
        waits = [LONGEST_SLEEP]
        for record in records.INSTANCES.all(self._cloud):
            deadline = record["deadline"]
            if deadline and deadline <= now:
                if record["busy"]:
                    waits.append(RETRY_SECONDS)
                else:
                    end_run(self._cloud, record)
            elif deadline:
                waits.append(deadline - now)
        # What was due since the last look happens once, as after a time in which Compute did not look.
        today = resource_policies.today(self._cloud.store)
        waits += self._follow_schedules(today)
        self._seen = today
        return max(0.0, min(waits))

    def _follow_schedules(self, now: float) -> list[float]:
        waits = []
        for key, policy in POLICIES.records.list(self._cloud.store):
            for schedule in resource_policies.SCHEDULES:
                due = resource_policies.next_run(policy, schedule, self._seen)
                if due is not None and due <= now:
                    self._run(key, policy, schedule)
                    due = resource_policies.next_run(policy, schedule, now)
                if due is not None:
                    waits.append(due - now)
        return waits

    def _run(self, key: str, policy: Resource, schedule: str) -> None:
        POLICIES.records.put(self._cloud.store, key, policy | {"lastRun": resource_policies.today(self._cloud.store)})
        project, verb = key.partition("/")[0], resource_policies.SCHEDULES[schedule]
        agent = resource_policies.service_agent(self._cloud, project)
        begin = power.begin_start if verb == "start" else power.begin_stop
        for record in records.INSTANCES.all(self._cloud, project):
            if policy["selfLink"] not in record["resource"].get("resourcePolicies", []):
                continue
            ref = records.ref_of_record(record)
            try:
                # On Google nothing happens either when the service agent lacks the permission.
                self._cloud.identity.authorize(agent, f"compute.instances.{verb}", project)
                begin(self._cloud, ref, verb, agent)
            except ApiError as error:
                _log.warning("schedule %s could not %s %s: %s", key, verb, ref.name, error.message)


def end_run(cloud: Cloud, record: Record) -> None:
    """Stop or delete a VM whose run time is over, as its `instanceTerminationAction` says."""
    ref = records.ref_of_record(record)
    _log.info("the run time of %s is over", ref.path)
    if record["resource"]["scheduling"].get("instanceTerminationAction") == "DELETE":
        power.begin_delete(cloud, ref, operations.SYSTEM)
    else:
        power.begin_stop(cloud, ref, "stop", operations.SYSTEM)
