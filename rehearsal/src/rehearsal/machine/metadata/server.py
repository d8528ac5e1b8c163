# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server: http://metadata.google.internal as a guest or a function sees it.

Who asks is known by the address it asks from. A request from an address that belongs to no guest (this machine's own programs,
say) gets 404 without Google's header, so that no program here takes this machine for a Google VM.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import waitress
from waitress import wasyncore
from werkzeug.wrappers import Request, Response

from rehearsal.errors import ApiError
from rehearsal.machine.metadata.tree import NotFound, as_text, descend, is_leaf_list, listing
from rehearsal.machine.metadata.view import ROOT, Answer, MetadataView, TokenSource, true
from rehearsal.settings import Settings

LOGGER = logging.getLogger("rehearsal.metadata")
HTML = "text/html; charset=UTF-8"
LARGEST_BODY = 1 << 20
# Each request that waits for a change holds a thread: a guest's agent has one all the time.
THREADS = 64
# A parked request looks this often whether its client is still there (seconds).
PARKED_CHECK = 5.0


class MetadataServer:
    """The server, and the register of who may ask."""

    def __init__(self, settings: Settings, identity: TokenSource) -> None:
        self.settings = settings
        self.identity = identity
        self._views: dict[str, MetadataView] = {}
        self._change = threading.Condition()
        self._server: Any = None
        self._stopping = False

    def start(self, port: int = 80) -> None:
        """Listen on the bridge's metadata address; raises OSError if another program does already."""
        self._stopping = False
        self._server = waitress.create_server(
            Request.application(self.answer), host=self.settings.metadata_address, port=port, threads=THREADS,
            ident="Metadata Server for VM", channel_request_lookahead=1, clear_untrusted_proxy_headers=False,
            max_request_body_size=LARGEST_BODY,
        )  # fmt: skip
        threading.Thread(target=self._server.run, daemon=True, name="metadata-server").start()

    def stop(self) -> None:
        """Stop listening; parked requests are answered as they stand."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        if self._server:
            server, self._server = self._server, None
            server.task_dispatcher.shutdown()
            # In the server's own thread, which is the one that looks at its sockets.
            server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.effective_port)

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

    def changed(self) -> None:
        """Wake the requests that wait for a change."""
        with self._change:
            self._change.notify_all()

    # -- one request -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Answer what a guest asks, as what Google's server would take it for."""
        view = self._views.get(request.remote_addr or "")
        if view is None:
            return Response("Not Found\n", 404, content_type="text/plain")
        try:
            answer = self._routed(view, request)
        except NotFound:
            answer = Answer(404, b"Not Found\n", HTML)
        except PermissionError as error:
            answer = Answer(403, f"{error}\n".encode(), HTML)
        except ApiError as error:
            answer = Answer(error.code, f"{error}\n".encode(), HTML)
        except Exception:
            LOGGER.exception("%s %s", request.method, request.path)
            answer = Answer(500, b"Internal Server Error\n", HTML)
        headers = {"Metadata-Flavor": "Google", "ETag": answer.etag}
        if answer.location:
            headers["Location"] = answer.location
        response = Response(answer.body, answer.status, headers, content_type=answer.content_type)
        response.autocorrect_location_header = False
        return response

    def _routed(self, view: MetadataView, request: Request) -> Answer:
        path = request.path
        if path == "/":
            return Answer(200, b"computeMetadata/\n")
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
            text = b"Forbidden: every request needs the header Metadata-Flavor: Google, and none X-Forwarded-For.\n"
            return Answer(403, text, HTML)
        if path == ROOT:
            return Answer(301, location=f"{ROOT}/")
        if path == "/computeMetadata/":
            return Answer(200, b"v1/\n")
        if not path.startswith(f"{ROOT}/"):
            raise NotFound
        path = path.removeprefix(ROOT)
        if request.method == "PUT":
            return _put(view, path, request.get_data(as_text=True))
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"Method Not Allowed\n", HTML)
        if true(request.args.get("wait_for_change")):
            return self._wait(view, lambda: self.get(view, path, request.args), request)
        return self.get(view, path, request.args)

    def _wait(self, view: MetadataView, answer: Callable[[], Answer], request: Request) -> Answer:
        """Return an answer whose ETag is not `last_etag`, or the present one after `timeout_sec` or when the client is gone."""
        current = answer()
        last = request.args.get("last_etag") or current.etag
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        deadline = time.monotonic() + _seconds(request.args.get("timeout_sec"))
        while current.etag == last and not self._stopping:
            left = deadline - time.monotonic()
            with self._change:
                if left <= 0 or view not in self._views.values():
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
        recursive = true(query.get("recursive"))
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
                return Answer(400, b"non-empty audience parameter required\n", HTML)
            return Answer(200, self.identity.id_token(account["email"], query["audience"]).encode(), HTML)
        return None


def _put(view: MetadataView, path: str, value: str) -> Answer:
    parts = [part for part in path.split("/") if part]
    if parts[:2] != ["instance", "guest-attributes"]:
        return Answer(405, b"Method Not Allowed\n", HTML)
    if view.put_guest_attribute is None:
        raise PermissionError("Guest attributes endpoint access is disabled.")
    if len(parts) != 4:
        return Answer(400, b"A guest attribute is written as NAMESPACE/KEY.\n", HTML)
    view.put_guest_attribute(parts[2], parts[3], value)
    return Answer(200)


def _guest_attributes(view: MetadataView) -> dict[str, Any]:
    found = view.get_guest_attributes() if view.get_guest_attributes else None
    if found is None:
        raise PermissionError("Guest attributes endpoint access is disabled.")
    return found


def _seconds(value: str | None) -> float:
    try:
        return float(value) if value else float("inf")
    except ValueError:
        return float("inf")
