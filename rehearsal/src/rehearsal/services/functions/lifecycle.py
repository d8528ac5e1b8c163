# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to functions when the control plane starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.services.functions import addresses, instances, operations, records

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud


def start_functions(cloud: Cloud) -> None:
    """End what was interrupted, and start every function that served."""
    operations.end_interrupted(cloud.store)
    for container in addresses.release_builds(cloud.store):
        cloud.containers.remove(container)
        cloud.network.detach(container)
    kept = []
    for key, record in records.FUNCTIONS.list(cloud.store):
        if record["resource"]["state"] in records.IN_PROGRESS:
            records.mark_failed(record, operations.INTERRUPTED)
            records.FUNCTIONS.put(cloud.store, key, record)
        if record["serving"]:
            kept.append(record["serving"])
    known = {revision["address"] for revision in kept}
    for address, _ in addresses.ADDRESSES.list(cloud.store):
        if address not in known:
            addresses.release(cloud.store, address)
    for revision in kept:
        cloud.background(instances.revive, cloud, revision)


def stop_functions(cloud: Cloud) -> None:
    """End every instance; the functions themselves stay."""
    for _, record in records.FUNCTIONS.list(cloud.store):
        if record["serving"]:
            instances.suspend(cloud, record["serving"])
