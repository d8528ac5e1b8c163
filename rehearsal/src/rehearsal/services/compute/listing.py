# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists and aggregated lists: filter, order, pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from rehearsal.services.compute import clock, errors, links
from rehearsal.services.compute.filters import compile_filter
from rehearsal.wire.calls import Call

Resource = dict[str, Any]
LARGEST_PAGE = 500


def page(call: Call, resources: Iterable[Resource], *, kind: str, path: str) -> Resource:
    """Return one page of a list; `kind` is `compute#instanceList`, `path` the collection's from `projects/` on.

    Raises ApiError 400 for an invalid filter, order, page size or page token.
    """
    chosen, token = _select(call, [("", resource) for resource in resources])
    answer: Resource = {"kind": kind, "id": path, "selfLink": links.link(path)}
    if chosen:
        answer["items"] = [resource for _, resource in chosen]
    if token:
        answer["nextPageToken"] = token
    return answer


def aggregated(call: Call, scoped: Mapping[str, Iterable[Resource]], *, kind: str, path: str, member: str) -> Resource:
    """Return one page over all scopes (`zones/us-central1-a`): each scope has its `member` list, or a warning."""
    chosen, token = _select(call, [(scope, resource) for scope, found in scoped.items() for resource in found])
    items: dict[str, Resource] = {}
    for scope in scoped:
        here = [resource for where, resource in chosen if where == scope]
        items[scope] = {member: here} if here else {"warning": _nothing_in(scope)}
    answer: Resource = {"kind": kind, "id": path, "items": items, "selfLink": links.link(path)}
    if token:
        answer["nextPageToken"] = token
    return answer


def _nothing_in(scope: str) -> Resource:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


def _select(call: Call, candidates: list[tuple[str, Resource]]) -> tuple[list[tuple[str, Resource]], str]:
    matches = compile_filter(call.params.get("filter"))
    order = call.params.get("orderBy") or "name"
    if order not in ("name", "creationTimestamp desc", "creationTimestamp"):
        raise errors.invalid("orderBy", order, "The orderBy expression is not supported.")
    size = call.params.get("maxResults", LARGEST_PAGE) or LARGEST_PAGE
    if not 0 < size <= LARGEST_PAGE:
        raise errors.invalid("maxResults", size, f"Must be between 0 and {LARGEST_PAGE}.")

    def position(candidate: tuple[str, Resource]) -> list[Any]:
        scope, resource = candidate
        if order == "name":
            return [scope, resource["name"]]
        created = clock.parse(resource.get("creationTimestamp") or resource["insertTime"])
        return [scope, -created if order.endswith("desc") else created, resource["name"]]

    remaining = sorted((candidate for candidate in candidates if matches(candidate[1])), key=position)
    token = call.params.get("pageToken")
    if token:
        after = _read_token(token, order)
        remaining = [candidate for candidate in remaining if position(candidate) > after]
    chosen = remaining[:size]
    return chosen, _write_token(order, position(chosen[-1])) if len(remaining) > size else ""


def _write_token(order: str, position: list[Any]) -> str:
    # The token names the last resource of the page, not an offset: resources may come and go between two pages.
    return base64.urlsafe_b64encode(json.dumps([order, position]).encode()).decode()


def _read_token(token: str, order: str) -> list[Any]:
    try:
        written_for, position = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        written_for, position = None, []
    if written_for != order:
        raise errors.invalid("pageToken", token, "Invalid page token.")
    return list(position)
