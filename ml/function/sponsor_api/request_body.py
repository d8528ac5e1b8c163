# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes in: the body of a prediction request, within its limits, as validated contexts and their features."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qs

import orjson

from ml.core.context import SHOWN, ContextError, Problem, near_misses, validate
from ml.core.features import Features, encode
from ml.core.schema import DEFAULT, Context, Schema
from sponsor_api.answers import validate_columns
from sponsor_api.responses import Environ, HttpProblem, environment_seconds, json_bytes

MAX_BODY_BYTES = 4 * 2**20
MAX_ROWS = 10_000
MAX_PROBLEMS = MAX_IGNORED = 20  # listed in one answer; a batch may have thousands
REQUEST_SECONDS = environment_seconds("REQUEST_SECONDS", 10)  # that a sender may be silent; 0 for ever
_PATIENCE = struct.pack("@ll", int(REQUEST_SECONDS), int(REQUEST_SECONDS % 1 * 1e6))  # a struct timeval

_DISCARD_BYTES = 33 * 2**20  # Cloud Run refuses requests of more than 32 MiB


class SenderGoneError(Exception):
    """The rest of a request does not come."""


class Wishes(NamedTuple):
    """What the query asks for: the probabilities of all sponsors, and to refuse members that the schema does not know."""

    probabilities: bool = False
    strict: bool = False


class Asked(NamedTuple):
    """The validated contexts of a request, their features, and what was ignored."""

    contexts: list[Context]
    features: Features
    ignored: Collection[str]


_NO_WISHES = Wishes()


def wishes(environ: Environ) -> Wishes:
    """Return what the query of a prediction asks for."""
    return Wishes(**flags(environ, Wishes._fields)) if environ.get("QUERY_STRING") else _NO_WISHES


def flags(environ: Environ, known: Collection[str]) -> dict[str, bool]:
    """Return the parameters of a query, each true or false, of which only these are ``known``."""
    parameters = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if unknown := [name[:80] for name in parameters if name not in known][:10]:
        _problem(400, "Bad Request", f"the query parameters are {', '.join(known)}, got {', '.join(unknown)}")
    for name, values in parameters.items():
        if values[-1] not in ("true", "false"):
            _problem(400, "Bad Request", f"the query parameter {name} must be true or false, got {values[-1][:80]}")
    return {name: values[-1] == "true" for name, values in parameters.items()}


def body(environ: Environ) -> Any:
    """Return the JSON document of the request, within the limits."""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "") and not kind.endswith("+json"):
        _problem(415, "Unsupported Media Type", f"send Content-Type: application/json, not {kind[:80]}")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("", "identity"):
        _problem(415, "Unsupported Media Type", "send the body without Content-Encoding")
    length = _length(environ)
    if length is not None and length > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes, got {length}")
    data = _read(environ, MAX_BODY_BYTES + 1 if length is None else length)
    if len(data) > MAX_BODY_BYTES:
        _problem(413, "Content Too Large", f"at most {MAX_BODY_BYTES} bytes")
    try:
        return orjson.loads(data)
    except ValueError as error:  # not JSON, not UTF-8, or nested too deeply
        what = f"the body is not JSON: {str(error)[:200]}" if data.strip() else "the body is empty"
        example = json_bytes(DEFAULT.short_example).decode().strip()
        _problem(400, "Bad Request", f"{what}; send a match context such as {example}")


def discard(environ: Environ) -> None:
    """Read and forget the body of a refused request, so that its sender comes to read the answer."""
    left = min(_DISCARD_BYTES, _length(environ) or _DISCARD_BYTES)
    while left > 0 and (chunk := _read(environ, min(left, 65_536))):
        left -= len(chunk)


def _length(environ: Environ) -> int | None:
    """Return the length of the body, None for one that ends by itself (chunked)."""
    text = environ.get("CONTENT_LENGTH", "")
    if text:
        return int(text)  # the server has refused what is no number
    return None if environ.get("wsgi.input_terminated") else 0


def _read(environ: Environ, size: int) -> bytes:
    """Return ``size`` bytes of the body, or what there is; SenderGoneError if nothing came for REQUEST_SECONDS."""
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        # Not settimeout: that gives the interpreter away three times a request, which costs a sixth of the requests/s.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
    try:
        data: bytes = environ["wsgi.input"].read(size)
    except OSError as error:
        raise SenderGoneError(str(error)) from error
    return data


def read(schema: Schema, document: Any, *, strict: bool) -> Asked:
    """Return the one context of a document, or those of its batch, judged by ``schema``; refuse it with what is wrong."""
    ignored: set[str] | None = None if strict else set()
    if type(document) is dict and "instances" in document:
        contexts, features = _instances(schema, document, ignored)
        return Asked(contexts, features, ignored or ())
    try:
        contexts = [validate(schema, document, "", ignored)]
    except ContextError as error:
        _invalid(error.problems)
    return Asked(contexts, encode(schema, contexts), ignored or ())


def ignored_members(schema: Schema, names: Collection[str]) -> dict[str, Any]:
    """Return what an answer says about members that were ignored: their names, and hints for those that look like a field."""
    shown = sorted(names)[:MAX_IGNORED]
    told: dict[str, Any] = {"ignored": [name[:SHOWN] for name in shown]}
    if hints := [f"{sent} is not a member: did you mean {meant}?" for sent, meant in near_misses(schema, shown)]:
        told["hints"] = hints
    return told


def _instances(schema: Schema, document: Mapping[str, Any], ignored: set[str] | None) -> tuple[list[Context], Features]:
    """Return the validated contexts of a batch and their features, or refuse it with what is wrong in any row."""
    instances = document["instances"]
    others = [name for name in document if name != "instances"]
    if refused := others if ignored is None else [name for name in others if name in schema.names]:
        named = ", ".join(name[:80] for name in refused[:10])
        _problem(400, "Bad Request", f"a batch has the member instances and no other, got also {named}")
    if not isinstance(instances, list) or not instances:
        _problem(400, "Bad Request", f"instances must be an array of 1 to {MAX_ROWS} match contexts")
    if len(instances) > MAX_ROWS:
        allowed, sent = f"at most {MAX_ROWS} match contexts", str(len(instances))
        _invalid([Problem("instances", f"instances may have {allowed} a request, got {sent}", allowed, sent)])
    if ignored is not None:
        ignored.update(others)
    found = validate_columns(schema, instances, ignored)
    if found is not None:
        return found
    contexts, problems = [], []
    for row, instance in enumerate(instances):
        try:
            contexts.append(validate(schema, instance, f"instances[{row}].", ignored))
        except ContextError as error:
            problems += error.problems
            if len(problems) >= MAX_PROBLEMS:
                break
    if problems:
        _invalid(problems[:MAX_PROBLEMS])
    return contexts, encode(schema, contexts)


def _invalid(problems: list[Problem]) -> NoReturn:
    detail = "; ".join(problem.detail for problem in problems)
    raise HttpProblem(400, "Invalid match context", detail, errors=[problem.as_dict() for problem in problems])


def _problem(status: int, title: str, detail: str) -> NoReturn:
    raise HttpProblem(status, title, detail)
