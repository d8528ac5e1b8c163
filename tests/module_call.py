# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls a module of ``library/`` in this process, as Ansible calls it in one of its own."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).parents[1]
if str(ROOT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))


def call_module(
    name: str, capsys: pytest.CaptureFixture[str], options: dict[str, Any], *, check: bool = False
) -> dict[str, Any]:
    """Return what the module returns to Ansible, with its diff; it has failed if and only if it ended with an error."""
    module = importlib.import_module(name)
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert bool(ended.value.code) == bool(result.get("failed")), result
    return result
