# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server: http://metadata.google.internal as a guest or a function sees it.

Who asks is known by the address it asks from. A request from an address that belongs to no guest (this machine's own programs,
say) gets 404 without Google's header, so that no program here takes this machine for a Google VM.
"""

from __future__ import annotations

import hashlib
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from rehearsal.metadata_tree import NotFound, as_text, descend, is_leaf_list, listing

if TYPE_CHECKING:
    from rehearsal.settings import Settings

ROOT = "/computeMetadata/v1"
LISTING_OF_ROOT = "computeMetadata/\n"
# A parked request looks this often whether its client is still there (seconds).
PARKED_CHECK = 5.0


class TokenSource(Protocol):
    """What the metadata server needs of the identity service."""

    def access_token(self, email: str, scopes: list[str]) -> dict[str, Any]:
        """Return {"access_token", "expires_in", "token_type"}."""

    def id_token(self, email: str, audience: str) -> str:
        """Return a signed JWT."""


@dataclass
class MetadataView:
    """What one guest sees. Callables are asked anew at each request; `instance` has the metadata server's own field names.

    `service_account` is {"email", "scopes"} or None. `put_guest_attribute(namespace, key, value)` and `get_guest_attributes()`
    (nested by namespace, by key) raise PermissionError while guest attributes are switched off; None means they always are.
    """

    project_id: str
    project_number: str
    instance: Callable[[], dict[str, Any]]
    project_attributes: Callable[[], dict[str, str]]
    service_account: dict[str, Any] | None = None
    put_guest_attribute: Callable[[str, str, str], None] | None = None
    get_guest_attributes: Callable[[], dict[str, Any] | None] | None = None


@dataclass
class Answer:
    """One answer: status, body and content type."""

    status: int
    body: bytes = b""
    content_type: str = "application/text"
    location: str = ""

    @property
    def etag(self) -> str:
        """A hash of the body: equal content, equal tag."""
        return hashlib.sha256(self.body).hexdigest()[:16]


class MetadataServer:
    """The server, and the register of who may ask."""

    def __init__(self, settings: Settings, identity: TokenSource) -> None:
        self.settings = settings
        self.identity = identity
        self._views: dict[str, MetadataView] = {}
        self._change = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._stopping = False

    def start(self, port: int = 80) -> None:
        """Listen on the bridge's metadata address; raises OSError if another program does already."""
        handler = type("Handler", (_Handler,), {"metadata": self})
        self._stopping = False
        self._server = _Server((self.settings.metadata_address, port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="metadata-server").start()

    def stop(self) -> None:
        """Stop listening; parked requests are answered as they stand."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server  # noqa: S101  (asked only while it runs)
        return int(self._server.server_address[1])

    def register(self, ip: str, view: MetadataView) -> None:
        """Answer requests from this address with this view, from now on."""
        with self._change:
            self._views[ip] = view
            self._change.notify_all()

    def unregister(self, ip: str) -> None:
        """Answer this address no more."""
        with self._change:
            self._views.pop(ip, None)
            self._change.notify_all()

    def changed(self, ip: str | None = None) -> None:
        """Wake the requests of this address (of all, if None) that wait for a change."""
        with self._change:
            self._change.notify_all()

    def view(self, ip: str) -> MetadataView | None:
        """Return who asks from this address."""
        with self._change:
            return self._views.get(ip)

    def wait(self, ip: str, answer: Callable[[], Answer], query: Mapping[str, str], gone: Callable[[], bool]) -> Answer:
        """Return an answer whose ETag is not `last_etag`, or the present one after `timeout_sec` or when the client is gone."""
        current = answer()
        last = query.get("last_etag") or current.etag
        deadline = time.monotonic() + _seconds(query.get("timeout_sec"))
        while current.etag == last and not self._stopping:
            left = deadline - time.monotonic()
            with self._change:
                if left <= 0 or ip not in self._views:
                    break
                self._change.wait(min(left, PARKED_CHECK))
            if gone():
                break
            current = answer()
        return current

    # -- what a path means -----------------------------------------------------------------------------------------------

    def get(self, view: MetadataView, path: str, query: Mapping[str, str]) -> Answer:
        """Answer a GET of `path` (below /computeMetadata/v1, decoded, with its leading slash)."""
        parts = [part for part in path.split("/") if part]
        account = self._service_account(view, parts)
        if account is not None:
            dynamic = self._dynamic(account, parts, query)
            if dynamic:
                return dynamic
        value = self._lookup(view, parts)
        recursive = _true(query.get("recursive"))
        as_json = query.get("alt") == "json" or (recursive and query.get("alt") != "text")
        if isinstance(value, dict | list) and not recursive and not is_leaf_list(value):
            if not path.endswith("/"):
                return Answer(301, location=f"{ROOT}{path}/")
            return Answer(200, listing(value, parts).encode())
        if as_json or parts[-1:] == ["tags"]:
            return Answer(200, json.dumps(value, separators=(",", ":")).encode(), "application/json")
        return Answer(200, as_text(value).encode())

    def tree(self, view: MetadataView) -> dict[str, Any]:
        """Return the whole tree of one guest, with the field names of the JSON form."""
        instance = dict(view.instance())
        account = view.service_account
        accounts: dict[str, Any] = {}
        if account:
            described = {"aliases": ["default"], "email": account["email"], "scopes": list(account.get("scopes", []))}
            accounts = {"default": described, account["email"]: described}
        instance["serviceAccounts"] = accounts
        instance.setdefault("attributes", {})
        project = {
            "attributes": view.project_attributes(),
            "numericProjectId": int(view.project_number),
            "projectId": view.project_id,
        }
        return {"instance": instance, "project": project}

    def _lookup(self, view: MetadataView, parts: list[str]) -> Any:
        if parts[:2] == ["instance", "guest-attributes"]:
            return descend(_guest_attributes(view), parts[2:], data=True)
        return descend(self.tree(view), parts)

    def _service_account(self, view: MetadataView, parts: list[str]) -> dict[str, Any] | None:
        if parts[:2] != ["instance", "service-accounts"] or len(parts) < 3:
            return None
        account = view.service_account
        if account is None or parts[2] not in ("default", account["email"]):
            raise NotFound
        return account

    def _dynamic(self, account: dict[str, Any], parts: list[str], query: Mapping[str, str]) -> Answer | None:
        if parts[3:] == ["token"]:
            token = self.identity.access_token(account["email"], list(account.get("scopes", [])))
            return Answer(200, json.dumps(token).encode(), "application/json")
        if parts[3:] == ["identity"]:
            if not query.get("audience"):
                return Answer(400, b"non-empty audience parameter required\n", "text/html; charset=UTF-8")
            return Answer(
                200, self.identity.id_token(account["email"], query["audience"]).encode(), "text/html; charset=UTF-8"
            )
        return None


def _guest_attributes(view: MetadataView) -> dict[str, Any]:
    found = view.get_guest_attributes() if view.get_guest_attributes else None
    if found is None:
        raise PermissionError("Guest attributes endpoint access is disabled.")
    return found


def _true(value: str | None) -> bool:
    return (value or "").lower() == "true"


def _seconds(value: str | None) -> float:
    try:
        return float(value) if value else float("inf")
    except ValueError:
        return float("inf")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up, as a guest that powers off does."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    metadata: MetadataServer
    protocol_version = "HTTP/1.1"
    server_version = "Metadata Server for VM"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_DELETE(self) -> None:
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
        if _true(query.get("wait_for_change")):
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
