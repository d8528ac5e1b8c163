# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata of objects as Google counts it, where the storage server behind counts otherwise.

A change of metadata makes a new generation there, and no metageneration; at Google it is the other way round. So what was
changed is remembered here, under the generation that the server behind has made of it.
"""

from __future__ import annotations

from rehearsal.errors import Body
from rehearsal.services.storage.server import timestamp
from rehearsal.store import Store

KIND = "storage.objects.changed"


def _key(item: Body) -> str:
    return f"{item['bucket']}/{item['name']}"


def as_google_has_it(store: Store, item: Body) -> Body:
    """Put into an object's resource what Google would say: generation, metageneration and the time of the change."""
    item.pop("acl", None)  # buckets here have uniform access, where Google shows none
    if item.get("kind") == "storage#object":
        known = store.get(KIND, _key(item))
        if known and known["behind"] == item["generation"]:
            item |= {name: known[name] for name in ("generation", "metageneration", "updated")}
    return item


def remember_change(store: Store, before: Body, after: Body) -> None:
    """Note that the object ``before``, in Google's count, became ``after``, as the server behind has it."""
    change = {
        "behind": after["generation"],
        "generation": before["generation"],
        "metageneration": str(int(before["metageneration"]) + 1),
        "updated": timestamp(),
    }
    store.put(KIND, _key(after), change)
