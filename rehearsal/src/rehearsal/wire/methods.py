# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal methods`: which of Google's methods are answered here, and what the request log says of each.

The log is forgotten with the project (`rehearsal down --purge`), so the counts are of the project's whole life.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import rehearsal.services.handlers  # noqa: F401 - registers them
from rehearsal.settings import Settings
from rehearsal.wire.calls import REGISTRY
from rehearsal.wire.request_log import Counts, RequestLog

HEADINGS = ("implemented", "exercised", "clean", "violations", "405")


@dataclass(frozen=True)
class Row:
    """One method. `violations` and `not_implemented` count requests, the others say yes or no or how often."""

    implemented: bool
    requests: int
    violations: int
    not_implemented: int

    @property
    def exercised(self) -> bool:
        """Whether anybody called it."""
        return self.requests > 0

    @property
    def clean(self) -> bool:
        """Whether it was called, and each time within Google's schema, both ways, and never answered with 405."""
        return self.exercised and not self.violations and not self.not_implemented

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--output json` prints it."""
        return asdict(self) | {"exercised": self.exercised, "clean": self.clean}


def discovered() -> frozenset[str]:
    """Return the ids of the methods of Google's discovery documents that have a handler."""
    return frozenset(REGISTRY.methods)


def endpoints() -> frozenset[str]:
    """Return the ids of what has a route of its own beside the discovery documents: tokens, uploads, batches, calls."""
    return frozenset(route.method_id for route in REGISTRY.raw) - discovered()


def rows(counts: dict[str, Counts]) -> dict[str, Row]:
    """Return a row for every method that has a handler or was asked for, by id."""
    implemented = discovered() | endpoints()
    nothing = Counts()
    return {
        name: Row(name in implemented, found.requests, found.violations, found.not_implemented)
        for name in sorted(implemented | set(counts) - {""})
        for found in (counts.get(name, nothing),)
    }


def service(method_id: str) -> str:
    """Return `compute` for `compute.instances.get`."""
    return method_id.partition(".")[0]


def totals(found: dict[str, Row]) -> dict[str, int]:
    """Return how many methods are implemented, exercised and clean, and how many requests were not within the schema."""
    return {
        "implemented": sum(row.implemented for row in found.values()),
        "exercised": sum(row.exercised for row in found.values()),
        "clean": sum(row.clean for row in found.values()),
        "violations": sum(row.violations for row in found.values()),
        "not_implemented": sum(row.not_implemented for row in found.values()),
    }


def report(counts: dict[str, Counts]) -> dict[str, Any]:
    """Return everything as `--output json` prints it; `unknown` counts requests for what is no method of Google's."""
    found = rows(counts)
    services = sorted({service(name) for name in found})
    return {
        "totals": totals(found),
        "unknown": counts.get("", Counts()).requests,
        "services": {
            wanted: totals({name: row for name, row in found.items() if service(name) == wanted})
            for wanted in services
        },
        "methods": {name: row.as_dict() for name, row in found.items()},
    }  # fmt: skip


def run(settings: Settings, *, output: str, each: bool, say: Callable[[str], None]) -> None:
    """Print the table; `each` gives every method a line, else every service one and what was not clean."""
    if output == "markdown":
        say(listing())
        return
    path = settings.home / "requests.sqlite"
    counts: dict[str, Counts] = {}
    if path.exists():
        log = RequestLog(path)
        counts = log.counts()
        log.close()
    content = report(counts)
    say(json.dumps(content, indent=2) if output == "json" else text(content, each))


def text(content: dict[str, Any], each: bool) -> str:
    """Return the report as a person reads it."""
    lines = [_line("", *HEADINGS)]
    if each:
        lines += [_of_method(name, row) for name, row in content["methods"].items()]
    else:
        lines += [_of_totals(name, row) for name, row in content["services"].items()]
    lines.append(_of_totals("all", content["totals"]))
    if not each:
        lines += [
            _of_method(name, row) for name, row in content["methods"].items() if row["exercised"] and not row["clean"]
        ]
    if content["unknown"]:
        lines.append(f"{content['unknown']} requests were for no method of Google's: `rehearsal log --method ''`")
    return "\n".join(lines)


def _of_totals(name: str, row: dict[str, int]) -> str:
    return _line(name, *(str(number) for number in row.values()))


def _of_method(name: str, row: dict[str, Any]) -> str:
    words = ["yes" if row[column] else "no" for column in ("implemented", "exercised", "clean")]
    return _line(name, *words, str(row["violations"]), str(row["not_implemented"]))


def _line(name: str, *cells: str) -> str:
    return f"{name:<52}" + "".join(f"{cell:>12}" for cell in cells)


def listing() -> str:
    """Return the implemented methods as Markdown, one line a resource: a part of rehearsal/docs/fidelity.md."""
    return "\n\n".join(
        f"{heading}\n\n| Resource | Methods |\n| --- | --- |\n" + "\n".join(_grouped(ids))
        for heading, ids in (
            ("Of the discovery documents:", discovered()),
            ("With a route of their own (tokens, uploads, batches, calls of a function):", endpoints()),
        )
    )


def _grouped(ids: frozenset[str]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for method_id in sorted(ids):
        resource, _, verb = method_id.rpartition(".")
        groups.setdefault(resource, []).append(verb)
    return [f"| `{resource}` | {', '.join(f'`{verb}`' for verb in verbs)} |" for resource, verbs in groups.items()]
