# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects of one bucket over HTTPS, as the function's own account.

Google's client library would take longer to import than everything else that happens before the first answer, and the
function needs one call of it. Names of environment variables are that library's: ``STORAGE_EMULATOR_HOST``,
``GCE_METADATA_HOST``, and ``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE`` of the one below it.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import threading
import time
import urllib.request
from urllib.parse import quote, unquote, urlsplit

from ml.core.releases import MAX_FILE_BYTES, ReleaseError, ReleaseNotFoundError

_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path, no secret
_TOKEN_MARGIN = 300  # seconds before its end from which on a token is not used any more
_CHUNK = 2**20


class BucketReader:
    """A bucket, read with the credentials of the attached service account.

    ``timeout`` is the seconds that a connection may be silent, ``deadline`` the seconds after which a read has failed.
    """

    def __init__(self, name: str, timeout: float = 5, deadline: float = 10) -> None:
        self.name = name
        self._timeout = timeout
        self._deadline = deadline
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._token, self._token_ends = "", 0.0
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        self._anonymous = bool(emulator)
        self._base = urlsplit(emulator if "://" in emulator else f"https://{emulator or 'storage.googleapis.com'}")

    def read(self, path: str) -> bytes:
        """Return the bytes of an object.

        Raises ReleaseNotFoundError if there is none, ReleaseError if it cannot be read within the deadline.
        """
        place = f"gs://{self.name}/{path}"
        target = f"/storage/v1/b/{quote(self.name, safe='')}/o/{quote(path, safe='')}?alt=media"
        ends = time.monotonic() + self._deadline
        pause = 0.1
        with self._lock:
            while True:
                try:
                    status, data = self._get(target, ends)
                    problem = f"HTTP {status}: {data[:200].decode(errors='replace')}"
                except (OSError, http.client.HTTPException) as error:
                    self._close()
                    status, problem = 0, f"{type(error).__name__}: {error}"
                if status == 200:
                    return data
                if status == 404:
                    raise ReleaseNotFoundError(f"{place} does not exist")
                if status == 403:
                    raise ReleaseError(
                        f"cannot read {place}: permission denied, or it does not exist (an account that may not list is "
                        "not told which); the account of the function needs storage.objects.get on the bucket"
                    )
                if status == 401:
                    self._token_ends = 0  # revoked; the next attempt asks for another
                elif status and status not in _RETRYABLE:
                    raise ReleaseError(f"cannot read {place}: {problem}")
                if time.monotonic() + pause > ends:
                    raise ReleaseError(
                        f"cannot read {place} within {self._deadline:g} s: {problem}; it will be tried again"
                    )
                time.sleep(pause)
                pause *= 2

    def _get(self, target: str, ends: float) -> tuple[int, bytes]:
        headers = {} if self._anonymous else {"Authorization": f"Bearer {self._access_token()}"}
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        chunks, size = [], 0
        while chunk := answer.read(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                self._close()
                raise ReleaseError(f"gs://{self.name}: an object of more than {MAX_FILE_BYTES} bytes was not read")
            if time.monotonic() > ends:
                raise TimeoutError("it came too slowly")
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        if answer.will_close:
            self._close()
        return answer.status, b"".join(chunks)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._base.hostname or "", self._base.port
        if self._base.scheme == "http":
            return http.client.HTTPConnection(host, port or 80, timeout=self._timeout)
        context = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or None)
        proxy = urllib.request.getproxies_environment().get("https")
        if proxy is None or urllib.request.proxy_bypass(host):
            return http.client.HTTPSConnection(host, port or 443, timeout=self._timeout, context=context)
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        connection = http.client.HTTPSConnection(
            via.hostname or "", via.port or 3128, timeout=self._timeout, context=context
        )
        credentials = f"{unquote(via.username or '')}:{unquote(via.password or '')}".encode()
        login = {"Proxy-Authorization": "Basic " + base64.b64encode(credentials).decode()} if via.username else {}
        connection.set_tunnel(host, port or 443, login)
        return connection

    def _access_token(self) -> str:
        if time.monotonic() < self._token_ends:
            return self._token
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        connection = http.client.HTTPConnection(host, timeout=self._timeout)
        try:
            connection.request("GET", _TOKEN_PATH, headers={"Metadata-Flavor": "Google"})
            answer = connection.getresponse()
            body = answer.read(_CHUNK)
        except OSError as error:
            raise OSError(f"no credentials, because the metadata server {host} does not answer ({error})") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"no credentials: the metadata server {host} answered {answer.status}")
        document = json.loads(body)
        self._token = str(document["access_token"])
        self._token_ends = time.monotonic() + max(0, float(document["expires_in"]) - _TOKEN_MARGIN)
        return self._token
