# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource URLs.

Answers carry `https://www.googleapis.com/compute/v1/…` in full, whatever host was asked: clients compare them as text.
Requests may name a resource by that URL with either host, or from `projects/`, `zones/`, `regions/` or `global/` on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearsal.services.compute import errors

BASE = "https://www.googleapis.com/compute/v1/"

_REFERENCE = re.compile(
    r"(?:https?://(?:www|compute)\.googleapis\.com/compute/(?:v1|beta|alpha)/)?"
    r"(?:projects/(?P<project>[^/]+)/)?"
    r"(?P<scope>zones/[^/]+|regions/[^/]+|global)/"
    r"(?P<collection>[A-Za-z]+)/(?P<name>(?:family/)?[^/]+)"
)


@dataclass(frozen=True)
class Reference:
    """A resource that a request names; `scope` is `zones/Z`, `regions/R` or `global`, `name` may be `family/F`."""

    project: str
    scope: str
    collection: str
    name: str

    @property
    def path(self) -> str:
        """The path from `projects/` on."""
        return f"projects/{self.project}/{self.scope}/{self.collection}/{self.name}"

    @property
    def link(self) -> str:
        """The URL as answers carry it."""
        return BASE + self.path

    @property
    def location(self) -> str:
        """The zone or region by its short name; empty for a global resource."""
        return self.scope.partition("/")[2]


def link(path: str) -> str:
    """Return the URL of a path that starts with `projects/`."""
    return BASE + path


def path_of(url: str) -> str:
    """Return the path from `projects/` on, of a URL that `link` made."""
    return url.removeprefix(BASE)


def last(url: str) -> str:
    """Return the last segment: the name of the resource."""
    return url.rpartition("/")[2]


def resolve(value: str, project: str, *collections: str, field: str) -> Reference:
    """Return what `value` names, in `project` unless it says otherwise.

    Raises ApiError 400 (malformed URL) when it is no reference to one of the collections.
    """
    found = _REFERENCE.fullmatch(value or "")
    if not found or found["collection"] not in collections:
        raise errors.malformed_url(field, value)
    return Reference(found["project"] or project, found["scope"], found["collection"], found["name"])
