# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules of ``library/`` in this process, against a small Google made of dictionaries."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import requests
from ansible.module_utils.basic import AnsibleModule

from tests.module_call import call_module
from tests.unit.modules.fake_google import FakeGoogle, RunModule


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> FakeGoogle:
    """The fake Google that every client of a module talks to. Time passes without waiting."""
    from ansible.module_utils.fanops.api import client, credentials, options

    for name in ("GCP_PROJECT", "GCP_AUTH_KIND", "GCP_SERVICE_ACCOUNT_FILE", "GCP_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeGoogle()
    monkeypatch.setattr(credentials, "load", lambda *args: (object(), "tester@demo.iam.gserviceaccount.com"))
    monkeypatch.setattr(credentials, "Session", lambda *args: fake)
    monkeypatch.setattr(options, "Client", partial(client.Client, sleep=fake.sleep, clock=fake.clock))
    monkeypatch.setattr(requests, "put", fake.put)
    return fake


@pytest.fixture
def run(google: FakeGoogle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Call a module: ``run("gcs_bucket", check=True, name="b")`` returns what it would return to Ansible."""
    # Where warnings go depends on what else this process has imported; here they stay with the result.
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: warnings.append(text))

    def run_module(module_name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        warnings.clear()
        result = call_module(module_name, capsys, {"project": "demo", **options}, check=check)
        return result | {"warnings": list(warnings)}

    return run_module
