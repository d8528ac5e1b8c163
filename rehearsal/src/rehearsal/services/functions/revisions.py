# SPDX-License-Identifier: GPL-3.0-or-later
"""What a revision of a function is, and an instance of it that runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TypedDict


class Revision(TypedDict):
    """A revision: its container and address, and what runs in it. `source` and `environment` are digests.

    `memory` is in bytes, `timeout` in seconds, `concurrency` counts requests at once, `account` is an e-mail address,
    `function` the function's key in the store.
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
    concurrency: int
    variables: dict[str, str]
    account: str
    created: str


@dataclass
class Instance:
    """A container that should run. `ready` is set while it answers on its port; `ended` ends its supervision."""

    revision: Revision
    slots: threading.BoundedSemaphore
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
