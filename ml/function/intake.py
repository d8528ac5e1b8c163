# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes in: the body of a prediction request, within its limits, as validated contexts and their features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import flask
import orjson
from answers import plain
from responses import HttpProblem, read_body

from ml.context import Context, ContextError, Problem, validate
from ml.features import Features, encode

MAX_BODY_BYTES = 4 * 2**20
MAX_ROWS = 10_000
MAX_PROBLEMS = 20  # listed in one answer; a batch may have thousands


def detailed(request: flask.Request) -> bool:
    """Return whether the probabilities of all sponsors are asked for."""
    if not request.query_string:
        return False
    wanted = request.args.get("probabilities", "false")
    if wanted not in ("true", "false"):
        _problem(400, "Bad Request", f"the query parameter probabilities must be true or false, got {wanted[:80]}")
    return wanted == "true"


def body(request: flask.Request) -> Any:
    """Return the JSON document of the request, within the limits."""
    environ = request.environ
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "") and not kind.endswith("+json"):
        _problem(415, "Unsupported Media Type", f"send Content-Type: application/json, not {kind[:80]}")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("", "identity"):
        _problem(415, "Unsupported Media Type", "send the body without Content-Encoding")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes, got {request.content_length}")
    body = read_body(request, MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes")
    try:
        return orjson.loads(body)
    except ValueError as error:  # not JSON, not UTF-8, or nested too deeply
        what = f"the body is not JSON: {str(error)[:200]}" if body.strip() else "the body is empty"
        _problem(400, "Bad Request", f'{what}; send a match context such as {{"zone": "VIP", "event": "Goal"}}')


def context(document: Any) -> tuple[list[Context], Features]:
    """Return the one validated context, and its features."""
    try:
        contexts = [validate(document)]
    except ContextError as error:
        _invalid(error.problems)
    return contexts, encode(contexts)


def instances(document: Mapping[str, Any]) -> tuple[list[Context], Features]:
    """Return the validated contexts of a batch and their features, or refuse it with what is wrong in any row."""
    instances = document["instances"]
    if len(document) > 1:
        others = ", ".join(name[:80] for name in list(document)[:10] if name != "instances")
        _problem(400, "Bad Request", f"a batch has the member instances and no other, got also {others}")
    if not isinstance(instances, list) or not instances:
        _problem(400, "Bad Request", f"instances must be an array of 1 to {MAX_ROWS} match contexts")
    if len(instances) > MAX_ROWS:
        _problem(413, "Content Too Large", f"at most {MAX_ROWS} instances a request, got {len(instances)}")
    found = plain(instances)
    if found is not None:
        return found
    contexts, problems = [], []
    for row, instance in enumerate(instances):
        try:
            contexts.append(validate(instance, f"instances[{row}]."))
        except ContextError as error:
            problems += error.problems
            if len(problems) >= MAX_PROBLEMS:
                break
    if problems:
        _invalid(problems[:MAX_PROBLEMS])
    return contexts, encode(contexts)


def _invalid(problems: list[Problem]) -> NoReturn:
    detail = "; ".join(problem.detail for problem in problems)
    raise HttpProblem(400, "Invalid match context", detail, errors=[problem.as_dict() for problem in problems])


def _problem(status: int, title: str, detail: str) -> NoReturn:
    raise HttpProblem(status, title, detail)
