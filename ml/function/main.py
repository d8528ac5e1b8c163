# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function: match context in, sponsor out.

Environment: ``MODEL_BUCKET`` (required), ``ALLOWED_ORIGINS`` ("*", or origins separated by commas; empty for none),
``MODEL_REFRESH_SECONDS`` (60; how old the knowledge of the live release may get), ``REQUEST_SECONDS`` (10; how long a
sender may be silent in the middle of a request), ``GOOGLE_CLOUD_PROJECT`` (ties log entries to traces).

Deployed at the top of the archive, with the package ``ml`` beside it.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import functions_framework
import intake
import orjson
import state
from responses import (
    HTML,
    METHODS,
    HttpProblem,
    SenderGoneError,
    add_cors,
    json_bytes,
    log_request,
    of_the_framework,
    problem_response,
    reply,
    too_slow,
)
from werkzeug.exceptions import HTTPException

from ml.context import FIELDS


@functions_framework.http
def recommend_sponsor(request: flask.Request) -> flask.Response:
    """Answer one request; every failure that a request can cause ends in problem+json."""
    started = time.perf_counter()
    noted: dict[str, Any] = {}  # for the log entry
    try:
        answer = _route(request, noted)
    except HttpProblem as problem:
        answer = problem_response(request, problem)
    except SenderGoneError:
        answer = too_slow()
    except Exception as error:  # a defect of ours; the caller gets a document all the same
        noted["stack_trace"] = traceback.format_exc()
        detail = f"the function failed with {type(error).__name__}; see its log"
        answer = problem_response(request, HttpProblem(500, "Internal Server Error", detail))
    add_cors(request, answer)
    log_request(request, answer, time.perf_counter() - started, noted)
    return answer


def _route(request: flask.Request, noted: dict[str, Any]) -> flask.Response:
    method, path = request.method, request.path
    if path == "/" and method == "POST":
        return _predict(request, noted)
    page = _PAGES.get(path)
    if page is None:
        known = ", ".join(_PAGES)
        raise HttpProblem(404, "Not Found", f"there is nothing at {path[:200]}; there is something at {known}")
    allowed = METHODS if path == "/" else "GET, HEAD, OPTIONS"
    if method == "OPTIONS":
        return flask.Response(status=204, headers={"Allow": allowed})
    if method not in ("GET", "HEAD"):
        detail = f"{method[:80]} is not supported here; use {allowed}"
        raise HttpProblem(405, "Method Not Allowed", detail, {"Allow": allowed})
    return page(request)


def _predict(request: flask.Request, noted: dict[str, Any]) -> flask.Response:
    detailed = intake.detailed(request)
    document = intake.body(request)
    batch = type(document) is dict and "instances" in document
    contexts, features = intake.instances(document) if batch else intake.context(document)
    release, answers = state.live()
    rows = answers.rows(contexts, features, detailed=detailed)
    named = {"version": release.version, "manifest": release.digest}
    noted["release"], noted["rows"] = named, len(rows)
    body = {"predictions": rows, "release": named} if batch else {**rows[0], "release": named}
    return _named(reply(orjson.dumps(body)), release.version, release.digest)


# What can be read


def _home(request: flask.Request) -> flask.Response:
    """A page for people, and the state of the service for programs."""
    if "text/html" in request.headers.get("Accept", ""):
        answer = reply(_page(), kind=HTML)
        answer.headers["Content-Security-Policy"] = _PAGE_POLICY
    else:
        about = {
            "service": "sponsor recommendation",
            "usage": 'POST a match context to this URL, or {"instances": [context, …]}; openapi.json describes it',
            "context": {
                field.name: {"allowed": field.allowed, "required": field.default is None, "meaning": field.description}
                for field in FIELDS
            },
        }
        answer = reply(json_bytes({**state.health(), **about}))
    answer.headers["Vary"] = "Accept"
    return answer


@functools.cache
def _page() -> bytes:
    return Path(__file__).with_name("page.html").read_bytes()


def _healthz(request: flask.Request) -> flask.Response:
    found = state.health()
    answer = reply(json_bytes(found), 200 if found["release"] else 503)
    if not found["release"]:
        answer.headers["Retry-After"] = "5"
    return answer


def _model(request: flask.Request) -> flask.Response:
    release, document = state.model()
    return _named(reply(json_bytes(document)), release.version, release.digest)


def _openapi(request: flask.Request) -> flask.Response:
    from openapi import describe

    return reply(json_bytes(describe(intake.MAX_ROWS, intake.MAX_BODY_BYTES)))


def _named(answer: flask.Response, version: int, digest: str) -> flask.Response:
    """Say in the headers which release answered."""
    answer.headers.extend((("X-Model-Version", str(version)), ("X-Model-Manifest", digest)))
    return answer


_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)

# Google's front end keeps /healthz on run.app addresses to itself; /health is the same.
_PAGES: dict[str, Callable[[flask.Request], flask.Response]] = {
    "/": _home, "/healthz": _healthz, "/health": _healthz, "/model": _model, "/openapi.json": _openapi,
}  # fmt: skip


if flask.has_app_context():
    flask.current_app.register_error_handler(HTTPException, of_the_framework)
