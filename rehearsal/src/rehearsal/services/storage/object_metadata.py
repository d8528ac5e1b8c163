# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata of objects as Google counts it, where the storage server counts otherwise.

A change of metadata makes a new generation there, and no metageneration; at Google it is the other way round. So what was
changed is remembered here, under the generation that the storage server has given it.
"""

from __future__ import annotations

from typing import TypedDict

from rehearsal.errors import Body
from rehearsal.services.storage.server import timestamp
from rehearsal.store import Documents, Store


class Change(TypedDict):
    """How Google counts an object whose metadata was changed, while the server has it at `backend_generation`."""

    backend_generation: str
    generation: str
    metageneration: str
    updated: str


CHANGES: Documents[Change] = Documents("storage.objects.changed")


def _key(item: Body) -> str:
    return f"{item['bucket']}/{item['name']}"


def with_google_generation(store: Store, item: Body) -> Body:
    """Put into an object's resource what Google would say: generation, metageneration and the time of the change."""
    item.pop("acl", None)  # buckets here have uniform access, where Google shows none
    if item.get("kind") == "storage#object":
        known = CHANGES.get(store, _key(item))
        if known and known["backend_generation"] == item["generation"]:
            item |= {"generation": known["generation"], "metageneration": known["metageneration"]}
            item["updated"] = known["updated"]
    return item


def remember_change(store: Store, before: Body, after: Body) -> None:
    """Note that the object ``before``, in Google's count, became ``after``, as the storage server has it."""
    change: Change = {
        "backend_generation": after["generation"],
        "generation": before["generation"],
        "metageneration": str(int(before["metageneration"]) + 1),
        "updated": timestamp(),
    }
    CHANGES.put(store, _key(after), change)
