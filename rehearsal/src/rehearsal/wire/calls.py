# SPDX-License-Identifier: GPL-3.0-or-later
"""How a handler says which of Google's methods it implements, and what it gets to answer with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

from rehearsal.cloud import Cloud
from rehearsal.errors import Body


@dataclass
class Call:
    """One request, as a handler sees it: authenticated, authorised and checked against Google's schema."""

    cloud: Cloud
    method_id: str
    params: dict[str, Any]
    body: Body
    principal: str
    project: str
    request: Request
    host: str
    dispatch: Callable[[str, str, str, dict[str, str], bytes], Response]
    match: re.Match[str] | None = None


Handler = Callable[[Call], Body | Response]


@dataclass(frozen=True)
class Implementation:
    """A handler and what a caller needs to be allowed to call it."""

    handler: Handler
    permission: str | None
    public: bool
    resource: Callable[[Call], str] | None


@dataclass(frozen=True)
class RawRoute:
    """An endpoint that no discovery document describes: tokens, uploads, batch, the functions' own addresses."""

    host: re.Pattern[str]
    verb: str | None
    path: re.Pattern[str]
    method_id: str
    implementation: Implementation


@dataclass
class Registry:
    """Everything that the modules below `rehearsal` have registered by being imported."""

    methods: dict[str, Implementation] = field(default_factory=dict)
    raw: list[RawRoute] = field(default_factory=list)


REGISTRY = Registry()


def method(
    *ids: str, permission: str | None = None, public: bool = False, resource: Callable[[Call], str] | None = None
) -> Callable[[Handler], Handler]:
    """Register the decorated function for the discovery method ids, `compute.instances.get` for example."""

    def register(handler: Handler) -> Handler:
        for method_id in ids:
            if method_id in REGISTRY.methods:
                raise ValueError(f"{method_id} has two handlers")
            REGISTRY.methods[method_id] = Implementation(handler, permission, public, resource)
        return handler

    return register


def raw_route(
    host: str,
    verb: str | None,
    path: str,
    *,
    method_id: str,
    permission: str | None = None,
    public: bool = False,
    resource: Callable[[Call], str] | None = None,
) -> Callable[[Handler], Handler]:
    """Register the decorated function for requests whose host and path match the two regular expressions in full."""

    def register(handler: Handler) -> Handler:
        implementation = Implementation(handler, permission, public, resource)
        REGISTRY.raw.append(RawRoute(re.compile(host), verb, re.compile(path), method_id, implementation))
        return handler

    return register
