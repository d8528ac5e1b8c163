# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server's HTTP: headers, redirects, and who asks."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from rehearsal.machine.metadata.tree import NotFound
from rehearsal.machine.metadata.view import ROOT, Answer, MetadataView, true

if TYPE_CHECKING:
    from rehearsal.machine.metadata.server import MetadataServer

LISTING_OF_ROOT = "computeMetadata/\n"


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up, as a guest that powers off does."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Hands a guest's request to the server, as what Google's would take it for."""

    metadata: MetadataServer
    protocol_version = "HTTP/1.1"
    server_version = "Metadata Server for VM"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer what is there, or what changed."""
        self._serve(self._get)

    def do_HEAD(self) -> None:
        """Answer like a GET, without the body."""
        self._serve(self._get)

    def do_PUT(self) -> None:
        """Take a guest attribute."""
        self._serve(self._put)

    def do_DELETE(self) -> None:
        """Refuse; so are POSTs."""
        self._serve(lambda view, path, query: Answer(405, b"Method Not Allowed\n", "text/html; charset=UTF-8"))

    do_POST = do_DELETE

    def _serve(self, work: Callable[[MetadataView, str, dict[str, str]], Answer]) -> None:
        body_length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(min(body_length, 1 << 20)) if body_length else b""
        view = self.metadata.view(self.client_address[0])
        if view is None:
            self._send(Answer(404, b"Not Found\n", "text/plain"), google=False)
            return
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        try:
            answer = self._route(work, view, unquote(url.path), query)
        except NotFound:
            answer = Answer(404, b"Not Found\n", "text/html; charset=UTF-8")
        except PermissionError as error:
            answer = Answer(403, f"{error}\n".encode(), "text/html; charset=UTF-8")
        except Exception as error:
            code = getattr(error, "code", 500)
            code = code if isinstance(code, int) and 400 <= code < 600 else 500
            answer = Answer(code, f"{error}\n".encode(), "text/html; charset=UTF-8")
        self._send(answer)

    def _route(
        self,
        work: Callable[[MetadataView, str, dict[str, str]], Answer],
        view: MetadataView,
        path: str,
        query: dict[str, str],
    ) -> Answer:
        if path == "/":
            return Answer(200, LISTING_OF_ROOT.encode())
        if self.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in self.headers:
            text = b"Forbidden: every request needs the header Metadata-Flavor: Google, and none X-Forwarded-For.\n"
            return Answer(403, text, "text/html; charset=UTF-8")
        if path == ROOT:
            return Answer(301, location=f"{ROOT}/")
        if not path.startswith(f"{ROOT}/"):
            if path == "/computeMetadata/":
                return Answer(200, b"v1/\n")
            raise NotFound
        return work(view, path.removeprefix(ROOT), query)

    def _get(self, view: MetadataView, path: str, query: dict[str, str]) -> Answer:
        if true(query.get("wait_for_change")):
            return self.metadata.wait(
                self.client_address[0], lambda: self.metadata.get(view, path, query), query, self._gone
            )
        return self.metadata.get(view, path, query)

    def _put(self, view: MetadataView, path: str, query: dict[str, str]) -> Answer:
        parts = [part for part in path.split("/") if part]
        if parts[:2] != ["instance", "guest-attributes"]:
            return Answer(405, b"Method Not Allowed\n", "text/html; charset=UTF-8")
        if view.put_guest_attribute is None:
            raise PermissionError("Guest attributes endpoint access is disabled.")
        if len(parts) != 4:
            return Answer(400, b"A guest attribute is written as NAMESPACE/KEY.\n", "text/html; charset=UTF-8")
        view.put_guest_attribute(parts[2], parts[3], self.body.decode(errors="replace"))
        return Answer(200)

    def _gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _send(self, answer: Answer, google: bool = True) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if google:
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("ETag", answer.etag)
        if answer.location:
            self.send_header("Location", answer.location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a guest's agent asks all the time."""
