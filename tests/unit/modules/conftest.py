# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules of ``library/`` in this process, against the rehearsal's gateway: the same Google as end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests
from ansible.module_utils.basic import AnsibleModule

from rehearsal.testing.client import Session
from tests.module_call import call_module

#: ``run("gcs_bucket", check=True, name="b")`` calls a module and returns what it would return to Ansible.
RunModule = Callable[..., dict[str, Any]]
PROJECT = "fanops-rehearsal"
SERVICES = ("compute", "cloudfunctions", "run", "cloudbuild", "artifactregistry")


def act(google: Session, verb: str, url: str, body: Any = None) -> Any:
    """Do something as another client of the owner does, until it has happened; return the answer."""
    other = Session(google.cloud, google.account)
    answer = other.request(verb, f"https://{url}", json=body)
    assert answer.status_code in (200, 204), answer.text
    other.clock.sleep(0)  # ends when the operation has
    return answer.json() if answer.content else {}


@pytest.fixture
def google(
    control_plane: Any, storage_server: Any, instant_functions: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """The session of every client that a module makes, as the project's owner. Time passes without waiting."""
    from ansible.module_utils.fanops.api import client, credentials, options

    for name in ("GCP_PROJECT", "GCP_AUTH_KIND", "GCP_SERVICE_ACCOUNT_FILE", "GCP_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for service in SERVICES:
        control_plane.identity.services.enable(PROJECT, f"{service}.googleapis.com")
    session = Session(control_plane, control_plane.identity.owner)
    monkeypatch.setattr(credentials, "load", lambda *args, project: (object(), session.account))
    monkeypatch.setattr(credentials, "Session", lambda *args: session)
    clock = session.clock
    monkeypatch.setattr(options, "Client", partial(client.Client, sleep=clock.sleep, clock=clock))
    monkeypatch.setattr(requests, "put", session.put)
    yield session
    outside_schema = [entry for entry in control_plane.log.entries() if entry.violations.startswith("answer:")]
    assert not outside_schema


@pytest.fixture
def run(google: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Call a module: ``run("gcs_bucket", check=True, name="b")`` returns what it would return to Ansible."""
    # Where warnings go depends on what else this process has imported; here they stay with the result.
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: warnings.append(text))

    def run_module(module_name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        warnings.clear()
        result = call_module(module_name, capsys, {"project": PROJECT, **options}, check=check)
        return result | {"warnings": list(warnings)}

    return run_module


@pytest.fixture
def function_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options of cloud_function for a small source, in ``source[0]["src"]``."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "main.py").write_text("def answer(request): return {}")
    (folder / "requirements.txt").write_text("numpy")
    return {
        "name": "sponsor",
        "region": "us-central1",
        "source": [{"src": str(folder)}],
        "runtime": "python313",
        "entry_point": "answer",
        "memory": "512M",
        "environment": {"MODEL_BUCKET": "models"},
        "public": True,
        "labels": {"app": "fanops-m4"},
    }
