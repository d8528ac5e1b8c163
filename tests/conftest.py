# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes modules and module_utils importable from the checkout, under the names that Ansible gives them."""

from __future__ import annotations

import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).parents[1]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))
