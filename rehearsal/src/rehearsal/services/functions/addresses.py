# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal addresses of functions and builds: 10.128.8.0/21 of the rehearsal's network."""

from __future__ import annotations

import ipaddress

from rehearsal.store import Store

KIND = "functions.addresses"
RANGE = ipaddress.ip_network("10.128.8.0/21")
BUILD_PREFIX = "build-"


def take(store: Store, owner: str) -> str:
    """Give `owner` (a container's name) an address that nobody has."""
    with store.lock:
        taken = {key for key, _ in store.list(KIND)}
        address = next((str(host) for host in RANGE.hosts() if str(host) not in taken), None)
        if address is None:
            raise RuntimeError(f"all addresses of {RANGE} are in use; delete functions that are not needed")
        store.put(KIND, address, {"owner": owner})
        return address


def release(store: Store, address: str) -> None:
    """Take an address back."""
    store.delete(KIND, address)


def release_builds(store: Store) -> list[str]:
    """Take back what builds held when the control plane was stopped; return the names of their containers."""
    left = [(address, document["owner"]) for address, document in store.list(KIND)]
    builds = [(address, owner) for address, owner in left if owner.startswith(BUILD_PREFIX)]
    for address, _ in builds:
        store.delete(KIND, address)
    return [owner for _, owner in builds]
