# SPDX-License-Identifier: GPL-3.0-or-later
"""The few operations on Cloud Storage that releases are made of, with errors that a person can act on."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.auth import exceptions as auth
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from ml.core.releases import ReleaseNotFoundError

T = TypeVar("T")
_URL = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/?")
_FAILURES = (
    api.GoogleAPICallError,
    api.RetryError,
    auth.GoogleAuthError,
    requests.RequestException,
    DataCorruption,
    InvalidResponse,
    OSError,
)


class BucketError(Exception):
    """An operation on the bucket failed; the message says which, why, and what to do."""


class ConflictError(BucketError):
    """The object is no longer the one that the writer had read."""


def bucket_name(url: str) -> str:
    """Return the bucket of ``gs://bucket``; raise ValueError if ``url`` is not of that form."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"{url!r} is not a bucket URL: write gs:// and the bucket's name, nothing after it")
    return match.group(1)


def crc32c(data: bytes) -> str:
    """Return the CRC32C of ``data`` as Cloud Storage writes it (base64, big-endian)."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def file_crc32c(path: Path) -> str:
    """Return the CRC32C of a file as Cloud Storage writes it."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            checksum = google_crc32c.extend(checksum, block)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


class Found(NamedTuple):
    """An object that was listed."""

    name: str
    generation: int
    crc32c: str  # base64
    size: int  # bytes
    updated: float  # seconds since 1970


