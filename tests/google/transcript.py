# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was answered: by method and status the fields, their types and how long it took; never a value."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal.testing.shapes import Shape, add_shape
from rehearsal.wire.discovery import Document, Method, Router

# What has no discovery document: host (its end), path (its end) and the name used here.
OTHER = (
    ("oauth2.googleapis.com", "/token", "oauth2.token"),
    ("oauth2.googleapis.com", "/tokeninfo", "oauth2.tokeninfo"),
    ("sts.googleapis.com", "/v1/token", "sts.token"),
    (".run.app", "", "function.call"),
    (".cloudfunctions.net", "", "function.call"),
    ("storage.googleapis.com", "/batch/storage/v1", "storage.batch"),
    ("storage.googleapis.com", "", "storage.upload"),
)


@cache
def router() -> Router:
    """Return what names a request by Google's discovery documents."""
    return Router()


@dataclass
class Answers:
    """All answers to one method with one status; ``seconds`` has one number for each."""

    shape: Shape = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


class Transcript:
    """The answers by ``METHOD STATUS``, such as ``compute.instances.get 200``."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}

    def add(self, verb: str, url: str, status: int, content: Any, seconds: float) -> None:
        """Add one answer; ``content`` is its JSON, or None for any other body."""
        name, known = named(verb, url)
        answers = self.answers.setdefault(f"{name} {status}", Answers())
        answers.seconds.append(seconds)
        if content is not None:
            schema = known.response_schema if known and status < 300 else None
            add_shape(answers.shape, content, maps_of(known.document, schema) if known and schema else ())

    def save(self, path: Path) -> None:
        """Write it as JSON, sorted; ``seconds`` becomes the number of answers, their median and their longest."""
        content = {
            key: {
                "answers": len(found.seconds),
                "seconds": [round(statistics.median(found.seconds), 3), round(max(found.seconds), 3)],
                "fields": {name: sorted(types) for name, types in sorted(found.shape.items())},
            }
            for key, found in sorted(self.answers.items())
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def named(verb: str, url: str) -> tuple[str, Method | None]:
    """Return the method's id, and the method if a discovery document has it; nothing of the URL's values is in the id."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = router().find(host, verb, parts.path)
    if found:
        return found[0].id, found[0]
    for ending, path, name in OTHER:
        if host.endswith(ending) and parts.path.endswith(path):
            return name, None
    return f"{verb} {host}", None


@cache
def maps_of(document: Document, schema: str) -> frozenset[str]:
    """Return the paths of an answer whose keys are their users' choice, such as ``labels``."""
    return frozenset(_maps(document, {"$ref": schema}, "", ()))


def _maps(document: Document, node: dict[str, Any], path: str, above: tuple[str, ...]) -> Iterator[str]:
    if "$ref" in node:
        if node["$ref"] in above:
            return
        above = (*above, node["$ref"])
        node = document.schemas[node["$ref"]]
    if "additionalProperties" in node:
        yield path
        yield from _maps(document, node["additionalProperties"], f"{path}.*".lstrip("."), above)
    for name, member in node.get("properties", {}).items():
        yield from _maps(document, member, f"{path}.{name}".lstrip("."), above)
    if "items" in node:
        yield from _maps(document, node["items"], f"{path}[]", above)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return what `Transcript.save` wrote."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def differences(
    google: dict[str, dict[str, Any]], rehearsal: dict[str, dict[str, Any]], *, whole: bool = True
) -> list[str]:
    """Return one line for each difference, both in the form of `read`.

    ``whole`` says that the run on Google came to its end. If not, what only the rehearsal answered is no difference.
    """
    lines = [f"{key}: only Google answered this" for key in sorted(google.keys() - rehearsal.keys())]
    if whole:
        lines += [f"{key}: only the rehearsal answered this" for key in sorted(rehearsal.keys() - google.keys())]
    for key in sorted(google.keys() & rehearsal.keys()):
        there, here = google[key]["fields"], rehearsal[key]["fields"]
        for path in sorted(there.keys() | here.keys()):
            # An object that is missing is said once, not again for all that is in it.
            if any(path.startswith((f"{above}.", f"{above}[")) for above in there.keys() ^ here.keys()):
                continue
            if path not in here:
                lines.append(f"{key}: {path} ({', '.join(there[path])}) is returned by Google only")
            elif path not in there:
                if whole:
                    lines.append(f"{key}: {path} ({', '.join(here[path])}) is returned by the rehearsal only")
            elif set(there[path]) != set(here[path]):
                lines.append(
                    f"{key}: {path} is {', '.join(there[path])} at Google, {', '.join(here[path])} in the rehearsal"
                )
    return lines
