# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the control plane in this process: a `requests`-like session, and a clock that nobody waits for."""

from __future__ import annotations

import copy
import heapq
import io
import itertools
import json as json_module
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from werkzeug.wrappers import Response

from rehearsal.services.compute import operations
from rehearsal.services.functions import operations as function_operations
from rehearsal.services.serviceusage.api import OPERATIONS
from rehearsal.wire.gateway import LOSE_HEADER

#: How long work in the background may take on a machine that is busy with other things, seconds.
PATIENCE = 60.0


def settle(cloud: Any) -> None:
    """Return once no operation of the cloud is under way; TimeoutError after `PATIENCE` seconds."""
    changed = cloud.store.changed

    def idle() -> bool:
        under_way = [
            key for key, known in operations.OPERATIONS.list(cloud.store) if known["resource"]["status"] != "DONE"
        ]
        under_way += [key for key, known in function_operations.OPERATIONS.list(cloud.store) if not known["done"]]
        under_way += [key for key, known in cloud.store.list(OPERATIONS) if known["time"] > time.time()]
        return not under_way

    with changed:
        for _ in range(int(PATIENCE / 0.01)):
            if idle():
                return
            changed.wait(0.01)  # only those of Compute notify
    raise TimeoutError("an operation does not end")


class Clock:
    """Seconds that pass only when somebody sleeps. Work under way in the cloud ends before they do."""

    def __init__(self, cloud: Any) -> None:
        self.now = 0.0
        self._cloud = cloud
        self._planned: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        """Return the time, as `time.monotonic` does."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and with it happen what was planned."""
        settle(self._cloud)
        self.now += seconds
        while self._planned and self._planned[0][0] <= self.now:
            heapq.heappop(self._planned)[2]()

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Let something happen once that much time has passed from now on."""
        heapq.heappush(self._planned, (self.now + seconds, next(self._order), action))


@dataclass(frozen=True)
class Sent:
    """One request of a session."""

    verb: str
    url: str
    params: dict[str, Any]
    body: Any


@dataclass
class Planned:
    """What meets the next `times` requests that match: something happens first, or they are refused."""

    pattern: re.Pattern[str]
    times: int
    action: Callable[[], Response | None]


class Session:
    """As much of `requests.Session` as Google's clients use; the control plane answers, as to `account`.

    `google.cloud.storage.Client(..., _http=session)` works with it as well.

    Failures that any call can meet (429, 503, a lost answer) are planned with `cloud.faults`.
    """

    is_mtls = False

    def __init__(self, cloud: Any, account: str) -> None:
        self.cloud = cloud
        self.clock = Clock(cloud)
        self.calls: list[Sent] = []
        self._planned: list[Planned] = []
        self._mark = cloud.log.last_number()
        self.become(account)

    def become(self, account: str) -> None:
        """Send what follows as another account."""
        self.account = account
        self._token = self.cloud.identity.access_token(account)["access_token"]

    def request(self, method: str, url: str, **request: Any) -> requests.Response:
        """Send one request, with the account's token."""
        sent = Sent(method, url, request.get("params") or {}, copy.deepcopy(request.get("json")))
        self.calls.append(sent)
        for planned in [one for one in self._planned if one.times and one.pattern.search(f"{method} {url}")]:
            planned.times -= 1
            refusal = planned.action()
            if refusal is not None:
                return _response(requests.Request(method, url).prepare(), refusal)
        headers = {"Authorization": f"Bearer {self._token}", **(request.pop("headers", None) or {})}
        return self._send(method, url, headers=headers, **request)

    def put(self, url: str, **request: Any) -> requests.Response:
        """As `requests.put`: to a signed URL, which is its own credential and takes no other."""
        if "Authorization" in request["headers"]:
            raise ValueError(f"two credentials for {url}")
        self.calls.append(Sent("PUT", url, {}, request.get("data")))
        return self._send("PUT", url, **request)

    def _send(
        self, method: str, url: str, *, timeout: Any = None, stream: bool = False, **request: Any
    ) -> requests.Response:
        prepared = requests.Request(method, url, **request).prepare()
        parts = urlsplit(str(prepared.url))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        body = prepared.body or b""
        sent: Mapping[str, str | bytes] = prepared.headers  # Google's uploads have bytes there
        headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in sent.items()}
        headers.pop("Content-Length", None)
        answer = self.cloud.dispatch(
            method, parts.netloc, target, headers, body.encode() if isinstance(body, str) else body
        )
        if LOSE_HEADER in answer.headers:
            raise requests.ConnectionError(f"the {answer.headers[LOSE_HEADER]} got lost")
        return _response(prepared, answer)

    # -- what is planned -----------------------------------------------------------------------------------------

    def before(self, pattern: str, action: Callable[[], object], times: int = 1) -> None:
        """Let something happen just before the next requests whose `VERB URL` matches."""

        def happen() -> None:
            action()

        self._planned.append(Planned(re.compile(pattern), times, happen))

    def refuse(self, pattern: str, code: int, message: str, reason: str = "", times: int = 1) -> None:
        """Refuse the next matching requests in words of Google's that no state of the rehearsal gives."""
        error = {"error": {"code": code, "message": message, "errors": [{"reason": reason}]}}
        answer = Response(json_module.dumps(error), status=code, content_type="application/json")
        self._planned.append(Planned(re.compile(pattern), times, lambda: answer))

    # -- what was done -------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Count calls and mutations from here on."""
        self.calls.clear()
        self._mark = self.cloud.log.last_number()

    @property
    def mutations(self) -> list[str]:
        """The methods that the account called to change something, `compute.instances.insert` for example."""
        entries = self.cloud.log.entries(self._mark)
        return [entry.method for entry in entries if entry.mutating and entry.principal == self.account]


def _response(request: requests.PreparedRequest, answer: Response) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url, response.request = answer.status_code, str(request.url), request
    response.headers["Date"] = formatdate(usegmt=True)  # the HTTP server adds it where the gateway does not
    response.headers.update(dict(answer.headers))
    body = io.BytesIO(answer.get_data())
    response.raw = urllib3.HTTPResponse(body, dict(response.headers), answer.status_code, preload_content=False)
    response.encoding = "utf-8"
    return response
