#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: training_log_info
short_description: Read the log of the last training run from the bucket
description:
  - Every run leaves its log and its end in the bucket, so both can be read when the VM is stopped or gone.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Reads only, in check mode as otherwise.
  diff_mode:
    support: none
    description: There is nothing to change.
extends_documentation_fragment: [google_api]
options:
  bucket:
    description: The bucket of the releases.
    type: str
    required: true
  run_id:
    description: The run. Without it, the one that ended last.
    type: str
  lines:
    description: How many lines from the end.
    type: int
    default: 50
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Read how the last training went
  training_log_info:
    bucket: fanops-m4-models
    lines: 200
  register: __log
"""

RETURN = r"""
run_id:
  description: The run, null when none has ended.
  returned: success
  type: str
run:
  description: What was started, when (seconds since the epoch), and how it ended (C(status)).
  returned: success
  type: dict
lines:
  description: The end of its log.
  returned: success
  type: list
  elements: str
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

import json
from typing import Any

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, errors_reported, google_module, make_client

OPTIONS = {
    **SHARED_OPTIONS,
    "bucket": {"type": "str", "required": True},
    "run_id": {"type": "str"},
    "lines": {"type": "int", "default": 50},
    "timeout": {"type": "int", "default": 60},
}


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


def read(client: Client, params: dict[str, Any]) -> dict[str, Any]:
    """All that was asked for."""
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
    if log is None:
        raise GoogleApiError(attempting, "there is none", "Check run_id, or leave it out for the last run.")
    lines = log.decode("utf-8", "replace").splitlines()[-params["lines"] :]
    return {"run_id": run_id, "run": json.loads(record or b"{}"), "lines": lines}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        module.exit_json(changed=False, **read(make_client(module), module.params))


if __name__ == "__main__":
    main()
