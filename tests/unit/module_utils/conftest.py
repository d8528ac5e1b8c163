# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible.module_utils.fanops`` importable from the checkout."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

UTILS = str(Path(__file__).parents[3] / "module_utils")
if UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(UTILS)
