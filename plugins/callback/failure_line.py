# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ends the output of a failed run with one line that says why."""

# ruff: noqa: E402 - Ansible wants the documentation before the imports
from __future__ import annotations

DOCUMENTATION = r"""
name: failure_line
type: aggregate
short_description: End the output of a failed run with one line that says why
description:
  - Ansible wraps a failure's message and buries it above the recap. This repeats it, unwrapped, as the last line.
  - A failure that a rescue section mended is not repeated.
requirements:
  - enable it in ansible.cfg (callbacks_enabled)
"""

import re
from typing import Any

import ansible.constants as constants
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader

#: What Ansible puts before the reason where an option's value cannot be computed.
WRAPPING = re.compile(
    r"^(?:Task failed: )?(?:Finalization of task args for '[^']+' failed: )?(?:Error while resolving value for '[^']+': )?"
    r"(?:The filter plugin '[^']+' failed: )?"
)
#: A variable of the inventory is missing: another inventory was given, or another folder's ansible.cfg is in force.
UNDEFINED = re.compile(r"'\w+' is undefined")
LOST = '"ansible-playbook playbooks/show_status.yml" says whether it runs, and who stopped it; then run "ansible-playbook site.yml" again.'
INVENTORY = "run it in this repository's folder, without -i or with -i inventory/environments/production (or staging)"


class CallbackModule(CallbackBase):  # type: ignore[misc] # ansible-core carries no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "failure_line"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, str] = {}

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Remember the host's last failure."""
        if not ignore_errors:
            self._remember(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Remember that the host was lost, mostly because somebody stopped it: no rescue section runs then."""
        self._remember(result)
        host = result.host.get_name()
        self._last[host] = f"{host} cannot be reached ({self._last[host]}). {LOST}"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the line of every host that ended in a failure, unless the output is for a program."""
        if constants.DEFAULT_STDOUT_CALLBACK.endswith(("json", "jsonl")):
            return
        for host, line in self._last.items():
            if stats.failures.get(host) or stats.dark.get(host):
                self._display.display(f"Failed: {line}", color="red")

    def _remember(self, result: Any) -> None:
        reason = filter_loader.get("failure_reason").j2_function(result.result)
        reason = WRAPPING.sub("", reason)
        self._last[result.host.get_name()] = f"{reason}: {INVENTORY}" if UNDEFINED.fullmatch(reason) else reason
