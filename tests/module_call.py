# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls a module of ``library/`` in this process, as Ansible calls it in one of its own."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def call_module(
    name: str, capsys: pytest.CaptureFixture[str], options: dict[str, Any], *, check: bool = False
) -> dict[str, Any]:
    """Return what the module returns to Ansible, with its diff; it has failed if and only if it ended with an error."""
    module = importlib.import_module(name)
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert not result.get("deprecations"), result
    assert bool(ended.value.code) == bool(result.get("failed")), result
    return result
