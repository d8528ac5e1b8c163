# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server: http://metadata.google.internal as a guest or a function sees it.

Who asks is known by the address it asks from. A request from an address that belongs to no guest (this machine's own programs,
say) gets 404 without Google's header, so that no program here takes this machine for a Google VM.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rehearsal.machine.metadata.http import Handler, Server
from rehearsal.machine.metadata.tree import NotFound, as_text, descend, is_leaf_list, listing
from rehearsal.machine.metadata.view import ROOT, Answer, MetadataView, TokenSource, true

if TYPE_CHECKING:
    from rehearsal.settings import Settings

# A parked request looks this often whether its client is still there (seconds).
PARKED_CHECK = 5.0


class MetadataServer:
    """The server, and the register of who may ask."""

    def __init__(self, settings: Settings, identity: TokenSource) -> None:
        self.settings = settings
        self.identity = identity
        self._views: dict[str, MetadataView] = {}
        self._change = threading.Condition()
        self._server: Server | None = None
        self._stopping = False

    def start(self, port: int = 80) -> None:
        """Listen on the bridge's metadata address; raises OSError if another program does already."""
        handler = type("Handler", (Handler,), {"metadata": self})
        self._stopping = False
        self._server = Server((self.settings.metadata_address, port), handler)
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


def _seconds(value: str | None) -> float:
    try:
        return float(value) if value else float("inf")
    except ValueError:
        return float("inf")
