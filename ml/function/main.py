# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function: match context in, sponsor out.

Environment: ``MODEL_BUCKET`` (required), ``ALLOWED_ORIGINS`` ("*", or origins separated by commas; empty for none),
``MODEL_REFRESH_SECONDS`` (60; how old the knowledge of the live release may get), ``REQUEST_SECONDS`` (10; how long a
sender may be silent in the middle of a request), ``GOOGLE_CLOUD_PROJECT`` (ties log entries to traces), ``MODEL_MAX_AGE_SECONDS`` (0,
for ever; after how many seconds a schedule should have brought a release, or found that nothing is new).

Deployed at the top of the archive, with the package ``ml`` beside it.
"""

from __future__ import annotations

import functools
import socket
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import functions_framework
import orjson
from werkzeug.wrappers import Response

from ml.core.schema import DEFAULT
from sponsor_api import request_body, state
from sponsor_api.responses import HTML, METHODS, Answer, Environ, HttpProblem, cors, json_bytes, log_request, reply

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)


@functions_framework.http
def recommend_sponsor(request: flask.Request) -> Response:
    """Answer a request that came through Flask."""
    return Response.from_app(application, request.environ)


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request (WSGI); every failure that a request can cause ends in problem+json.

    This takes the place of the framework's own application, whose routing, request and response objects would take
    several times as long as a prediction.
    """
    started = time.perf_counter()
    noted: dict[str, Any] = {}  # for the log entry
    try:
        answer = _route(environ, noted)
    except HttpProblem as problem:
        answer = _refusal(environ, problem)
    except request_body.SenderGoneError:
        answer = _too_slow(environ)
    except Exception as error:  # a defect of ours; the caller gets a document all the same
        noted["stack_trace"] = traceback.format_exc()
        detail = f"the function failed with {type(error).__name__}; see its log"
        answer = _refusal(environ, HttpProblem(500, "Internal Server Error", detail))
    log_request(environ, answer.status, time.perf_counter() - started, noted)
    start_response(answer.status_line, answer.headers + cors(environ))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


if flask.has_app_context():
    flask.current_app.wsgi_app = application  # type: ignore[method-assign]  # as Flask documents for middleware


def _route(environ: Environ, noted: dict[str, Any]) -> Answer:
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
    if path == "/" and method == "POST":
        return _predict(environ, noted)
    page = _PAGES.get(path)
    if page is None:
        known = ", ".join(_PAGES)
        raise HttpProblem(404, "Not Found", f"there is nothing at {path[:200]}; there is something at {known}")
    allowed = METHODS if path == "/" else "GET, HEAD, OPTIONS"
    if method == "OPTIONS":
        return Answer(204, [("Allow", allowed)], b"")
    if method not in ("GET", "HEAD"):
        detail = f"{method[:80]} is not supported here; use {allowed}"
        raise HttpProblem(405, "Method Not Allowed", detail, {"Allow": allowed})
    return page(environ)


def _refusal(environ: Environ, problem: HttpProblem) -> Answer:
    try:
        request_body.discard(environ)
    except request_body.SenderGoneError:
        return _too_slow(environ)
    return problem.answer()


def _too_slow(environ: Environ) -> Answer:
    """The sender fell silent or went away: answer, if somebody is there to listen, and read no more."""
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
    detail = f"the body did not arrive: nothing was sent for {request_body.REQUEST_SECONDS} s, or the connection broke"
    return HttpProblem(408, "Request Timeout", detail).answer()


def _predict(environ: Environ, noted: dict[str, Any]) -> Answer:
    wishes = request_body.wishes(environ)
    document = request_body.body(environ)
    try:
        release, answers = state.live()
    except HttpProblem:
        request_body.read(DEFAULT, document, strict=wishes.strict)  # what is wrong with the request is said first
        raise
    # One release for all of a request: its schema judges it, its model answers it.
    asked = request_body.read(answers.schema, document, strict=wishes.strict)
    rows = answers.rows(asked.contexts, asked.features, detailed=wishes.probabilities)
    named = {"version": release.version, "manifest": release.digest}
    noted["release"], noted["rows"] = named, len(rows)
    body: dict[str, Any] = {"predictions": rows} if "instances" in document else rows[0]
    if asked.ignored:
        body |= request_body.ignored_members(answers.schema, asked.ignored)
    body["release"] = named
    return _named(reply(orjson.dumps(body)), release.version, release.digest)


def _home(environ: Environ) -> Answer:
    """A page for people, and the state of the service for programs."""
    if "text/html" in environ.get("HTTP_ACCEPT", ""):
        answer = reply(_page(), kind=HTML)
        answer.headers.append(("Content-Security-Policy", _PAGE_POLICY))
    else:
        about = {
            "service": "sponsor recommendation",
            "usage": 'POST a match context to this URL, or {"instances": [context, …]}; openapi.json describes it',
            "context": {
                field.name: {"allowed": field.allowed, "required": field.default is None, "meaning": field.description}
                for field in state.schema().fields
            },
        }
        answer = reply(json_bytes({**state.health(), **about}))
    answer.headers.append(("Vary", "Accept"))
    return answer


@functools.cache
def _page() -> bytes:
    return Path(__file__).with_name("sponsor_api").joinpath("page.html").read_bytes()


def _healthz(environ: Environ) -> Answer:
    """The state, and whether scheduled runs come; asked strictly it answers 503 when they do not, as a dead man's switch does."""
    strict = request_body.flags(environ, ("strict",)).get("strict", False)
    found = state.health()
    found["schedule"] = state.schedule(found["release"])
    if found["release"]:
        overdue = found["schedule"] is not None and found["schedule"]["overdue"]
        return reply(json_bytes(found), 503 if strict and overdue else 200)
    answer = reply(json_bytes(found), 503)
    answer.headers.append(("Retry-After", "5"))
    return answer


def _model(environ: Environ) -> Answer:
    release, document = state.model()
    return _named(reply(json_bytes(document)), release.version, release.digest)


def _schema(environ: Environ) -> Answer:
    release, answers = state.live()
    named = {"version": release.version, "manifest": release.digest}
    return _named(reply(json_bytes({**answers.schema.document, "release": named})), release.version, release.digest)


def _openapi(environ: Environ) -> Answer:
    from sponsor_api.openapi import describe

    return reply(json_bytes(describe(state.schema(), request_body.MAX_ROWS, request_body.MAX_BODY_BYTES)))


def _named(answer: Answer, version: int, digest: str) -> Answer:
    """Say in the headers which release answered."""
    answer.headers.extend((("X-Model-Version", str(version)), ("X-Model-Manifest", digest)))
    return answer


# Google's front end keeps /healthz on run.app addresses to itself; /health is the same.
_PAGES: dict[str, Callable[[Environ], Answer]] = {
    "/": _home, "/healthz": _healthz, "/health": _healthz, "/model": _model, "/schema": _schema,
    "/openapi.json": _openapi,
}  # fmt: skip
