# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch endpoint: several requests in one, `multipart/mixed`, as gcloud sends them for two or more VMs."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.client import responses
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from rehearsal.errors import ApiError
from rehearsal.wire.calls import PUBLIC, Call, raw_route

LARGEST = 1000
# Parts that wait for operations take long; one after the other they would outlast the client's patience.
AT_ONCE = 8


@dataclass(frozen=True)
class Part:
    """One request inside a batch; `target` is the undecoded path with its query."""

    content_id: str
    verb: str
    target: str
    host: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@raw_route(
    r"(www|compute)\.googleapis\.com", "POST", r"/batch/compute/(v1|beta)", method_id="compute.batch", permission=PUBLIC
)
def batch(call: Call) -> Response:
    """Answer every part as if it had come alone; each part is authenticated and recorded by itself."""
    parts = parse(call.request.headers.get("Content-Type", ""), call.request.get_data(), call.host)
    authorization = call.request.headers.get("Authorization")

    def answer(part: Part) -> Response:
        headers = dict(part.headers)
        if authorization and "authorization" not in {name.lower() for name in headers}:
            headers["Authorization"] = authorization
        return call.dispatch(part.verb, part.host, part.target, headers, part.body)

    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="batch") as pool:
        answers = list(pool.map(answer, parts))
    boundary = f"batch_{secrets.token_hex(16)}"
    content = compose(boundary, [(part.content_id, found) for part, found in zip(parts, answers, strict=True)])
    return Response(content, content_type=f"multipart/mixed; boundary={boundary}")


def parse(content_type: str, data: bytes, host: str) -> list[Part]:
    """Return the parts of a batch that was sent to `host`.

    Raises ApiError 400 when the body is no multipart/mixed of HTTP requests, or has more than 1,000 parts.
    """
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + data)
    if message.get_content_type() != "multipart/mixed" or not message.is_multipart():
        raise _bad("Failed to parse batch request: expected a multipart/mixed body with a boundary.")
    found = message.get_payload()
    inner = [part for part in found if isinstance(part, Message)] if isinstance(found, list) else []
    if len(inner) > LARGEST:
        raise _bad(f"The batch request has {len(inner)} parts, more than {LARGEST}.")
    return [_part(part, host) for part in inner]


def _part(message: Message, host: str) -> Part:
    if message.get_content_type() != "application/http":
        raise _bad("Failed to parse batch request: every part must be application/http.")
    payload = message.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    request_line, _, rest = raw.lstrip(b"\r\n").partition(b"\n")
    words = request_line.decode("latin-1").split()
    if len(words) < 2:
        raise _bad("Failed to parse batch request: a part has no request line.")
    inner = BytesParser().parsebytes(rest)
    body = inner.get_payload(decode=True)
    url = urlsplit(words[1])
    return Part(
        content_id=message.get("Content-ID", ""),
        verb=words[0].upper(),
        target=url.path + (f"?{url.query}" if url.query else ""),
        host=url.hostname or host,
        headers={name: value for name, value in inner.items() if name.lower() not in ("content-length", "host")},
        body=body.strip() if isinstance(body, bytes) else b"",
    )


def compose(boundary: str, answers: list[tuple[str, Response]]) -> bytes:
    """Return the body of a batch's answer; each part carries its Content-ID."""
    lines: list[bytes] = []
    for content_id, response in answers:
        phrase = responses.get(response.status_code, "")
        # `<id>` is answered as `<response-id>`, anything else as `response-id`.
        opening, name = ("<", content_id[1:]) if content_id.startswith("<") else ("", content_id)
        body = response.get_data()
        lines += [
            f"--{boundary}".encode(),
            b"Content-Type: application/http",
            f"Content-ID: {opening}response-{name}".encode(),
            b"",
            f"HTTP/1.1 {response.status_code} {phrase}".encode(),
            f"Content-Type: {response.content_type}".encode(),
            f"Content-Length: {len(body)}".encode(),
            b"",
            body,
        ]
    return b"\r\n".join([*lines, f"--{boundary}--".encode(), b""])


def _bad(text: str) -> ApiError:
    return ApiError(400, "parseError", text)
