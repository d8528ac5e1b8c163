#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_release_info
short_description: Read which model release is live
description:
  - Follows the pointer C(current.json) in the bucket to the manifest of the live release, and checks its digest.
  - A bucket or pointer that does not exist yet means that there is no release.
author: FanOps
attributes:
  check_mode:
    support: full
    description: Reads only, in check mode as otherwise.
  diff_mode:
    support: none
    description: There is nothing to change.
options:
  bucket:
    description: The bucket of the releases.
    type: str
    required: true
  project:
    description:
      - The Google Cloud project id.
      - The environment variable E(GCP_PROJECT) is used where the option is not set.
    type: str
    required: true
  auth_kind:
    description:
      - Where the credentials come from. V(application) means application default credentials.
      - The environment variable E(GCP_AUTH_KIND) is used where the option is not set. Without either, a given
        O(service_account_file) or O(access_token) decides, and V(application) is the rest.
    type: str
    choices: [application, serviceaccount, accesstoken]
  service_account_file:
    description:
      - Path of a service account's JSON key, for O(auth_kind=serviceaccount).
      - The environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used where the option is not set.
    type: path
  access_token:
    description:
      - An OAuth access token, for O(auth_kind=accesstoken).
      - The environment variable E(GCP_ACCESS_TOKEN) is used where the option is not set.
    type: str
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: See which release is live
  model_release_info:
    bucket: fanops-m4-models
  register: __live

- name: Show its accuracy
  ansible.builtin.debug:
    msg: "{{ __live.release.metrics }}"
  when: __live.release is not none
"""

RETURN = r"""
release:
  description:
    - The manifest of the live release, with the pointer's members added. Null when there is none.
  returned: success
  type: dict
  contains:
    version:
      description: The number the pointer gave to the release, counting promotions.
      type: int
    manifest_sha256:
      description: SHA-256 of the manifest.
      type: str
    fingerprint:
      description: Fingerprint of code, lock, data and parameters it was trained with.
      type: str
    created:
      description: When it was made.
      type: str
    metrics:
      description: Measured quality.
      type: dict
    files:
      description: The files of the release by name, with path, size and digest.
      type: dict
pointer:
  description: The pointer as it is stored, null when there is none.
  returned: success
  type: dict
failure:
  description: The failed call, as Google reported it (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

import hashlib
import json
import re
from typing import Any

from ansible.module_utils.fanops.client import Client
from ansible.module_utils.fanops.errors import GoogleApiError
from ansible.module_utils.fanops.options import SHARED_OPTIONS, errors_reported, google_module, make_client

OPTIONS = {
    **SHARED_OPTIONS,
    "bucket": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 60},
}
POINTER = "current.json"
REMEDY = "Publish a good release again (ansible-playbook site.yml -e training_force=true)."


def read_json(client: Client, bucket: str, name: str) -> tuple[dict[str, Any], bytes] | None:
    """An object's JSON and its bytes; None when it does not exist."""
    attempting = f"read gs://{bucket}/{name}"
    data = client.download(bucket, name, attempting=attempting)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError as error:
        raise GoogleApiError(attempting, "it is not JSON", REMEDY) from error
    if not isinstance(found, dict):
        raise GoogleApiError(attempting, "it is not a JSON object", REMEDY)
    return found, data


def live_release(client: Client, bucket: str) -> dict[str, Any]:
    """{release, pointer}, both None when nothing was published."""
    found = read_json(client, bucket, POINTER)
    if found is None:
        return {"release": None, "pointer": None}
    pointer = found[0]
    match = re.search(r"[0-9a-f]{64}", str(pointer.get("manifest", "")))
    if not match:
        raise GoogleApiError(f"read gs://{bucket}/{POINTER}", "it names no manifest", REMEDY)
    digest = match.group(0)
    name = f"manifests/{digest}.json"
    manifest = read_json(client, bucket, name)
    if manifest is None:
        raise GoogleApiError(f"read gs://{bucket}/{name}", f"{POINTER} points to it and it does not exist", REMEDY)
    if hashlib.sha256(manifest[1]).hexdigest() != digest:
        raise GoogleApiError(f"read gs://{bucket}/{name}", "its content does not have the digest in its name", REMEDY)
    members = {key: value for key, value in pointer.items() if key in ("version", "fingerprint", "updated", "previous")}
    return {"release": {**manifest[0], **members, "manifest_sha256": digest}, "pointer": pointer}


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        module.exit_json(changed=False, **live_release(make_client(module), module.params["bucket"]))


if __name__ == "__main__":
    main()
