# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function: match context in, sponsor out.

Environment: ``MODEL_BUCKET`` (required), ``ALLOWED_ORIGINS`` ("*", or origins separated by commas; empty for none),
``MODEL_REFRESH_SECONDS`` (60; how old the knowledge of the live release may get).

Deployed at the top of the archive, with the package ``ml`` beside it.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import flask
import functions_framework

from ml.context import FIELDS, Context, ContextError, Problem, validate
from ml.releases import Release, ReleaseError
from ml.serving import LiveModel, Model
from ml.sponsors import CATALOGUE

MAX_BODY_BYTES = 4 * 2**20
MAX_ROWS = 10_000
MAX_PROBLEMS = 20  # listed in one answer; a batch may have thousands
_DISCARD_BYTES = 33 * 2**20  # Cloud Run refuses requests of more than 32 MiB
_METHODS = "GET, HEAD, POST, OPTIONS"


def log(severity: str, message: str, **details: Any) -> None:
    """Write one structured entry, as Cloud Logging reads it."""
    print(json.dumps({"severity": severity, "message": message, **details}), flush=True)


def _read(path: str) -> bytes:
    """Read an object of the model bucket. A function must answer soon, so it gives up soon."""
    data: bytes = _bucket().read(path)
    return data


@functools.cache
def _bucket() -> Any:
    from ml.bucket import Bucket

    name = os.environ.get("MODEL_BUCKET")
    if not name:
        raise ReleaseError(
            "MODEL_BUCKET is not set; deploy the function with the name of the bucket in its environment"
        )
    return Bucket(name, timeout=5, deadline=10)


