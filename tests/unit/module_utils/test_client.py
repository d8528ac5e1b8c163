# SPDX-License-Identifier: GPL-3.0-or-later
"""The API client against a real HTTP server: retries, waiting, and errors a person can act on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from ansible.module_utils.fanops.api.client import MAX_ATTEMPTS, Client, basename, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | str


class Server:
    """Answers with what is planned, in order; the last answer stays. "drop" closes the connection instead."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, body))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if isinstance(answer, str):  # "drop"
                    self.close_connection = True
                    self.connection.close()
                    return
                status, content, *headers = answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, *args: Any) -> None: ...

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(time: Time) -> Client:
    return Client(requests.Session(), "demo", account="me@demo", timeout=60, sleep=time.sleep, clock=time.clock)


def error(status: int, message: str = "broken", **more: Any) -> Answer:
    return status, {"error": {"code": status, "message": message, **more}}


@pytest.mark.parametrize("fault", [error(503), error(500), error(429), (502, b"<html>bad gateway"), "drop"])
def test_reads_are_repeated_after_a_passing_fault(client: Client, server: Server, time: Time, fault: Answer) -> None:
    server.answers = [fault, fault, (200, {"name": "x"})]
    assert client.get(server.url, attempting="read x") == {"name": "x"}
    assert len(server.requests) == 3 and time.pauses[1] > time.pauses[0]


def test_a_post_is_not_repeated_unless_it_may(client: Client, server: Server) -> None:
    server.answers = [error(503), (200, {})]
    with pytest.raises(GoogleApiError) as found:
        client.call("POST", server.url, attempting="make x")
    assert found.value.status == 503 and found.value.retryable and found.value.attempts == 1
    assert client.call("POST", server.url, attempting="make x", repeatable=True) == {}


def test_a_lasting_fault_ends_after_a_bounded_number_of_attempts(client: Client, server: Server) -> None:
    server.answers = [error(503, "backend error")]
    with pytest.raises(
        GoogleApiError, match=r"Could not read x: backend error \(HTTP 503\). Google is overloaded"
    ) as found:
        client.get(server.url, attempting="read x")
    assert found.value.attempts == len(server.requests) == MAX_ATTEMPTS


def test_retry_after_is_honoured_within_reason(client: Client, server: Server, time: Time) -> None:
    server.answers = [(429, {}, {"Retry-After": "7"}), (429, {}, {"Retry-After": "9999"}), (200, {})]
    client.get(server.url, attempting="read x")
    assert time.pauses == [7.0, 30.0]


def test_find_is_none_only_for_the_resource_itself(client: Client, server: Server) -> None:
    url = f"{server.url}/compute/v1/projects/demo/zones/z/instances/vm"
    server.answers = [error(404, "The resource 'projects/demo/zones/z/instances/vm' was not found")]
    assert client.find(url, attempting="read vm") is None
    server.answers = [error(404, "The resource 'projects/demo' was not found")]
    with pytest.raises(GoogleApiError, match="Check the project id"):
        client.find(url, attempting="read vm")
    server.answers = [error(404, "The resource 'projects/demo/zones/z' was not found")]
    with pytest.raises(GoogleApiError, match="gcp_zone"):
        client.find(url, attempting="read vm")


def test_pages_are_followed(client: Client, server: Server) -> None:
    server.answers = [(200, {"items": [1], "nextPageToken": "t"}), (200, {"items": [2]})]
    assert [page["items"] for page in client.pages(server.url, attempting="list")] == [[1], [2]]
    assert "pageToken=t" in server.requests[1][1]


def test_an_answer_that_is_not_json_names_the_suspect(client: Client, server: Server) -> None:
    server.answers = [(200, b"<html>Please log in to the company network</html>")]
    with pytest.raises(GoogleApiError, match="proxy's login page"):
        client.get(server.url, attempting="read x")


def test_no_connection_is_told_in_one_line(client: Client, server: Server) -> None:
    with pytest.raises(GoogleApiError, match=r"no connection to 127\.0\.0\.1") as found:
        client.get("http://127.0.0.1:1/", attempting="read x")
    assert "\n" not in str(found.value) and found.value.status is None and "object at" not in str(found.value)


