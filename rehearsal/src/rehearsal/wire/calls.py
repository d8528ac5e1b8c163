# SPDX-License-Identifier: GPL-3.0-or-later
"""How a handler says which of Google's methods it implements and who may call it, and what it gets to answer with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from werkzeug.wrappers import Request, Response

from rehearsal.cloud import Cloud
from rehearsal.errors import Body
from rehearsal.services.iam.identity import Caller


class Open(Enum):
    """Methods that no permission guards."""

    PUBLIC = "nobody needs to sign in"
    SIGNED_IN = "everybody who is signed in; the answer depends on who asks"


PUBLIC, SIGNED_IN = Open.PUBLIC, Open.SIGNED_IN


class CheckedInside:
    """The handler checks one of these permissions itself, since the resource is known only once it has looked."""

    def __init__(self, *permissions: str) -> None:
        if not permissions:
            raise ValueError("a handler that checks inside has to name what it checks")
        self.permissions = permissions


Permission = str | CheckedInside | Open


@dataclass
class Call:
    """One request, as a handler sees it: authenticated, authorised and checked against Google's schema.

    `target` is the path with its query as the client sent it, undecoded. `caller` is None where nobody signed in.
    """

    cloud: Cloud
    method_id: str
    params: dict[str, Any]
    body: Body
    caller: Caller | None
    project: str
    request: Request
    host: str
    target: str
    dispatch: Callable[[str, str, str, dict[str, str], bytes], Response]
    match: re.Match[str] | None = None

    @property
    def principal(self) -> str:
        """The e-mail address of who calls; empty where nobody signed in."""
        return self.caller.email if self.caller else ""


Handler = Callable[[Call], Body | Response]


@dataclass(frozen=True)
class Implementation:
    """A handler and what a caller needs to be allowed to call it; `also` is what the handler asks for beyond `permission`."""

    handler: Handler
    permission: Permission
    also: tuple[str, ...]
    resource: Callable[[Call], str] | None

    @property
    def checked_inside(self) -> frozenset[str]:
        """The permissions that the handler may ask for itself."""
        inside = self.permission.permissions if isinstance(self.permission, CheckedInside) else ()
        return frozenset((*inside, *self.also))

    @property
    def permissions(self) -> frozenset[str]:
        """Every permission that is asked for."""
        return self.checked_inside | ({self.permission} if isinstance(self.permission, str) else frozenset())


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
    """Everything that was registered by being imported."""

    methods: dict[str, Implementation] = field(default_factory=dict)
    raw: list[RawRoute] = field(default_factory=list)

    def implementations(self) -> list[Implementation]:
        """Return all handlers with what they need."""
        return [*self.methods.values(), *(route.implementation for route in self.raw)]


REGISTRY = Registry()


def method(
    *ids: str,
    permission: Permission,
    also: tuple[str, ...] = (),
    resource: Callable[[Call], str] | None = None,
) -> Callable[[Handler], Handler]:
    """Register the decorated function for the discovery method ids, `compute.instances.get` for example.

    `resource` names what `permission` is checked on, where that is not the project. Raises ValueError for an id that has
    a handler already, and for an empty permission.
    """

    def register(handler: Handler) -> Handler:
        for method_id in ids:
            if method_id in REGISTRY.methods:
                raise ValueError(f"{method_id} has two handlers")
            REGISTRY.methods[method_id] = _implementation(method_id, handler, permission, also, resource)
        return handler

    return register


def raw_route(
    host: str,
    verb: str | None,
    path: str,
    *,
    method_id: str,
    permission: Permission,
    also: tuple[str, ...] = (),
    resource: Callable[[Call], str] | None = None,
) -> Callable[[Handler], Handler]:
    """Register the decorated function for requests whose host and path match the two regular expressions in full."""

    def register(handler: Handler) -> Handler:
        implementation = _implementation(method_id, handler, permission, also, resource)
        REGISTRY.raw.append(RawRoute(re.compile(host), verb, re.compile(path), method_id, implementation))
        return handler

    return register


def _implementation(
    method_id: str,
    handler: Handler,
    permission: Permission,
    also: tuple[str, ...],
    resource: Callable[[Call], str] | None,
) -> Implementation:
    if not permission:
        raise ValueError(f"{method_id} says of no permission that it is needed; PUBLIC would open it to everybody")
    return Implementation(handler, permission, also, resource)
