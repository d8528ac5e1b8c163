# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules share: options, their documentation, the client made from them, and the reporting of errors."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible.module_utils.fanops.api import credentials
from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.reconciler import Outcome, Resource, reconcile

try:
    import google.auth  # noqa: F401
    import requests  # noqa: F401 - google-auth's transport needs it
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

#: Option names and environment variables are those of the google.cloud collection.
SHARED_OPTIONS: dict[str, Any] = {
    "project": {"type": "str", "required": True, "fallback": (env_fallback, ["GCP_PROJECT"])},
    "auth_kind": {
        "type": "str",
        "choices": ["application", "serviceaccount", "accesstoken"],
        "fallback": (env_fallback, ["GCP_AUTH_KIND"]),
    },
    "service_account_file": {"type": "path", "fallback": (env_fallback, ["GCP_SERVICE_ACCOUNT_FILE"])},
    "access_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["GCP_ACCESS_TOKEN"])},
    "timeout": {"type": "int", "default": 300},
}

#: Seconds a "this API is disabled" answer is taken for "enabled a moment ago, not everywhere yet".
PATIENCE_AFTER_ENABLING = 45.0


def google_module(options: dict[str, Any], **kwargs: Any) -> AnsibleModule:
    """An AnsibleModule with check mode whose options are ``options`` (which include SHARED_OPTIONS)."""
    module = AnsibleModule(argument_spec=options, supports_check_mode=True, **kwargs)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("google-auth and requests"), exception=IMPORT_ERROR)
    return module


def make_client(module: AnsibleModule, *, patient: bool = False) -> Client:
    """The client for the module's credentials; raises GoogleApiError where there are none."""
    params = module.params
    session = credentials.Session(
        *credentials.load(
            params["auth_kind"], params["service_account_file"], params["access_token"], project=params["project"]
        )
    )
    return Client(
        session,
        params["project"],
        timeout=params["timeout"],
        patience=PATIENCE_AFTER_ENABLING if patient and not module.check_mode else 0.0,
    )


def exit_with(module: AnsibleModule, outcome: Outcome, key: str) -> None:
    """End the module with what the reconciler did; the resource is returned as ``key``."""
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**outcome.result(key))


@contextmanager
def errors_reported(module: AnsibleModule) -> Iterator[None]:
    """Turn a GoogleApiError into ``fail_json``: one line for the person, ``failure`` for the playbook."""
    try:
        yield
    except GoogleApiError as error:
        module.fail_json(msg=str(error), failure=error.facts())


def manage(module: AnsibleModule, resource: type[Resource], key: str, *, patient: bool = False) -> None:
    """Bring the one resource that the options describe into ``state`` and end the module; it is returned as ``key``."""
    with errors_reported(module):
        described = resource(make_client(module, patient=patient), module.params)
        state = module.params.get("state", "present")
        exit_with(module, reconcile(described, state, check_mode=module.check_mode), key)


def answer(module: AnsibleModule, read: Callable[[Client, dict[str, Any]], Mapping[str, Any]]) -> None:
    """End a module that reads only with what ``read`` makes of the client and the options."""
    with errors_reported(module):
        module.exit_json(changed=False, **read(make_client(module), module.params))
