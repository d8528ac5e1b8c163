# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to functions when the control plane starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.services.functions import addresses, instances, operations, records

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

INTERRUPTED = "The deployment was interrupted: the rehearsal was stopped while it ran. Deploy again."


def start_functions(cloud: Cloud) -> None:
    """End what was interrupted, and start every function that served."""
    operations.end_interrupted(cloud.store)
    for container in addresses.release_builds(cloud.store):
        cloud.containers.remove(container)
        cloud.network.detach(container)
    for key, record in cloud.store.list(records.KIND):
        resource, serving = record["resource"], record["serving"]
        if resource["state"] in records.IN_PROGRESS:
            resource["state"] = records.ACTIVE if serving else records.FAILED
            resource["stateMessages"] = records.failed_message(INTERRUPTED, "WARNING" if serving else "ERROR")
            cloud.store.put(records.KIND, key, record)
    kept = [record["serving"] for _, record in cloud.store.list(records.KIND) if record["serving"]]
    known = {revision["address"] for revision in kept}
    for address, _ in cloud.store.list(addresses.KIND):
        if address not in known:
            addresses.release(cloud.store, address)
    for revision in kept:
        cloud.background(instances.revive, cloud, revision)


def stop_functions(cloud: Cloud) -> None:
    """End every instance; the functions themselves stay."""
    for _, record in cloud.store.list(records.KIND):
        if record["serving"]:
            instances.suspend(cloud, record["serving"])