def test_a_dead_proxy_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(GoogleApiError, match="Check HTTPS_PROXY"):
        client.get("https://compute.googleapis.com/", attempting="read x")


def test_untrusted_tls_is_not_retried(client: Client) -> None:
    class Untrusted:
        def request(self, *args: Any, **kwargs: Any) -> Any:
            raise requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED")

    client.session = Untrusted()
    with pytest.raises(GoogleApiError, match="REQUESTS_CA_BUNDLE") as found:
        client.get("https://compute.googleapis.com/", attempting="read x")
    assert found.value.attempts == 1


def test_compute_operation_is_polled_until_done(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible.module_utils.fanops.api.client.compute_url", lambda project: f"{server.url}/{project}")
    running = {"name": "op1", "status": "RUNNING", "zone": "https://x/zones/us-central1-a"}
    warned = {**running, "status": "DONE", "warnings": [{"message": "The image is deprecated."}]}
    server.answers = [(200, running), error(503), (200, running), (200, warned)]
    client.compute("POST", "zones/us-central1-a/instances", attempting="make vm", body={})
    assert server.requests[1][:2] == ("POST", "/demo/zones/us-central1-a/operations/op1/wait")
    assert "requestId=" in server.requests[0][1]
    assert client.warnings == ["The image is deprecated."]


def test_operation_that_never_ends_is_left_at_the_time_limit(
    client: Client, server: Server, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible.module_utils.fanops.api.client.compute_url", lambda project: server.url)
    server.answers = [(200, {"name": "op1", "status": "RUNNING", "region": "r"})]
    with pytest.raises(GoogleApiError, match="op1 was not there after 60 s") as found:
        client.compute("POST", "x", attempting="make vm")
    assert found.value.reason == "timeout" and time.now <= 61


def test_longrunning_operation_is_polled_and_its_error_raised(client: Client, server: Server) -> None:
    server.answers = [
        (200, {"name": "operations/1"}),
        (200, {"name": "operations/1", "done": True, "response": {"a": 1}}),
    ]
    assert client.wait_longrunning(server.url, {"name": "operations/1"}, attempting="deploy") == {"a": 1}
    failed = {"name": "operations/1", "done": True, "error": {"code": 6, "message": "it exists"}}
    with pytest.raises(GoogleApiError, match="Could not deploy: it exists") as found:
        client.wait_longrunning(server.url, failed, attempting="deploy")
    assert found.value.status == 409 and found.value.already_exists


def test_upload_goes_without_credentials_and_survives_a_403(client: Client, server: Server) -> None:
    server.answers = [(403, b"<Error/>"), (200, b"")]
    client.upload(f"{server.url}/o?Signature=secret", b"zip", content_type="application/zip", attempting="upload")
    assert server.requests[1][2] == b"zip"
    server.answers = [(400, b"<Error/>")]
    with pytest.raises(GoogleApiError) as found:
        client.upload(f"{server.url}/o?Signature=secret", b"zip", content_type="application/zip", attempting="upload")
    assert "secret" not in str(found.value.facts()) + str(found.value)


def test_disabled_api_is_waited_for_only_with_patience(client: Client, server: Server, time: Time) -> None:
    disabled = error(403, "it is disabled", errors=[{"reason": "accessNotConfigured"}])
    server.answers = [disabled]
    with pytest.raises(GoogleApiError, match="gcp_project_services"):
        client.get(server.url, attempting="read x")
    assert time.now == 0
    client.patience = 40
    with pytest.raises(GoogleApiError):
        client.get(server.url, attempting="read x")
    assert 20 < time.now <= 40


def test_path_segments_are_escaped() -> None:
    assert segment("a/b?c") == "a%2Fb%3Fc"
    assert segment("me@demo.iam.gserviceaccount.com") == "me@demo.iam.gserviceaccount.com"
    assert basename("https://x/machineTypes/e2-micro") == "e2-micro"
