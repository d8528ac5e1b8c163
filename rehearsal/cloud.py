# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane as one object: what handlers reach through `call.cloud`, and how it starts and stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from rehearsal.containers import Containers
from rehearsal.faults import Faults
from rehearsal.guests import Guests
from rehearsal.identity import Identity
from rehearsal.images import Images
from rehearsal.metadata.server import MetadataServer
from rehearsal.network import Network
from rehearsal.registry import REGISTRY
from rehearsal.requestlog import RequestLog
from rehearsal.settings import Settings
from rehearsal.store import Store

if TYPE_CHECKING:
    from rehearsal.gateway import Gateway

LOGGER = logging.getLogger("rehearsal")


class Cloud:
    """The services of one rehearsal. `gateway` is set by the gateway itself."""

    gateway: Gateway

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.home / "state.sqlite")
        self.log = RequestLog(settings.home / "requests.sqlite")
        self.faults = Faults(self.store)
        self.identity = Identity(settings, self.store)
        self.network = Network(settings)
        self.containers = Containers(settings)
        self.images = Images(settings, self.containers)
        self.guests = Guests(settings, self.network, self.containers, self.images)
        self.metadata = MetadataServer(settings, self.identity)

    def start(self) -> None:
        """Bring up network and metadata server, then whatever ran before the last stop."""
        self.network.setup()
        self.identity.ensure_default_accounts()
        self.metadata.start()
        for hook in REGISTRY.start:
            hook(self)

    def stop(self) -> None:
        """Power everything off; the state stays for the next start."""
        for hook in REGISTRY.stop:
            try:
                hook(self)
            except Exception:
                LOGGER.exception("stopping: %s failed", hook.__qualname__)
        self.metadata.stop()
        self.network.teardown()

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

    def dispatch(self, verb: str, host: str, target: str, headers: dict[str, str], body: bytes) -> Response:
        """Answer a request that came inside another one, a part of a batch for example.

        `target` is the undecoded path with its query.
        """
        path, _, query = target.partition("?")
        builder = EnvironBuilder(method=verb, path=path, query_string=query, data=body, headers=list(headers.items()))
        builder.headers["X-Forwarded-Host"] = host
        builder.headers["X-Rehearsal-Target"] = target
        return self.gateway.handle(Request(builder.get_environ()))