class Bucket:
    """A bucket, reached with the application default credentials.

    ``timeout`` is the seconds that one request may be silent, ``deadline`` the seconds after which retries end.
    ``patience`` is for how many seconds a refusal (403) is taken for a grant that does not count yet; ``report`` gets a message then.
    """

    def __init__(
        self,
        name: str,
        client: Client | None = None,
        timeout: float = 60,
        deadline: float = 120,
        patience: float = 0,
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.name = name
        self._patience = patience
        self._report = report
        with self._explained("open the bucket"):
            self._bucket = (client or Client()).bucket(name)
        self._timeout = timeout
        self._retry = DEFAULT_RETRY.with_timeout(deadline)

    def check(self) -> None:
        """Raise BucketError unless the bucket exists and may be listed."""
        with self._explained("list the bucket"):
            self._patiently(
                lambda: list(
                    self._bucket.client.list_blobs(
                        self._bucket, prefix="current.json", max_results=1, timeout=self._timeout, retry=self._retry
                    )
                )
            )

    def read(self, path: str, generation: int | None = None) -> bytes:
        """Return the bytes of an object (of one ``generation``); raise ReleaseNotFoundError if there is none."""
        try:
            with self._explained(f"read {path}"):
                blob = self._bucket.blob(path, generation=generation)
                data: bytes = self._patiently(lambda: blob.download_as_bytes(timeout=self._timeout, retry=self._retry))
                return data
        except BucketError as error:
            if isinstance(error.__cause__, api.NotFound):
                raise ReleaseNotFoundError(f"gs://{self.name}/{path} does not exist") from error
            raise

    def read_versioned(self, path: str) -> tuple[bytes, int] | None:
        """Return the bytes of an object and their generation, or None if there is no such object."""
        for _ in range(10):
            with self._explained(f"read {path}"):
                blob = self._patiently(lambda: self._bucket.get_blob(path, timeout=self._timeout, retry=self._retry))
                if blob is None:
                    return None
                try:
                    data = blob.download_as_bytes(
                        if_generation_match=blob.generation, timeout=self._timeout, retry=self._retry
                    )
                except (api.PreconditionFailed, api.NotFound):
                    continue  # replaced between the two requests
                return data, int(blob.generation)
        raise BucketError(f"cannot read gs://{self.name}/{path}: it was replaced in each of 10 attempts; try again")

    def objects(self, prefix: str) -> Iterator[Found]:
        """Yield the objects whose names begin with ``prefix``, in the order of their names."""
        with self._explained(f"list {prefix or 'the objects'}"):
            blobs = self._patiently(
                lambda: list(
                    self._bucket.client.list_blobs(
                        self._bucket, prefix=prefix, timeout=self._timeout, retry=self._retry
                    )
                )
            )
        for blob in blobs:
            yield Found(blob.name, int(blob.generation), str(blob.crc32c), int(blob.size), blob.updated.timestamp())

    def head(self, path: str, generation: int, size: int) -> bytes:
        """Return the first ``size`` bytes of this generation of an object, or all if it has fewer."""
        with self._explained(f"read {path}"):
            blob = self._bucket.blob(path, generation=generation)
            data: bytes = self._patiently(
                lambda: blob.download_as_bytes(
                    end=size - 1, timeout=self._timeout, retry=self._retry, raw_download=True
                )
            )
            return data

    def download(self, path: str, generation: int, target: Path) -> None:
        """Write this generation of an object to the file ``target``, its checksum compared, never whole in memory."""
        with self._explained(f"download {path}"):
            blob = self._bucket.blob(path, generation=generation)
            blob.download_to_filename(
                str(target), timeout=self._timeout, retry=self._retry, checksum="crc32c", raw_download=True
            )

    def create(self, path: str, data: bytes, content_type: str, reuse_seconds: float = float("inf")) -> int | None:
        """Create an object that must not change any more, and return its generation.

        If it exists with the same size and CRC32C, that is a success: an earlier attempt, or a lost answer, made it.
        But if it is older than ``reuse_seconds``, it may be deleted as superfluous at any time: then None is returned.
        """
        blob = self._bucket.blob(path)
        with self._explained(f"create {path}"):
            try:
                self._write(blob, data, content_type, 0)
            except api.PreconditionFailed:
                blob.reload(timeout=self._timeout, retry=self._retry)
                if (blob.size, blob.crc32c) != (len(data), crc32c(data)):
                    raise BucketError(
                        f"gs://{self.name}/{path} exists with other content ({blob.size} bytes, CRC32C {blob.crc32c}) "
                        "than its name promises; delete it and publish again"
                    ) from None
                age = datetime.datetime.now(datetime.timezone.utc) - blob.time_created
                if age.total_seconds() > reuse_seconds:
                    return None
        return int(blob.generation)

    def replace(self, path: str, data: bytes, generation: int) -> None:
        """Replace an object if it still has ``generation`` (0: if it does not exist). Raises ConflictError if not.

        After any other BucketError the outcome is unknown: the write may have happened and its answer been lost. The
        same holds for ConflictError, because the client repeats a request whose answer was lost.
        """
        blob = self._bucket.blob(path)
        blob.cache_control = "no-store"
        with self._explained(f"replace {path}"):
            self._write(blob, data, "application/json", generation)

    def delete(self, path: str, generation: int) -> None:
        """Delete an object if it still has ``generation``; nothing if it is gone. Raises ConflictError if it has another."""
        blob = self._bucket.blob(path)
        with self._explained(f"delete {path}"), suppress(api.NotFound):
            self._patiently(
                lambda: blob.delete(if_generation_match=generation, timeout=self._timeout, retry=self._retry)
            )

    def mirror(self, path: str, data: bytes, content_type: str, release: str) -> bool:
        """Make ``path`` a copy of ``data`` unless it is one already; return whether it was written.

        Raises ConflictError if somebody else writes it at the same time.
        """
        with self._explained(f"write {path}"):
            existing = self._bucket.get_blob(path, timeout=self._timeout, retry=self._retry)
            if existing is not None and (existing.size, existing.crc32c) == (len(data), crc32c(data)):
                return False
            blob = self._bucket.blob(path)
            blob.cache_control = "no-store"
            blob.metadata = {"release": release}
            self._write(blob, data, content_type, int(existing.generation) if existing else 0)
            return True

    def _write(self, blob: Blob, data: bytes, content_type: str, generation: int) -> None:
        """Write an object if it still has ``generation`` (0: if it does not exist)."""
        self._patiently(
            lambda: blob.upload_from_string(
                data,
                content_type=content_type,
                if_generation_match=generation,
                timeout=self._timeout,
                retry=self._retry,
                checksum="crc32c",
            )
        )

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call, and while ``patience`` lasts call again when access is refused. Raises what the last call raised."""
        if not self._patience:
            return call()
        patient = Retry(
            predicate=if_exception_type(api.Forbidden), initial=2, maximum=10, multiplier=1.5, timeout=self._patience,
            on_error=lambda error: self._report("access is refused; the grant may not count yet, trying again"),
        )  # fmt: skip
        try:
            answer: T = patient(call)()
        except api.RetryError as error:
            raise error.cause or error from error
        return answer

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turn the exceptions of four libraries into one BucketError, with the remedy."""
        try:
            yield
        except _FAILURES as error:
            kind = ConflictError if isinstance(error, api.PreconditionFailed) else BucketError
            raise kind(f"cannot {action} (gs://{self.name}): {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what went wrong and what to do about it, in one line."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, auth.DefaultCredentialsError):
        return (
            "no Google credentials were found; set GOOGLE_APPLICATION_CREDENTIALS to a key file, "
            "or run where a service account is attached"
        )
    if isinstance(error, auth.GoogleAuthError):
        return f"Google refused or could not check the credentials ({text}); check the key file and the network"
    if isinstance(error, api.NotFound):
        return "the bucket or the object does not exist; check the name, or create the bucket first"
    if isinstance(error, (api.Forbidden, api.Unauthorized)):
        return (
            f"permission denied ({text}); run site.yml again, it grants the account what it needs on the bucket. A grant "
            "can take some minutes to count"
        )
    if isinstance(error, api.PreconditionFailed):
        return "somebody else has changed it in the meantime"
    return f"{type(error).__name__}: {text}; check the network and try again"
