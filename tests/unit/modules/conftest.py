# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules of ``library/`` in this process, against a small Google made of dictionaries."""

from __future__ import annotations

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
import requests
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from tests.unit.modules.fake_google import FakeGoogle, RunModule

ROOT = Path(__file__).parents[3]
if str(ROOT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> FakeGoogle:
    """The fake Google that every client of a module talks to. Time passes without waiting."""
    from ansible.module_utils.fanops import client, credentials, options

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
        module = importlib.import_module(module_name)
        warnings.clear()
        arguments = {"project": "demo", **options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        result["warnings"] = list(warnings)
        assert bool(ended.value.code) == bool(result.get("failed")), result
        return result

    return run_module
