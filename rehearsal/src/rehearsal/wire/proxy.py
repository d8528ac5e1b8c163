# SPDX-License-Identifier: GPL-3.0-or-later
"""Handing a request on to a server behind the gateway: the storage server, or a function's instance."""

from __future__ import annotations

import http.client
from collections.abc import Iterable

from werkzeug.wrappers import Response

# RFC 9110, 7.6.1, and the length, which the next server states anew.
HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "content-length",
    }
)  # fmt: skip
# Between the front door and the control plane only.
INTERNAL = frozenset({"x-forwarded-host", "x-rehearsal-target", "x-rehearsal-lose"})
# The gateway states its own.
OF_THE_SERVER = frozenset({"date", "server"})


def passed_on(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of a request that the next server gets."""
    return {name: value for name, value in headers if name.lower() not in HOP_BY_HOP | INTERNAL}


def forward(
    address: tuple[str, int],
    verb: str,
    target: str,
    *,
    body: bytes,
    headers: dict[str, str],
    timeout: float,
    most: int | None = None,
) -> Response:
    """Return what the server at `address` answers, read up to `most` bytes; `timeout` in seconds.

    Raises TimeoutError, OSError and http.client.HTTPException as the connection does.
    """
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request(verb, target, body=body, headers=headers)
        answer = connection.getresponse()
        response = Response(answer.read(most), answer.status)
    finally:
        connection.close()
    response.headers.remove("Content-Type")  # werkzeug's own guess
    for name, value in answer.getheaders():
        if name.lower() not in HOP_BY_HOP | OF_THE_SERVER:
            response.headers.add(name, value)
    if verb == "HEAD" and (length := answer.getheader("Content-Length")):  # of the body that GET would have
        response.headers["Content-Length"] = length
    return response
