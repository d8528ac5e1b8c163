# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS front door: a mitmproxy addon that hands every Google host to the control plane and lets the rest through.

Loaded by `mitmdump -s`; the control plane's port comes in the environment.
"""

from __future__ import annotations

import os
import re

from mitmproxy import http

GATEWAY_PORT = int(os.environ["REHEARSAL_GATEWAY_PORT"])
GOOGLE = re.compile(r"(.+\.)?(googleapis\.com|run\.app|cloudfunctions\.net)")
LOSE_HEADER = "X-Rehearsal-Lose"


class FrontDoor:
    """Rewrites requests for Google to plain HTTP on loopback; carries out lost requests and answers."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Send a request for Google to the control plane, with the host and the undecoded target it was meant for.

        Done as soon as the headers are there: a large body is passed on while it still comes in.
        """
        host = flow.request.pretty_host.lower()
        if not GOOGLE.fullmatch(host):
            return
        target = flow.request.path
        flow.request.headers["X-Forwarded-Host"] = host
        flow.request.headers["X-Rehearsal-Target"] = target
        flow.request.scheme = "http"
        flow.request.host = "127.0.0.1"
        flow.request.port = GATEWAY_PORT

    def request(self, flow: http.HTTPFlow) -> None:
        """State the length of a body that came without one, as those of HTTP/2 may: HTTP/1.1 would drop it."""
        body, headers = flow.request.raw_content, flow.request.headers
        if body and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            headers["Content-Length"] = str(len(body))

    def response(self, flow: http.HTTPFlow) -> None:
        """Cut the connection where a planned fault says that the answer is lost."""
        if flow.response is not None and flow.response.headers.pop(LOSE_HEADER, None):
            flow.kill()  # type: ignore[no-untyped-call]


addons = [FrontDoor()]
