# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a runbook shows to a person. The callback change_summary prints it, without a play's decoration."""

# ruff: noqa: E402 - Ansible wants the documentation before the imports
from __future__ import annotations

DOCUMENTATION = r"""
name: runbook_screen
short_description: Show something to a person, without a play's decoration
description:
  - Hands its options to the callback P(fanops.site.change_summary#callback), which prints them at the end of the run.
  - It runs on the controller, reaches no host, and changes nothing. Check mode makes no difference.
options:
  title:
    description: The line above the others. Without it there is no screen; O(gcloud) and O(notes) may stand alone.
    type: str
  lines:
    description: The screen's lines. A later screen replaces an earlier one, unless that was shown O(at_once).
    type: list
    elements: str
    default: []
  at_once:
    description: Print the screen now rather than at the end of the run.
    type: bool
    default: false
  output:
    description: With V(json), the last line of the run is O(document) as JSON, with the changes as C(drift), and nothing else is shown.
    type: str
    choices: [text, json]
    default: text
  document:
    description: The same for programs.
    type: dict
    default: {}
  gcloud:
    description: The commands that do the same without this runbook. Empty ones are left out. site.yml shows none.
    type: list
    elements: str
    default: []
  notes:
    description: Lines below the table of changes.
    type: list
    elements: str
    default: []
"""

from typing import Any

from ansible.plugins.action import ActionBase

OPTIONS: dict[str, dict[str, Any]] = {
    "title": {"type": "str"},
    "lines": {"type": "list", "elements": "str", "default": []},
    "at_once": {"type": "bool", "default": False},
    "output": {"type": "str", "choices": ["text", "json"], "default": "text"},
    "document": {"type": "dict", "default": {}},
    "gcloud": {"type": "list", "elements": "str", "default": []},
    "notes": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core carries no types
    """See DOCUMENTATION."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the options under the name that the callback looks for. Raises AnsibleActionFail for a wrong one."""
        super().run(tmp, task_vars)
        _result, options = self.validate_argument_spec(argument_spec=OPTIONS)
        return {"changed": False, "runbook_screen": options}
