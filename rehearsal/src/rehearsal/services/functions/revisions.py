# SPDX-License-Identifier: GPL-3.0-or-later
"""What a revision of a function is, the instances of it that run, and which of them answers a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict


class Revision(TypedDict):
    """A revision: its first container and address, and what runs in it. `source` and `environment` are digests.

    `memory` is in bytes, `timeout` in seconds, `cpu` counts CPUs and `concurrency` requests at once, each of one instance;
    `max_instances` caps the instances, `account` is an e-mail address, `function` the function's key in the store.
    """

    name: str
    container: str
    address: str
    function: str
    source: str
    environment: str
    image: str
    runtime: str
    target: str
    memory: int
    timeout: int
    cpu: float
    concurrency: int
    max_instances: int
    variables: dict[str, str]
    account: str
    created: str


@dataclass
class Instance:
    """A container that should run. `ready` is set while it answers on its port; `ended` ends its supervision."""

    revision: Revision
    container: str
    address: str
    busy: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Pool:
    """The instances of a revision: one at first, and another one whenever all of them are busy, up to the revision's limit.

    `grow` begins to start another instance; it ends in `add`, or in `gave_up`.
    """

    LOOK_EVERY = 0.1

    def __init__(self, revision: Revision, grow: Callable[[Pool], None]) -> None:
        self.revision = revision
        self.instances: list[Instance] = []
        self._grow = grow
        self._growing = False
        self._changed = threading.Condition()

    def add(self, instance: Instance) -> None:
        """Have another instance, which may be ready or not."""
        with self._changed:
            self.instances.append(instance)
            self._growing = False
            self._changed.notify_all()

    def gave_up(self) -> None:
        """Another instance could not be started."""
        with self._changed:
            self._growing = False

    def acquire(self, cold_start: float, queue: float) -> Instance | None:
        """Return an instance that takes a request now; None after `queue` seconds without one.

        Where none is ready at all, the wait is `cold_start` seconds, and its end a TimeoutError.
        """
        began = time.monotonic()
        with self._changed:
            while True:
                ready = [instance for instance in self.instances if instance.ready.is_set()]
                free = [instance for instance in ready if instance.busy < self.revision["concurrency"]]
                if free:
                    # The first ones are filled before the others, as an autoscaler does that means to end the rest.
                    free[0].busy += 1
                    return free[0]
                waited = time.monotonic() - began
                if ready and waited > queue:
                    return None
                if waited > cold_start:
                    raise TimeoutError
                if ready and not self._growing and len(self.instances) < self.revision["max_instances"]:
                    self._growing = True
                    self._grow(self)
                self._changed.wait(self.LOOK_EVERY)

    def release(self, instance: Instance) -> None:
        """Take a request's place back."""
        with self._changed:
            instance.busy -= 1
            self._changed.notify()
