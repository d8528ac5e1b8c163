# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes modules and module_utils importable from the checkout, under the names that Ansible gives them; a deprecation is an error."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

ROOT = Path(__file__).parents[1]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))
# The programs that tests start write Ansible's deprecations into a log; Python's are errors by pytest's configuration.
_folder = tempfile.TemporaryDirectory(prefix="ansible-log-")
_log = Path(_folder.name) / "ansible.log"
os.environ |= {"ANSIBLE_LOG_PATH": str(_log), "ANSIBLE_DEPRECATION_WARNINGS": "true"}

# google.cloud's own inventory plugin, which runs unchanged, still imports this (core 2.24 removes it).
_THEIRS = "from 'ansible.module_utils._text' is deprecated"


@pytest.fixture(autouse=True)
def no_deprecation_by_ansible() -> Iterator[None]:
    """Fail a test whose playbooks use what Ansible will remove."""
    yield
    logged = _log.read_text(encoding="utf-8") if _log.exists() else ""
    _log.unlink(missing_ok=True)
    lines = (line for line in logged.splitlines() if "[DEPRECATION WARNING]" in line and _THEIRS not in line)
    deprecated = sorted({line.partition("[DEPRECATION WARNING]")[2] for line in lines})
    assert not deprecated, deprecated
