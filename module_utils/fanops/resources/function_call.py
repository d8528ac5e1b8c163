# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to an HTTP function: asked as anybody could, and again with an ID token where that is refused."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.fanops.api import credentials, errors
from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError

try:
    import requests
except ImportError:  # reported by google_module
    requests = None  # type: ignore[assignment]


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


def call_function(client: Client, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
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
            params["auth_kind"],
            params["service_account_file"],
            params["access_token"],
            audience=url,
            project=client.project,
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
