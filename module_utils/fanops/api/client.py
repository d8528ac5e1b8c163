# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client for Google's JSON APIs. It knows nothing of Ansible: no AnsibleModule, no module arguments."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from ansible.module_utils.fanops.api import errors
from ansible.module_utils.fanops.api.errors import GoogleApiError

try:
    import requests
except ImportError:  # reported by fanops.options before a client is made
    requests = None  # type: ignore[assignment]

T = TypeVar("T")

MAX_ATTEMPTS = 6
#: Without any answer the cause is mostly at our side (a proxy, a cable): give up sooner, after about seven seconds.
MAX_ATTEMPTS_UNANSWERED = 4
REPEATABLE_VERBS = frozenset({"GET", "PUT", "PATCH", "DELETE"})
#: Longest pause between two attempts, seconds. A Retry-After header may not ask for more.
MAX_PAUSE = 30.0
#: A POST …/wait on a compute operation is answered after two minutes at the latest.
LONG_POLL_SECONDS = 150.0


class Client:
    """JSON calls with retries, and the waiting for operations.

    :param session: anything with ``request(method, url, **kwargs)`` as ``requests.Session``; it adds the credentials.
    :param project: the project id, part of most URLs.
    :param account: who we are, for error messages; where it is not given, the session is asked.
    :param timeout: seconds to wait for an operation, or for a resource to reach a state.
    :param patience: seconds during which "this API is disabled" is taken for "was enabled a moment ago".
    """

    def __init__(
        self,
        session: Any,
        project: str,
        *,
        account: str = "",
        timeout: float = 300.0,
        patience: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.project = project
        self._account = account
        self.timeout = timeout
        self.patience = patience
        self.sleep = sleep
        self.clock = clock
        self.warnings: list[str] = []

    @property
    def account(self) -> str:
        """Who we are, for error messages; "" where nobody knows."""
        return self._account or str(getattr(self.session, "account", ""))

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        url: str,
        *,
        attempting: str,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        repeatable: bool | None = None,
        read_timeout: float = 60.0,
    ) -> dict[str, Any]:
        """One JSON call; returns the decoded answer ({} for an empty one). See ``send`` for retries and errors."""
        response = self.send(
            method,
            url,
            attempting=attempting,
            params=params,
            body=body,
            repeatable=repeatable,
            read_timeout=read_timeout,
        )
        return _decoded(response, attempting, url)

    def send(
        self,
        method: str,
        url: str,
        *,
        attempting: str,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        repeatable: bool | None = None,
        read_timeout: float = 60.0,
        content: tuple[bytes, str] | None = None,
    ) -> Any:
        """One call; returns the response as the session gave it. ``content`` is a body that is not JSON, and its type.

        429, 5xx and broken connections are retried with growing pauses when the call may be repeated: by default every
        verb except POST. Raises GoogleApiError; its ``attempts`` says how often the call was sent.
        """
        may_repeat = method in REPEATABLE_VERBS if repeatable is None else repeatable
        patient_until = self.clock() + self.patience
        attempt = 0
        sent: dict[str, Any] = {"params": params, "json": body}
        if content is not None:
            sent = {"params": params, "data": content[0], "headers": {"Content-Type": content[1]}}
        while True:
            attempt += 1
            pause = min(MAX_PAUSE, 0.5 * 2**attempt) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, no secret
            try:
                response = self._send(method, url, attempting, read_timeout, **sent)
            except GoogleApiError as problem:
                error = problem
            else:
                if response.status_code < 400:
                    return response
                error = errors.from_response(
                    attempting, url, response.status_code, _text_or_json(response),
                    account=self.account, project=self.project,
                )  # fmt: skip
                pause = _retry_after(response, pause)
            error.attempts = attempt
            fresh_api = error.service_disabled and self.clock() + pause < patient_until
            allowed = MAX_ATTEMPTS_UNANSWERED if error.status is None else MAX_ATTEMPTS
            if not fresh_api and not (error.retryable and may_repeat and attempt < allowed):
                raise error
            self.sleep(pause)

    def get(self, url: str, *, attempting: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET; a 404 is an error."""
        return self.call("GET", url, attempting=attempting, params=params)

    def find(self, url: str, *, attempting: str, params: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """GET; None when the resource itself does not exist. A missing project or zone is still an error."""
        try:
            return self.get(url, attempting=attempting, params=params)
        except GoogleApiError as error:
            if error.status == 404 and not errors.names_something_else(error):
                return None
            raise

    def pages(self, url: str, *, attempting: str, params: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The pages of a list call, following ``nextPageToken``."""
        query = dict(params or {})
        while True:
            page = self.get(url, attempting=attempting, params=query)
            yield page
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def download(self, bucket: str, name: str, *, attempting: str) -> bytes | None:
        """An object's content; None when the object or its bucket does not exist."""
        url = f"https://storage.googleapis.com/storage/v1/b/{segment(bucket)}/o/{segment(name)}"
        try:
            return bytes(self.send("GET", url, attempting=attempting, params={"alt": "media"}).content)
        except GoogleApiError as error:
            if error.status == 404:
                return None
            raise

    def upload(self, url: str, data: bytes, *, content_type: str, attempting: str) -> None:
        """PUT bytes to a signed URL. Such a URL is its own credential: an Authorization header would be refused."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                response = requests.put(url, data=data, headers={"Content-Type": content_type}, timeout=(10, 300))
                if response.status_code < 400:
                    return
                error = errors.from_response(
                    attempting, url, response.status_code, _text_or_json(response),
                    account=self.account, project=self.project,
                )  # fmt: skip
            except requests.RequestException as problem:
                error = errors.from_transport(attempting, url, problem)
            # A 403 here is a permission on Google's upload bucket that has not spread yet.
            if attempt == MAX_ATTEMPTS or not (error.retryable or error.status == 403):
                raise error
            self.sleep(2.0**attempt)

    # -- waiting -------------------------------------------------------------------------------------------------

    def until(
        self, probe: Callable[[], T | None], *, attempting: str, waiting_for: str,
        every: float = 2.0, timeout: float | None = None,
    ) -> T:  # fmt: skip
        """Call ``probe`` until it returns something other than None; raise after ``timeout`` seconds."""
        limit = self.timeout if timeout is None else timeout
        deadline = self.clock() + limit
        while True:
            answer = probe()
            if answer is not None:
                return answer
            if self.clock() + every > deadline:
                raise GoogleApiError(
                    attempting,
                    f"{waiting_for} was not there after {limit:.0f} s",
                    "Raise the module's timeout option, or look at the resource in the console.",
                    reason="timeout",
                )
            self.sleep(every)

    def wait_compute(self, operation: dict[str, Any], *, attempting: str) -> dict[str, Any]:
        """Wait for a compute operation with Google's long poll; raise its error. Warnings go to ``warnings``."""
        url = f"{compute_url(self.project)}/{_operation_scope(operation)}/operations/{operation['name']}/wait"

        def probe() -> dict[str, Any] | None:
            nonlocal operation
            if operation.get("status") != "DONE":
                operation = self.call(
                    "POST", url, attempting=attempting, repeatable=True, read_timeout=LONG_POLL_SECONDS
                )
            return operation if operation.get("status") == "DONE" else None

        # The poll itself waits, so there is hardly any pause between two of them.
        self.until(probe, attempting=attempting, waiting_for=f"the end of operation {operation['name']}", every=0.5)
        if operation.get("error"):
            raise errors.from_operation(attempting, operation, account=self.account, project=self.project)
        self.warnings += [item.get("message", "") for item in operation.get("warnings") or [] if item.get("message")]
        return operation

    def wait_longrunning(self, base: str, operation: dict[str, Any], *, attempting: str) -> dict[str, Any]:
        """Wait for a google.longrunning operation by polling ``base/name``; return its response, raise its error."""
        pauses = iter([0.2, 0.5, 1.0, 2.0])
        deadline = self.clock() + self.timeout
        while not operation.get("done"):
            if self.clock() > deadline:
                raise GoogleApiError(
                    attempting,
                    f"operation {operation['name']} did not end within {self.timeout:.0f} s",
                    "It goes on at Google's side: run again to wait for it, or raise the module's timeout option.",
                    reason="timeout",
                    target=operation["name"],
                )
            self.sleep(next(pauses, 3.0))
            operation = self.get(f"{base}/{operation['name']}", attempting=attempting)
        if operation.get("error"):
            raise errors.from_operation(attempting, operation, account=self.account, project=self.project)
        return operation.get("response") or {}

    def compute(
        self, method: str, path: str, *, attempting: str,
        body: dict[str, Any] | None = None, params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """A compute mutation and the wait for its operation.

        The requestId makes a repeated call the same call: Google answers a second insert with the first operation.
        """
        query = {**(params or {}), "requestId": str(uuid.uuid4())}
        url = f"{compute_url(self.project)}/{path}"
        operation = self.call(method, url, attempting=attempting, params=query, body=body, repeatable=True)
        return self.wait_compute(operation, attempting=attempting)

    # -- inside --------------------------------------------------------------------------------------------------

    def _send(self, method: str, url: str, attempting: str, read_timeout: float, **kwargs: Any) -> Any:
        try:
            return self.session.request(method, url, timeout=(10, read_timeout), **kwargs)
        except (requests.RequestException, OSError) as error:
            raise errors.from_transport(attempting, url, error) from error


def compute_url(project: str) -> str:
    """Base of the Compute v1 API for one project."""
    return f"https://compute.googleapis.com/compute/v1/projects/{project}"


def segment(value: str) -> str:
    """One path segment of a URL, with everything escaped that could end it."""
    return quote(value, safe="@.:~-_")


def basename(url: str) -> str:
    """The last part of a resource URL: ``…/machineTypes/e2-micro`` -> ``e2-micro``."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def _operation_scope(operation: dict[str, Any]) -> str:
    for scope in ("zone", "region"):
        if operation.get(scope):
            return f"{scope}s/{basename(operation[scope])}"
    return "global"


def _retry_after(response: Any, otherwise: float) -> float:
    value = response.headers.get("Retry-After", "")
    return min(MAX_PAUSE, float(value)) if value.isdigit() else otherwise


def _text_or_json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _decoded(response: Any, attempting: str, url: str) -> dict[str, Any]:
    if response.status_code == 204 or not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GoogleApiError(
            attempting,
            f"the answer from {errors.target_of(url)} is not a JSON object ({response.text[:120]!r})",
            "Something between here and Google answered instead (a proxy's login page?): check HTTPS_PROXY.",
            status=response.status_code,
            target=errors.target_of(url),
        )
    return answer
