# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the bucket as the function's account: tokens, retries, and what is said when it fails."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml.core.releases import ReleaseError, ReleaseNotFoundError
from sponsor_api import bucket_reader
from sponsor_api.bucket_reader import BucketReader


class Google(ThreadingHTTPServer):
    """A metadata server and a bucket: ``script`` holds the answers to come, ``asked`` what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str]] = []
        self.tokens = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Google

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/computeMetadata/"):
            assert self.headers["Metadata-Flavor"] == "Google"
            self.server.tokens += 1
            return self.answer(200, json.dumps({"access_token": f"t{self.server.tokens}", "expires_in": 3600}).encode())
        self.server.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.server.script.pop(0)
        if status == 0:  # says more than it sends
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + 1))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
            return None
        return self.answer(status, body)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    server = Google()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_address[1]}")
    yield server
    server.shutdown()
    server.server_close()


class Clock:
    """Time that passes only in pauses: how long an answer takes on this machine does not count."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(bucket_reader, "time", found)
    return found


def reader(deadline: float = 2) -> BucketReader:
    found = BucketReader("models", timeout=30, deadline=deadline)
    found._anonymous = False  # the address is that of an emulator, the rest as on Google
    return found


def test_an_object_is_read_with_the_token_of_the_account_and_one_token_serves_many(google: Google) -> None:
    google.script = [(200, b"one"), (200, b"two")]
    bucket = reader()
    assert (bucket.read("manifests/a b.json"), bucket.read("x")) == (b"one", b"two")
    assert google.asked == [
        ("/storage/v1/b/models/o/manifests%2Fa%20b.json?alt=media", "Bearer t1"),
        ("/storage/v1/b/models/o/x?alt=media", "Bearer t1"),
    ]


def test_a_revoked_token_is_replaced(google: Google) -> None:
    google.script = [(200, b"one"), (401, b"expired"), (200, b"two")]
    bucket = reader()
    bucket.read("x")
    assert bucket.read("x") == b"two"
    assert google.asked[-1][1] == "Bearer t2"


@pytest.mark.parametrize("trouble", [(503, b"busy"), (429, b"slow down"), (0, b"on")], ids=["503", "429", "truncated"])
def test_trouble_that_passes_is_waited_out(google: Google, trouble: tuple[int, bytes]) -> None:
    google.script = [trouble, trouble, (200, b"one")]
    assert reader().read("x") == b"one"


def test_what_does_not_pass_is_an_error_in_words_and_in_time(google: Google, clock: Clock) -> None:
    google.script = [(404, b""), (403, b""), (400, b"odd"), *[(503, b"busy")] * 20]
    bucket = reader(deadline=1)
    with pytest.raises(ReleaseNotFoundError, match="gs://models/x does not exist"):
        bucket.read("x")
    with pytest.raises(ReleaseError, match=r"permission denied, or it does not exist.*storage\.objects\.get"):
        bucket.read("x")
    with pytest.raises(ReleaseError, match="HTTP 400: odd"):
        bucket.read("x")
    with pytest.raises(ReleaseError, match="within 1 s: HTTP 503: busy; it will be tried again"):
        bucket.read("x")
    assert 0.5 < clock.now <= 1


def test_without_a_metadata_server_the_cause_is_named(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    with pytest.raises(
        ReleaseError, match=r"no credentials, because the metadata server 127\.0\.0\.1:9 does not answer"
    ):
        reader(deadline=0.3).read("x")


def test_through_a_proxy_that_inspects_tls_as_companies_have_them(
    google: Google, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The proxy answers for Google with a certificate of its own, which only its CA bundle makes good."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    names = ("-subj", "/CN=storage.googleapis.com", "-addext", "subjectAltName=DNS:storage.googleapis.com")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    connects = []

    def proxy(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                connects.append(client.recv(4096).split(b" HTTP/")[0])
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                try:
                    with context.wrap_socket(client, server_side=True) as secured:
                        asked = secured.recv(4096)
                        connects.append(asked.split(b" HTTP/")[0])
                        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=proxy, args=(listener,), daemon=True).start()
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        for name in ("https_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert BucketReader("models", timeout=30, deadline=2).read("x") == b"one"
        assert connects == [
            b"CONNECT storage.googleapis.com:443",
            b"GET /storage/v1/b/models/o/x?alt=media",
        ]
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(ReleaseError, match="CERTIFICATE_VERIFY_FAILED"):
            BucketReader("models", timeout=30, deadline=0.3).read("x")
