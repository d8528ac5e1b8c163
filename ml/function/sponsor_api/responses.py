# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes out: documents, problems, headers, and one log entry for each request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

Environ = dict[str, Any]  # of a WSGI request
Headers = list[tuple[str, str]]

PROJECT = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
ORIGINS = frozenset(name.strip() for name in os.environ.get("ALLOWED_ORIGINS", "*").split(",") if name.strip())
METHODS = "GET, HEAD, POST, OPTIONS"
JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html; charset=utf-8"

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_EXPOSED = ("Access-Control-Expose-Headers", "X-Model-Version, X-Model-Manifest, Retry-After")
_ANY_ORIGIN: Headers = [("Access-Control-Allow-Origin", "*"), _EXPOSED]
_PREFLIGHT: Headers = [
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
    ("Access-Control-Max-Age", "3600"),
]


class Answer(NamedTuple):
    """A response: HTTP status, the headers of its own, and the body."""

    status: int
    headers: Headers
    body: bytes

    @property
    def status_line(self) -> str:
        """The status as WSGI wants it."""
        return _STATUS[self.status]


class HttpProblem(Exception):
    """An answer that is not a success, as RFC 9457 writes it."""

    def __init__(self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any):
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}

    def answer(self) -> Answer:
        """Return the response."""
        found = reply(json_bytes(self.document), self.status, PROBLEM)
        found.headers.extend(self.headers.items())
        return found


def log(severity: str, message: str, **details: Any) -> None:
    """Write one structured entry, as Cloud Logging reads it. One write, so that threads do not mix their lines."""
    os.write(1, orjson.dumps({"severity": severity, "message": message, **details}, option=orjson.OPT_APPEND_NEWLINE))


def environment_seconds(name: str, default: float, most: float = 86_400) -> float:
    """Return a setting in seconds, ``most`` at most; a value that cannot be meant is logged, and the default taken."""
    text = os.environ.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= most:
        log("ERROR", f"{name} must be a number from 0 to {most:.0f}, got {text!r}; using {default:g}")
        return default
    return seconds


def json_bytes(document: Any) -> bytes:
    """Return a document as JSON in UTF-8, with a line end for those who read it in a terminal."""
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def reply(body: bytes, status: int = 200, kind: str = JSON) -> Answer:
    """Return an answer with a body."""
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return Answer(status, headers, body)


def cors(environ: Environ) -> Headers:
    """Return the headers that let the browsers of the allowed origins read the answer."""
    preflight = _PREFLIGHT if environ["REQUEST_METHOD"] == "OPTIONS" else []
    if "*" in ORIGINS:
        return _ANY_ORIGIN + preflight
    origin = environ.get("HTTP_ORIGIN", "")
    if origin not in ORIGINS:
        return [("Vary", "Origin")]
    return [("Vary", "Origin"), ("Access-Control-Allow-Origin", origin), _EXPOSED, *preflight]


def log_request(environ: Environ, status: int, seconds: float, noted: dict[str, Any]) -> None:
    """Write the log entry of a request; ``noted`` is what else is known of it, such as the release that answered."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")[:200]
    trace = environ.get("HTTP_X_CLOUD_TRACE_CONTEXT", "").partition("/")[0]
    if trace and PROJECT:
        noted["logging.googleapis.com/trace"] = f"projects/{PROJECT}/traces/{trace[:64]}"
    log(
        "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR",
        f"{method[:20]} {path} {status}",
        httpRequest={
            "requestMethod": method[:20],
            "requestUrl": path,
            "status": status,
            "latency": f"{seconds:.6f}s",
            "userAgent": environ.get("HTTP_USER_AGENT", "")[:200],
        },
        latency_ms=round(seconds * 1000, 3),
        **noted,
    )
