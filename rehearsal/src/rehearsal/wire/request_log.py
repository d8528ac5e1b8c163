# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of every request that the rehearsal answered: what, by whom, when, with which result."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

BODY_LIMIT = 20_000
# POSTs that change nothing; everything else that is not a GET counts as mutating.
READ_ONLY_ENDINGS = (
    ".wait",
    ".getIamPolicy",
    ".testIamPermissions",
    ".getEffectiveOrgPolicy",
    ".token",
    ".tokeninfo",
    ".invoke",
    ".generateDownloadUrl",
)
READ_ONLY_PREFIXES = ("iamcredentials.", "oauth2.")
SECRET_MEMBERS = {
    "private_key",
    "privateKeyData",
    "assertion",
    "access_token",
    "id_token",
    "accessToken",
    "token",
    "payload",
}


@dataclass
class Entry:
    """One answered request.

    `time` is seconds since the epoch, `milliseconds` how long the answer took, `sent` the bytes of the answer's body (0 for one
    whose length is not known beforehand).
    """

    time: float
    method: str
    verb: str
    host: str
    path: str
    status: int
    principal: str = ""
    milliseconds: float = 0.0
    violations: str = ""
    fault: str = ""
    body: str = ""
    sent: int = 0
    number: int = 0

    @property
    def mutating(self) -> bool:
        """Whether the request asks for a change of state."""
        if self.verb in ("GET", "HEAD", "OPTIONS"):
            return False
        return not (self.method.endswith(READ_ONLY_ENDINGS) or self.method.startswith(READ_ONLY_PREFIXES))

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as it is shown with `--output json`."""
        return asdict(self) | {"mutating": self.mutating}


@dataclass(frozen=True)
class Counts:
    """How many requests there were for a method, how many outside Google's schema, and how many answered 405."""

    requests: int = 0
    violations: int = 0
    not_implemented: int = 0


class RequestLog:
    """Append-only, one row a request; safe to read from another process while the control plane writes."""

    COLUMNS = tuple(column.name for column in fields(Entry) if column.name != "number")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        columns = ", ".join(self.COLUMNS)
        self._db.execute(f"CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, {columns})")
        known = {row[1] for row in self._db.execute("PRAGMA table_info(requests)")}
        if "sent" not in known:  # a log that an earlier version began
            self._db.execute("ALTER TABLE requests ADD COLUMN sent NOT NULL DEFAULT 0")

    def append(self, entry: Entry) -> None:
        """Write one entry; its number is given here."""
        values = [getattr(entry, name) for name in self.COLUMNS]
        marks = ", ".join("?" * len(values))
        with self._lock:
            self._db.execute(f"INSERT INTO requests ({', '.join(self.COLUMNS)}) VALUES ({marks})", values)  # noqa: S608 - names are ours

    def last_number(self) -> int:
        """Return the number of the newest entry, 0 when there is none: a mark to read on from."""
        with self._lock:
            return int(self._db.execute("SELECT COALESCE(MAX(number), 0) FROM requests").fetchone()[0])

    def entries(self, after: int = 0, since: float = 0.0) -> Iterator[Entry]:
        """Yield the entries above number `after`, not older than `since` (seconds since the epoch), oldest first."""
        columns = ", ".join(self.COLUMNS)
        with self._lock:
            rows = self._db.execute(
                f"SELECT number, {columns} FROM requests WHERE number > ? AND time >= ? ORDER BY number",  # noqa: S608 - ours
                (after, since),
            ).fetchall()
        for number, *values in rows:
            yield Entry(**dict(zip(self.COLUMNS, values, strict=True)), number=number)

    def counts(self) -> dict[str, Counts]:
        """Return the counts of each method that was asked for; "" stands for requests that are for none of Google's."""
        with self._lock:
            rows = self._db.execute(
                "SELECT method, COUNT(*), SUM(violations != ''), SUM(status = 405) FROM requests GROUP BY method"
            ).fetchall()
        return {method: Counts(*numbers) for method, *numbers in rows}

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def loggable_body(content_type: str, data: bytes) -> str:
    """Return what of a request body is kept: JSON with its secrets blanked, of anything else only the size."""
    if not data:
        return ""
    if "json" in content_type and len(data) <= BODY_LIMIT:
        try:
            return json.dumps(_blank(json.loads(data)))
        except ValueError:
            return data[:200].decode("utf-8", "replace")
    return f"{len(data)} bytes of {content_type or 'unknown type'}"


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "(secret)" if name in SECRET_MEMBERS else _blank(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return value
