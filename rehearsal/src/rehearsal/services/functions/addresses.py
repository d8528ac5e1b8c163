# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal addresses of functions and builds: 10.128.8.0/21 of the rehearsal's network."""

from __future__ import annotations

import ipaddress
from typing import TypedDict

from rehearsal.store import Documents, Store


class Lease(TypedDict):
    """The container that has an address."""

    owner: str


ADDRESSES: Documents[Lease] = Documents("functions.addresses")
RANGE = ipaddress.ip_network("10.128.8.0/21")
BUILD_PREFIX = "build-"


def take(store: Store, owner: str) -> str:
    """Give `owner` (a container's name) an address that nobody has."""
    with store.lock:
        taken = {key for key, _ in ADDRESSES.list(store)}
        address = next((str(host) for host in RANGE.hosts() if str(host) not in taken), None)
        if address is None:
            raise RuntimeError(f"all addresses of {RANGE} are in use; delete functions that are not needed")
        ADDRESSES.put(store, address, {"owner": owner})
        return address


def release(store: Store, address: str) -> None:
    """Take an address back."""
    ADDRESSES.delete(store, address)


def release_builds(store: Store) -> list[str]:
    """Take back what builds held when the control plane was stopped; return the names of their containers."""
    left = [(address, document["owner"]) for address, document in ADDRESSES.list(store)]
    builds = [(address, owner) for address, owner in left if owner.startswith(BUILD_PREFIX)]
    for address, _ in builds:
        ADDRESSES.delete(store, address)
    return [owner for _, owner in builds]
