# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nobody means to send, and what an answer to any request must look like."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from ml.core.schema import DEFAULT

ZONES, EVENTS = (field.values for field in DEFAULT.choices)


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


def conforms(method: str, status: int, headers: http.client.HTTPMessage, content: bytes) -> bool:
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


def schemathesis_cases(url: str, cases: int) -> Counter[Any]:
    """Run every check of Schemathesis on generated requests; raises at the first that does not conform."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    schema.config.base_url = url
    counts: Counter[Any] = Counter()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            post = operation.method.upper() == "POST"
            if mode is schemathesis.GenerationMode.NEGATIVE and not post:
                continue  # there is nothing to be wrong about

            @settings(
                max_examples=cases // 2 if post else 100, deadline=None, database=None, derandomize=True,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case[Any]) -> None:
                counts["cases"] += 1
                # No document can say that a parameter closes the body.
                case.query = {name: value for name, value in (case.query or {}).items() if name != "strict"}
                response = case.call()
                counts[response.status_code] += 1
                case.validate_response(response)

            check()
    return counts


def hypothesis_cases(port: int, cases: int) -> Counter[Any]:
    """Send odd requests; raises at the first whose answer is not as promised."""
    counts: Counter[Any] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()

    methods = st.sampled_from(["POST"] * 8 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
    paths = st.sampled_from(
        ["/"] * 8
        + ["/?probabilities=true", "/?probabilities=x", "/?strict=true", "/schema", "/model", "/nothing", "/a%00b"]
    )

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(BODIES, HEADERS, methods, paths)
    def check(body: bytes, headers: dict[str, str], method: str, path: str) -> None:
        counts["cases"] += 1
        try:
            answer, content = ask(method, path, body, headers)
        except (ConnectionError, http.client.RemoteDisconnected):  # the server closes idle connections after 2 s
            connection.close()
            answer, content = ask(method, path, body, headers)
        counts[answer.status] += 1
        assert conforms(method, answer.status, answer.headers, content), (
            method,
            path,
            headers,
            body[:200],
            answer.status,
        )

    check()
    return counts
