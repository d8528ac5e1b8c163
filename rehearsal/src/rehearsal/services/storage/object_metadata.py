# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata of objects as Google writes and counts it, where the storage server does otherwise.

A change of metadata makes a new generation there, and no metageneration; at Google it is the other way round. So what was
changed is remembered here, under the generation that the storage server has given it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict
from urllib.parse import quote

from rehearsal import ahead
from rehearsal.errors import Body
from rehearsal.services.storage.server import etag, timestamp
from rehearsal.store import Documents, Store

TIMES = ("timeCreated", "updated", "timeStorageClassUpdated")


class Change(TypedDict):
    """What Google says of an object while the storage server has it at `backend_generation`, where that says otherwise."""

    backend_generation: str
    members: Body


CHANGES: Documents[Change] = Documents("storage.objects.changed")


def _key(item: Body) -> str:
    return f"{item['bucket']}/{item['name']}"


def _members(store: Store, item: Body) -> Body:
    known = CHANGES.get(store, _key(item))
    return known["members"] if known and known["backend_generation"] == item["generation"] else {}


def as_google_writes(store: Store, item: Body) -> Body:
    """Make an object's resource what Google would say; anything else is returned as it is."""
    item.pop("acl", None)  # buckets here have uniform access, where Google shows none
    if item.get("kind") != "storage#object" or "timeCreated" not in item:  # an upload that only begins
        return item
    item |= _members(store, item)
    written = item["timeCreated"]  # by this machine's clock
    for name in TIMES:
        moment = datetime.fromisoformat(item.get(name) or written)
        moment += timedelta(seconds=ahead.clock_at(store, moment.timestamp()))
        item[name] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    item["timeFinalized"] = item["timeCreated"]
    if "componentCount" in item:
        item.pop("md5Hash", None)  # nobody has read the whole
    path = f"storage/v1/b/{item['bucket']}/o/{quote(item['name'], safe='')}"
    item["id"] = f"{item['bucket']}/{item['name']}/{item['generation']}"
    item["selfLink"] = f"https://www.googleapis.com/{path}"
    item["mediaLink"] = f"https://storage.googleapis.com/download/{path}?generation={item['generation']}&alt=media"
    item["etag"] = etag(int(item["metageneration"]), int(item["generation"]))
    return item


def remember_change(store: Store, before: Body, after: Body) -> None:
    """Note that the object ``before``, in Google's count, became ``after``, as the storage server has it."""
    kept: Body = {name: before[name] for name in ("generation", "componentCount") if name in before}
    kept |= {"metageneration": str(int(before["metageneration"]) + 1), "updated": timestamp()}
    CHANGES.put(store, _key(after), {"backend_generation": after["generation"], "members": kept})


def remember_components(store: Store, composed: Body, count: int) -> None:
    """Note of how many components the object was composed, which the storage server has just made."""
    change: Change = {"backend_generation": composed["generation"], "members": {"componentCount": count}}
    CHANGES.put(store, _key(composed), change)
