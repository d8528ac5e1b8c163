# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls back as the playbook does, without Ansible around it, and asks the function what it serves then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.reconcile.reconciler import reconcile
from ansible.module_utils.fanops.releases.promotion import LiveRelease

from ml.core.releases import Candidate, load_release, read_pointer
from tests.faulty_storage import Front
from tests.publish_sweep import open_bucket
from tests.running_function import lay_out, running_function


class Session(requests.Session):
    """Sends what is meant for Google to the storage server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        return super().request(method, url.replace("https://storage.googleapis.com", self.url), *args, **options)


def roll_back(url: str, release: str) -> None:
    """Make a release of the bucket live, with the code of the module ``model_release``."""
    options: dict[str, Any] = {
        "bucket": "models",
        "release": release,
        "action": "rollback",
        "reason": "a proof",
        "force": False,
    }
    options |= {"source_bucket": None, "source_environment": ""}
    reconcile(LiveRelease(Client(Session(url), "test"), options), "present", check_mode=False)


def roll_back_to_each(front: Front, candidates: Sequence[Candidate], folder: Path) -> list[list[str]]:
    """Go back to each release; return a row for each: its name, two durations, and how many golden rows agreed."""
    rows = []
    bucket = open_bucket(front.url, 10, 60)
    first = [promotion.manifest for promotion in reversed(read_pointer(bucket.read).promotions())]
    with running_function(lay_out(folder), front.url, MODEL_REFRESH_SECONDS="0.1") as server:
        for number, candidate in enumerate(candidates, 1):
            begun = time.monotonic()
            roll_back(front.url, str(number))
            swapped = time.monotonic() - begun
            golden = candidate.facts["golden"]
            body = {"instances": [row["context"] for row in golden]}
            while True:
                answer = requests.post(f"{server.url}/?probabilities=true", json=body, timeout=30)
                if answer.headers["X-Model-Manifest"] == first[number - 1] or time.monotonic() - begun > 60:
                    break
                time.sleep(0.02)
            served = time.monotonic() - begun
            predictions = answer.json()["predictions"]
            agreed = sum(_agrees(*pair) for pair in zip(golden, predictions, strict=True))
            assert load_release(bucket.read).manifest["golden"] == golden
            rows.append([str(number), f"{swapped:.2f}", f"{served:.2f}", f"{agreed} of {len(golden)}"])
    return rows


def _agrees(recorded: dict[str, Any], answered: dict[str, Any]) -> bool:
    found = list(answered["probabilities"].values())
    close = all(abs(a - b) <= 2e-5 for a, b in zip(found, recorded["probabilities"], strict=True))
    return close and answered["recommended_sponsor"] == recorded["sponsor"]
