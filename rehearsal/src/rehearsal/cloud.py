# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane as one object: what handlers reach through `call.cloud`, and how it starts and stops."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from rehearsal.machine.containers import Containers
from rehearsal.machine.guests import Guests
from rehearsal.machine.images import Images
from rehearsal.machine.metadata.server import MetadataServer
from rehearsal.machine.network import Network
from rehearsal.services.functions.revisions import Pool
from rehearsal.services.iam.identity import Identity
from rehearsal.settings import Settings
from rehearsal.store import Store
from rehearsal.wire.faults import Faults
from rehearsal.wire.request_log import RequestLog

LOGGER = logging.getLogger("rehearsal")


class ControlPlane:
    """What one rehearsal is without guests: state, identity, log. `locks` has one lock for every name that is asked for."""

    network: Network
    containers: Containers
    images: Images
    guests: Guests
    metadata: MetadataServer

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.home / "state.sqlite")
        self.log = RequestLog(settings.home / "requests.sqlite")
        self.faults = Faults(self.store)
        self.identity = Identity(settings, self.store)
        self.locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        # The running instances of functions, by the name of their container.
        self.function_pools: dict[str, Pool] = {}

    def background(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Run `work` in a thread that does not keep the process alive; what it raises goes to the log."""

        def guarded() -> None:
            try:
                work(*arguments)
            except Exception:
                LOGGER.exception("background work %s failed", getattr(work, "__qualname__", work))

        thread = threading.Thread(target=guarded, daemon=True, name=getattr(work, "__name__", "work"))
        thread.start()
        return thread


class Cloud(ControlPlane):
    """The parts of one rehearsal."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.network = Network(settings)
        self.containers = Containers(settings)
        self.images = Images(settings, self.containers)
        self.guests = Guests(settings, self.network, self.containers, self.images)
        self.metadata = MetadataServer(settings, self.identity)

    def start(self) -> None:
        """Bring up network and metadata server."""
        self.network.setup()
        self.identity.ensure_default_accounts()
        self.metadata.start()

    def stop(self) -> None:
        """Take metadata server and network down; the state stays for the next start."""
        self.metadata.stop()
        self.network.teardown()
