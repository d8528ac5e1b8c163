# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane's memory: JSON documents in one SQLite file, so that state survives a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

Document = dict[str, Any]
Record = TypeVar("Record", bound=Mapping[str, Any])


class Store:
    """Documents by (kind, key). Every call is atomic; hold `lock` to make a read-modify-write atomic."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        # For whoever waits for a change: looking and then waiting is one step, and no two locks have two orders.
        self.changed = threading.Condition(self.lock)
        # One connection shared by all threads: the lock serialises them, and writes are far rarer than the requests.
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key))"
        )

    def get(self, kind: str, key: str) -> Document | None:
        """Return a copy of the document, or None."""
        with self.lock:
            row = self._db.execute("SELECT value FROM documents WHERE kind=? AND key=?", (kind, key)).fetchone()
        return cast(Document, json.loads(row[0])) if row else None

    def put(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        """Write the document, whether or not it existed."""
        with self.lock:
            self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, key, json.dumps(value)))

    def delete(self, kind: str, key: str) -> bool:
        """Remove the document; return whether it existed."""
        with self.lock:
            return self._db.execute("DELETE FROM documents WHERE kind=? AND key=?", (kind, key)).rowcount > 0

    def list(self, kind: str, prefix: str = "") -> list[tuple[str, Document]]:
        """Return (key, document) of every document of the kind whose key starts with `prefix`, ordered by key."""
        with self.lock:
            rows = self._db.execute(
                "SELECT key, value FROM documents WHERE kind=? AND substr(key, 1, ?)=? ORDER BY key",
                (kind, len(prefix), prefix),
            ).fetchall()
        return [(key, json.loads(value)) for key, value in rows]

    def next_number(self, name: str) -> int:
        """Return 1, 2, 3 … for each name, never the same number twice, also after a restart."""
        with self.lock:
            number = int((self.get("counters", name) or {"value": 0})["value"]) + 1
            self.put("counters", name, {"value": number})
        return number

    def close(self) -> None:
        """Flush and release the file."""
        with self.lock:
            self._db.close()


class Documents(Generic[Record]):
    """The documents of one kind, with the type of their records: the one place that names the kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def get(self, store: Store, key: str) -> Record | None:
        """Return a copy of the record, or None."""
        return cast("Record | None", store.get(self.kind, key))

    def put(self, store: Store, key: str, record: Record) -> None:
        """Write the record, whether or not it existed."""
        store.put(self.kind, key, record)

    def delete(self, store: Store, key: str) -> bool:
        """Remove the record; return whether it existed."""
        return store.delete(self.kind, key)

    def list(self, store: Store, prefix: str = "") -> list[tuple[str, Record]]:
        """Return (key, record) of every record whose key starts with `prefix`, ordered by key."""
        return cast("list[tuple[str, Record]]", store.list(self.kind, prefix))
