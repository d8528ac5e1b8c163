#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloud_function_call
short_description: Ask an HTTP function one question
description:
  - Sends a JSON object by POST and returns the answer and how long it took.
  - It first asks as anybody could. A private function refuses that, and is asked again with an ID token.
  - In check mode the function is asked too, for a question changes nothing. One that does not exist yet is skipped.
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
  name:
    description: The function's name.
    type: str
    required: true
  region:
    description: The region.
    type: str
    required: true
  body:
    description: The JSON object to send.
    type: dict
    default: {}
  patience:
    description:
      - Seconds to go on asking a function that itself answers that it cannot serve yet (503 as V(application/problem+json)).
      - Give more right after its account was granted access, for a grant can take minutes to count.
    type: int
    default: 10
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask for a sponsor
  cloud_function_call:
    name: m4-sponsor-ai
    region: us-central1
    body: {zone: VIP, event: Goal, match_minute: 63}
  register: __prediction
"""

RETURN = r"""
status:
  description: HTTP status of the answer, null when the function does not exist yet (check mode only).
  returned: success
  type: int
  sample: 200
response:
  description: The JSON object it answered, null if the answer is something else.
  returned: success
  type: dict
  sample: {recommended_sponsor: Visa, confidence: 0.91}
latency_ms:
  description: Milliseconds from request to answer.
  returned: success
  type: float
  sample: 41.7
url:
  description: The address that was asked.
  returned: success
  type: str
authenticated:
  description: Whether an ID token was needed.
  returned: success
  type: bool
failure:
  description: The failed call (code, reason, target, message, retryable, details).
  returned: failure
  type: dict
"""

import time
from typing import Any

from ansible.module_utils.fanops.api import credentials, errors
from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, errors_reported, google_module, make_client

try:
    import requests
except ImportError:  # reported by google_module
    requests = None  # type: ignore[assignment]

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "body": {"type": "dict", "default": {}},
    "patience": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 60},
}
#: An instance that is just starting may turn requests away for a moment.
STARTING = (429, 500, 502, 503, 504)


def find_url(client: Client, params: dict[str, Any]) -> str | None:
    """The function's address; None when there is no such function."""
    name, region = params["name"], params["region"]
    url = (
        f"https://cloudfunctions.googleapis.com/v2/projects/{client.project}"
        f"/locations/{segment(region)}/functions/{segment(name)}"
    )
    function = client.find(url, attempting=f"read function {name} in {region}")
    if function is None:
        return None
    found = function.get("serviceConfig", {}).get("uri") or function.get("url")
    if not found:
        raise GoogleApiError(
            f"call function {name}",
            f"it has no address (state {function.get('state')})",
            "Deploy it again: its last deployment failed.",
        )
    return str(found)


def ask(url: str, params: dict[str, Any], token: str | None) -> tuple[Any, float]:
    """POST the question; the response and its time in milliseconds.

    Repeated while an instance is starting (``timeout``), or says that it cannot serve yet (``patience``).
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    began = time.monotonic()
    while True:
        started = time.perf_counter()
        try:
            response = requests.post(url, json=params["body"], headers=headers, timeout=(10, params["timeout"]))
        except requests.RequestException as error:
            raise errors.from_transport(f"call function {params['name']}", url, error) from error
        own = response.status_code == 503 and "problem+json" in response.headers.get("Content-Type", "")
        limit = params["patience"] if own else params["timeout"]
        if response.status_code not in STARTING or time.monotonic() + 2 > began + limit:
            return response, round((time.perf_counter() - started) * 1000, 1)
        time.sleep(2)


def call(client: Client, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Find the function, ask it, and judge the answer."""
    url = find_url(client, params)
    if url is None:
        if check_mode:
            return {"status": None, "response": None, "latency_ms": None, "url": None, "authenticated": False}
        raise GoogleApiError(
            f"call function {params['name']}",
            f"there is no such function in {params['region']} of project {client.project}",
            "Deploy it first (ansible-playbook site.yml).",
            status=404,
        )
    response, milliseconds = ask(url, params, None)
    private = response.status_code in (401, 403)
    if private:
        token = credentials.id_token(
            params["auth_kind"], params["service_account_file"], params["access_token"], audience=url
        )
        response, milliseconds = ask(url, params, token)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.status_code >= 400:
        text = answer.get("detail") if isinstance(answer, dict) else None
        text = text or response.text[:300]
        refused = response.status_code in (401, 403)
        raise GoogleApiError(
            f"call function {params['name']}",
            f"it answered HTTP {response.status_code}: {text}",
            f"Grant {client.account or 'this account'} the role roles/run.invoker on it." if refused else "",
            status=response.status_code,
            target=errors.target_of(url),
            details=[answer] if isinstance(answer, dict) else [],
        )
    return {
        "status": response.status_code,
        "response": answer if isinstance(answer, dict) else None,
        "latency_ms": milliseconds,
        "url": url,
        "authenticated": private,
    }


def main() -> None:
    """Run the module."""
    module = google_module(OPTIONS)
    with errors_reported(module):
        module.exit_json(changed=False, **call(make_client(module), module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
