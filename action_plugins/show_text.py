# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints a text as it is: tables stay tables, JSON stays JSON. Ansible's debug would wrap and indent both."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """``show_text: {text: …}`` prints ``text`` to standard output and changes nothing."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"text"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        Display().display(str(self._task.args["text"]))
        return {**result, "changed": False}
