# SPDX-License-Identifier: GPL-3.0-or-later
"""What the function answers with: documents, problems, headers, and one log entry for each request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import flask
import orjson
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected, HTTPException

PROJECT = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
ORIGINS = frozenset(name.strip() for name in os.environ.get("ALLOWED_ORIGINS", "*").split(",") if name.strip())
METHODS = "GET, HEAD, POST, OPTIONS"
JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html; charset=utf-8"

_DISCARD_BYTES = 33 * 2**20  # Cloud Run refuses requests of more than 32 MiB
_EXPOSED = "X-Model-Version, X-Model-Manifest, Retry-After"


def log(severity: str, message: str, **details: Any) -> None:
    """Write one structured entry, as Cloud Logging reads it. One write, so that threads do not mix their lines."""
    os.write(1, orjson.dumps({"severity": severity, "message": message, **details}, option=orjson.OPT_APPEND_NEWLINE))


def environment_seconds(name: str, default: float) -> float:
    """Return a setting in seconds; a value that cannot be meant is logged, and the default taken."""
    text = os.environ.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        log("ERROR", f"{name} must be a number from 0 to 86400, got {text!r}; using {default:g}")
        return default
    return seconds


REQUEST_SECONDS = environment_seconds("REQUEST_SECONDS", 10) or None  # that a sender may be silent


class SenderGoneError(Exception):
    """The rest of a request does not come."""


class HttpProblem(Exception):
    """An answer that is not a success, as RFC 9457 writes it."""

    def __init__(self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any):
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


def json_bytes(document: Any) -> bytes:
    """Return a document as JSON in UTF-8, with a line end for those who read it in a terminal."""
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def reply(body: bytes, status: int = 200, kind: str = JSON) -> flask.Response:
    """Return a response with a body that is ready."""
    return flask.Response(body, status, Headers([("Cache-Control", "no-store")]), content_type=kind)


def problem_response(request: flask.Request, problem: HttpProblem) -> flask.Response:
    """Return a problem as the answer to a request, whose body is read to its end first."""
    try:
        _discard(request)
    except SenderGoneError:
        return too_slow()
    response = reply(json_bytes(problem.document), problem.status, PROBLEM)
    response.headers.extend(problem.headers)
    return response


def too_slow() -> flask.Response:
    """The sender fell silent or went away: answer, if somebody is there to listen, and close the connection.

    The body is a stream, since for others the framework would try to read the rest of the request.
    """
    detail = f"the body did not arrive: nothing was sent for {REQUEST_SECONDS} s, or the connection broke"
    problem = HttpProblem(408, "Request Timeout", detail)

    def stream() -> Iterator[bytes]:
        yield json_bytes(problem.document)

    response = flask.Response(stream(), 408, content_type=PROBLEM)
    response.headers.extend((("Connection", "close"), ("Cache-Control", "no-store")))
    return response


def read_body(request: flask.Request, limit: int) -> bytes:
    """Return at most ``limit`` bytes of the body; raise SenderGoneError when nothing came for REQUEST_SECONDS."""
    socket = request.environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(REQUEST_SECONDS)
    try:
        body = request.stream.read(limit)
    except (OSError, ClientDisconnected) as error:
        raise SenderGoneError(str(error)) from error
    if socket is not None:
        socket.settimeout(None)
    return body


def _discard(request: flask.Request) -> None:
    """Read and forget what is left of a refused body: the framework would otherwise read it all into memory."""
    left = _DISCARD_BYTES
    while left > 0 and (chunk := read_body(request, min(left, 65_536))):
        left -= len(chunk)


def add_cors(request: flask.Request, response: flask.Response) -> None:
    """Let the browsers of the allowed origins read the answer."""
    headers = response.headers
    if "*" in ORIGINS:
        headers.add("Access-Control-Allow-Origin", "*")
    else:
        headers.add("Vary", "Origin")
        origin = request.environ.get("HTTP_ORIGIN", "")
        if origin not in ORIGINS:
            return
        headers.add("Access-Control-Allow-Origin", origin)
    headers.add("Access-Control-Expose-Headers", _EXPOSED)
    if request.method == "OPTIONS":
        headers.add("Access-Control-Allow-Methods", METHODS)
        headers.add("Access-Control-Allow-Headers", "Content-Type, Authorization")
        headers.add("Access-Control-Max-Age", "3600")


def log_request(request: flask.Request, response: flask.Response, seconds: float, noted: dict[str, Any]) -> None:
    """Write the log entry of a request; ``noted`` is what else is known of it, such as the release that answered."""
    environ, status = request.environ, response.status_code
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")[:200]
    trace = environ.get("HTTP_X_CLOUD_TRACE_CONTEXT", "").partition("/")[0]
    if trace and PROJECT:
        noted["logging.googleapis.com/trace"] = f"projects/{PROJECT}/traces/{trace}"
    log(
        "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR",
        f"{method} {path} {status}",
        httpRequest={
            "requestMethod": method,
            "requestUrl": path,
            "status": status,
            "latency": f"{seconds:.6f}s",
            "userAgent": environ.get("HTTP_USER_AGENT", "")[:200],
        },
        latency_ms=round(seconds * 1000, 3),
        **noted,
    )


def of_the_framework(error: HTTPException) -> flask.Response:
    """What the framework refuses by itself, in the same form as everything else."""
    problem = HttpProblem(error.code or 500, error.name, " ".join(str(error.description).split())[:500])
    response = reply(json_bytes(problem.document), problem.status, PROBLEM)
    add_cors(flask.request, response)
    return response
