# SPDX-License-Identifier: GPL-3.0-or-later
"""Handing a request on to a server behind the gateway."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rehearsal.wire import proxy

BODY = b"0123456789"


class Server(BaseHTTPRequestHandler):
    """Answers with ten bytes, or says that there would be ten."""

    def do_GET(self) -> None:
        """Answer GET, and HEAD without the body."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(BODY)

    do_HEAD = do_GET


@pytest.mark.parametrize(("verb", "body"), [("GET", BODY), ("HEAD", b"")])
def test_head_tells_the_length_of_what_get_answers(verb: str, body: bytes) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = proxy.forward(("127.0.0.1", server.server_port), verb, "/", body=b"", headers={}, timeout=10)
        server.shutdown()
    assert (answer.get_data(), answer.headers["Content-Length"]) == (body, "10")
