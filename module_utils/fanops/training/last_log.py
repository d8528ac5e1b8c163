# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a training run as the bucket keeps it, for when the VM is stopped or gone."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError


def last_run(client: Client, bucket: str) -> str | None:
    """The run whose record was written last."""
    pages = client.pages(
        f"https://storage.googleapis.com/storage/v1/b/{segment(bucket)}/o",
        attempting=f"list the runs in gs://{bucket}",
        params={"prefix": "runs/", "fields": "items(name,updated),nextPageToken"},
    )
    records = [item for page in pages for item in page.get("items", []) if item["name"].endswith("/run.json")]
    latest = max(records, key=lambda item: str(item["updated"]), default=None)
    return None if latest is None else str(latest["name"]).split("/")[1]


def read_log(client: Client, params: dict[str, Any]) -> dict[str, Any]:
    """What ``training_log_info`` returns for its options."""
    bucket = params["bucket"]
    try:
        run_id = params["run_id"] or last_run(client, bucket)
    except GoogleApiError as error:
        if error.status != 404:  # no bucket: nothing was ever trained
            raise
        run_id = None
    if run_id is None:
        return {"run_id": None, "run": {}, "lines": []}
    attempting = f"read the log of run {run_id} in gs://{bucket}"
    log = client.download(bucket, f"runs/{run_id}/training.log", attempting=attempting)
    record = client.download(bucket, f"runs/{run_id}/run.json", attempting=attempting)
    if log is None:  # a start that trained nothing has an outcome only
        log = client.download(bucket, f"runs/{run_id}/outcome.json", attempting=attempting)
        record = None if log is None else _idle_record(json.loads(log))
    if log is None:
        raise GoogleApiError(attempting, "there is none", "Check run_id, or leave it out for the last run.")
    lines = log.decode("utf-8", "replace").splitlines()[-params["lines"] :]
    return {"run_id": run_id, "run": json.loads(record or b"{}"), "lines": lines}


def _idle_record(outcome: dict[str, Any]) -> bytes:
    ended = datetime.datetime.fromisoformat(outcome["ended"].replace("Z", "+00:00")).timestamp()
    return json.dumps(
        {"status": {"result": "failure" if outcome.get("message") else "success", "ended": ended}}
    ).encode()
