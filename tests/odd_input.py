# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nobody means to send, and what an answer to any request must look like."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import strategies as st

from ml.context import EVENTS, ZONES

_NUMBERS = st.integers() | st.floats() | st.sampled_from([1e308, -1e308, 10**400, 2**64, -0.0, 45.0, 1e-320])
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=12) | st.sampled_from([*ZONES, *EVENTS])
_NAMES = st.sampled_from(
    ["instances", "zone", "event", "match_minute", "score_diff", "temperature", "crowd_density", "Zone", "__proto__"]
) | st.text(max_size=6)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=6), max_leaves=16
)
_CONTEXT = st.fixed_dictionaries(
    {"zone": st.sampled_from(ZONES)},
    optional=dict.fromkeys(("event", "match_minute", "score_diff", "temperature", "crowd_density", "extra"), _LEAVES),
)
_BATCH = st.fixed_dictionaries({"instances": st.lists(_CONTEXT, max_size=4)})
_TEXTS = (_JSON | _CONTEXT | _BATCH).map(json.dumps)
_DUPLICATE = st.tuples(st.sampled_from(ZONES), st.sampled_from([*ZONES, "Moon"])).map(
    lambda pair: f'{{"zone": "{pair[0]}", "zone": "{pair[1]}"}}'
)
_DEEP = st.tuples(st.sampled_from(["[", '{"a":', '{"instances":[']), st.integers(1, 3000)).map(
    lambda pair: pair[0] * pair[1]
)

BODIES = (
    _TEXTS.map(str.encode)
    | _DUPLICATE.map(str.encode)
    | _DEEP.map(str.encode)
    | st.binary(max_size=60)
    | _TEXTS.flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text.encode()[:end]))
    | _TEXTS.map(lambda text: text.encode("utf-16"))
)
HEADERS = st.fixed_dictionaries(
    {
        "Content-Type": st.sampled_from(
            ["application/json"] * 6 + ["application/json; charset=utf-8", "text/plain", "a+json", ""]
        )
    },
    optional={
        "Content-Encoding": st.sampled_from(["identity", "gzip", "br"]),
        "Origin": st.sampled_from(["https://a.example", "null"]),
        "Accept": st.sampled_from(["text/html", "*/*", "image/png", ""]),
        "X-Cloud-Trace-Context": st.sampled_from(["abc/1;o=1", "//", "é".encode("latin-1").decode("latin-1")]),
        "User-Agent": st.sampled_from(["", "x" * 3000]),
    },
)


def conforms(method: str, status: int, headers: Mapping[str, str], content: bytes) -> bool:
    """Say whether an answer is one of those that are promised."""
    kind = headers.get("Content-Type", "")
    if status == 204:
        return method == "OPTIONS" and not content and bool(headers.get("Allow"))
    if status == 200:
        return kind.startswith("text/html") or (kind == "application/json" and isinstance(json.loads(content), dict))
    if status not in (400, 404, 405, 413, 415):
        return False
    document = json.loads(content)
    members = {"type", "title", "status", "detail"} <= set(document) and document["status"] == status
    return kind == "application/problem+json" and members and (status != 405 or bool(headers.get("Allow")))