def _refresh_seconds() -> float:
    text = os.environ.get("MODEL_REFRESH_SECONDS", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        log("ERROR", f"MODEL_REFRESH_SECONDS must be a number from 0 to 86400, got {text!r}; using 60")
        return 60
    return seconds


LIVE = LiveModel(_read, _refresh_seconds(), log)


class HttpProblem(Exception):
    """An answer that is not a success, as RFC 9457 writes it."""

    def __init__(self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any):
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


@functions_framework.http
def recommend_sponsor(request: flask.Request) -> flask.Response:
    """Answer one request; every failure that a request can cause ends in problem+json."""
    try:
        response = _route(request)
    except HttpProblem as problem:
        _discard(request)
        response = _json(problem.document, problem.status, "application/problem+json")
        response.headers.extend(problem.headers)
    return _with_cors(request, response)


def _route(request: flask.Request) -> flask.Response:
    if request.path != "/":
        raise HttpProblem(404, "Not Found", f"there is nothing at {request.path[:200]}; send requests to /")
    if request.method == "OPTIONS":
        return flask.Response(status=204, headers={"Allow": _METHODS})
    if request.method in ("GET", "HEAD"):
        return _json(_information())
    if request.method == "POST":
        return _predict(_body(request))
    detail = f"{request.method} is not supported here; use POST with a match context, or GET for the state of the model"
    raise HttpProblem(405, "Method Not Allowed", detail, {"Allow": _METHODS})


def _body(request: flask.Request) -> Any:
    """Return the JSON document of the request, within the limits."""
    kind = request.mimetype
    if kind and kind != "application/json" and not kind.endswith("+json"):
        _problem(415, "Unsupported Media Type", f"send Content-Type: application/json, not {kind[:80]}")
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        _problem(415, "Unsupported Media Type", "send the body without Content-Encoding")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes, got {request.content_length}")
    body = request.stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        _problem(400, "Bad Request", "the body is nested too deeply")
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        what = "the body is empty" if not body.strip() else f"the body is not JSON: {str(error)[:200]}"
        _problem(400, "Bad Request", f'{what}; send a match context such as {{"zone": "VIP", "event": "Goal"}}')


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _predict(document: Any) -> flask.Response:
    batch = isinstance(document, Mapping) and "instances" in document
    contexts = _instances(document) if batch else [_context(document)]
    release, model = _live()
    predictions = _answers(model, contexts)
    named = {"version": release.version, "manifest": release.digest}
    body = {"predictions": predictions, "release": named} if batch else {**predictions[0], "release": named}
    response = _json(body)
    response.headers["X-Model-Version"] = str(release.version)
    response.headers["X-Model-Manifest"] = release.digest
    return response


def _context(document: Any) -> Context:
    try:
        return validate(document)
    except ContextError as error:
        _invalid(error.problems)


def _instances(document: Mapping[str, Any]) -> list[Context]:
    """Return the validated contexts of a batch, or refuse it with what is wrong in any of its rows."""
    instances = document["instances"]
    if len(document) > 1:
        others = ", ".join(str(name)[:80] for name in list(document)[:10] if name != "instances")
        _problem(400, "Bad Request", f"a batch has the member instances and no other, got also {others}")
    if not isinstance(instances, list) or not instances:
        _problem(400, "Bad Request", f"instances must be an array of 1 to {MAX_ROWS} match contexts")
    if len(instances) > MAX_ROWS:
        _problem(413, "Content Too Large", f"at most {MAX_ROWS} instances a request, got {len(instances)}")
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
    return contexts


def _invalid(problems: list[Problem]) -> NoReturn:
    detail = "; ".join(problem.detail for problem in problems)
    raise HttpProblem(400, "Invalid match context", detail, errors=[problem.as_dict() for problem in problems])


def _problem(status: int, title: str, detail: str) -> NoReturn:
    raise HttpProblem(status, title, detail)


def _live() -> tuple[Release, Model]:
    try:
        return LIVE.get()
    except ReleaseError as error:
        detail = f"no model can be served yet: {error}; train and publish one, then try again"
        raise HttpProblem(503, "Service Unavailable", detail, {"Retry-After": "5"}) from error


def _answers(model: Model, contexts: list[Context]) -> list[dict[str, Any]]:
    winners, probabilities = model.predict(contexts)
    confidences = probabilities[range(len(contexts)), winners].tolist()
    answers = []
    for context, winner, confidence in zip(contexts, winners.tolist(), confidences, strict=True):
        name = model.classes[winner]
        sponsor = CATALOGUE.get(name)
        answers.append(
            {
                "recommended_sponsor": name,
                "confidence": min(round(confidence, 6), 1.0),
                "campaign_message": sponsor.campaign_message if sponsor else "",
                "category": sponsor.category if sponsor else "",
                "context_used": context,
            }
        )
    return answers


def _information() -> dict[str, Any]:
    """Return the state of the model, and how to ask it."""
    about: dict[str, Any] = {
        "service": "sponsor recommendation",
        "usage": 'POST a match context to this URL, or {"instances": [context, …]}',
        "context": {
            field.name: {"allowed": field.allowed, "required": field.default is None, "meaning": field.description}
            for field in FIELDS
        },
    }
    try:
        release, _ = LIVE.get()
    except ReleaseError as error:
        return {"status": "no release", "reason": str(error), "release": None, **about}
    created = str(release.manifest.get("created", ""))
    metrics = release.manifest.get("metrics", {})
    return {
        "status": "serving" if LIVE.error is None else "serving the last known good release",
        "reason": LIVE.error,
        "release": {
            "version": release.version,
            "manifest": release.digest,
            "created": created,
            "age_seconds": _age(created),
            "accuracy": metrics.get("accuracy"),
            "ceiling": metrics.get("ceiling"),
        },
        **about,
    }


def _age(created: str) -> int | None:
    try:
        return max(0, int(time.time() - datetime.datetime.fromisoformat(created).timestamp()))
    except ValueError:
        return None


def _json(document: Any, status: int = 200, kind: str = "application/json") -> flask.Response:
    response = flask.Response(json.dumps(document) + "\n", status, mimetype=kind)
    response.headers["Cache-Control"] = "no-store"
    return response


def _discard(request: flask.Request) -> None:
    """Read and forget what is left of a refused body: the framework would otherwise read it all into memory."""
    left = _DISCARD_BYTES
    while left > 0 and (chunk := request.stream.read(min(left, 65_536))):
        left -= len(chunk)


def _with_cors(request: flask.Request, response: flask.Response) -> flask.Response:
    """Let the browsers of the allowed origins read the answer."""
    allowed = [origin.strip() for origin in os.environ.get("ALLOWED_ORIGINS", "*").split(",") if origin.strip()]
    origin = request.headers.get("Origin")
    if "*" in allowed:
        response.headers["Access-Control-Allow-Origin"] = "*"
    else:
        response.headers["Vary"] = "Origin"
        if origin not in allowed:
            return response
        response.headers["Access-Control-Allow-Origin"] = str(origin)
    response.headers["Access-Control-Expose-Headers"] = "X-Model-Version, X-Model-Manifest, Retry-After"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, Authorization"
        response.headers["Access-Control-Max-Age"] = "3600"
    return response
