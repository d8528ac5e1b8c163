# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run ends with: the screen that a runbook shows, and what was changed at Google, or would be in check mode."""

# ruff: noqa: E402 - Ansible wants the documentation before the imports
from __future__ import annotations

DOCUMENTATION = r"""
name: change_summary
type: aggregate
short_description: End a run with a runbook's screen and with what was, or would be, changed at Google
description:
  - Shows what a task of the action C(runbook_screen) hands over; its options are explained there.
  - Collects the members C(plan) and C(plan_notes) from the results of our modules.
  - In check mode the table is the plan. What is kept is counted, not listed.
requirements:
  - enable it in ansible.cfg (callbacks_enabled)
options:
  output:
    description: A file to write the table to as JSON, for programs.
    type: path
    env:
      - name: FANOPS_CHANGES_FILE
"""

import json
from pathlib import Path
from typing import Any

import ansible.constants as constants
from ansible.plugins.callback import CallbackBase

ORDER = ("create", "update", "delete", "power")
#: What several changes of one resource in one run amount to: the first of these that is among them.
WEIGHT = ("delete", "create", "update", "power", "none")
COLORS = {"create": "green", "update": "yellow", "delete": "red", "power": "cyan"}


class CallbackModule(CallbackBase):  # type: ignore[misc] # ansible-core carries no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "change_summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []
        self._check_mode = False
        self._compared = False
        self._screen: dict[str, Any] = {}
        self._gcloud: list[str] = []
        self._runbook = True
        self._planned_release: dict[str, Any] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Learn whether this is one runbook or all stages."""
        self._runbook = Path(playbook._file_name).name != "site.yml"

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Learn whether this is a plan."""
        self._check_mode = bool(play.check_mode)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Collect what the result says about a resource."""
        found = result.result
        self._take_screen(found.get("runbook_screen") or {})
        # A runbook that compares only: its tasks are in check mode though the play is not.
        self._compared = self._compared or (not self._check_mode and bool(result.task.check_mode) and "plan" in found)
        module = result.task.action.rpartition(".")[2]
        if module == "training_plan" and found.get("needed") and not self._check_mode:
            # What a run does is told of what was done: the release is made when the training has ended well.
            self._planned_release = {"plan": found.get("plan")}
            return
        if module == "training_run" and found.get("state") == "finished" and (found["changed"] or found["reattached"]):
            self._collect(self._planned_release)
        for item in [*found.get("results", []), found]:
            if isinstance(item, dict):
                self._collect(item)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the table."""
        if self.get_option("output"):
            content = {"check_mode": self._check_mode, "changes": list(self._rows.values()), "notes": self._notes}
            output = Path(self.get_option("output"))
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(content, indent=1), encoding="utf-8")
        if constants.DEFAULT_STDOUT_CALLBACK.endswith(("json", "jsonl")):
            return  # the output is one document for a program
        if self._screen.get("output") == "json":
            drift = [row for row in self._rows.values() if row["change"] != "none"]
            self._display.display(json.dumps({**self._screen["document"], "drift": drift}))
            return
        if self._screen:
            self._show_screen(self._screen)
        if self._rows:
            self._show_changes()
        if self._gcloud and self._runbook:
            self._display.display("The same with gcloud", color="bright blue")
            for line in self._gcloud:
                self._display.display(f"  {line}")

    def _take_screen(self, screen: dict[str, Any]) -> None:
        """Show the screen, or keep it for the end of the run."""
        if screen.get("at_once"):
            self._show_screen(screen)
        elif screen.get("title"):
            self._screen = screen
        self._add(self._gcloud, screen.get("gcloud"))
        self._add(self._notes, screen.get("notes"))

    def _show_screen(self, screen: dict[str, Any]) -> None:
        self._display.display(screen["title"], color="bright blue")
        for line in screen["lines"]:
            self._display.display(f"  {line}".rstrip())

    def _show_changes(self) -> None:
        title = "What this run would change" if self._check_mode else "What this run changed"
        self._display.display("Drift: what site.yml would change" if self._compared else title, color="bright blue")
        listed = [row for change in ORDER for row in self._rows.values() if row["change"] == change]
        for row in listed:
            repeats = (f" {row['resource']}", f" {row['change']}")
            detail = ", ".join(name for name in row["actions"] if not f" {name}".endswith(repeats))
            line = f"  {row['change']:<7} {row['resource']}" + (f": {detail}" if detail else "")
            self._display.display(line, color=COLORS[row["change"]])
        kept = len(self._rows) - len(listed)
        if kept:
            text = "1 resource as it is" if kept == 1 else f"{kept} resources as they are"
            self._display.display(f"  keep    {text}")
        for note in self._notes:
            self._display.display(f"  {note}")

    def _collect(self, item: dict[str, Any]) -> None:
        for found in item.get("plan") or []:
            row = self._rows.setdefault(found["resource"], {**found, "change": "none", "actions": []})
            row["actions"] += [name for name in found["actions"] if name not in row["actions"]]
            made_for_this_run_only = (row["change"], found["change"]) == ("create", "delete")
            if not made_for_this_run_only:  # it was not there before
                row["change"] = min(row["change"], found["change"], key=WEIGHT.index)
        self._add(self._notes, item.get("plan_notes"))

    @staticmethod
    def _add(known: list[str], lines: list[str] | None) -> None:
        """Append the lines that are neither empty nor there already."""
        known += [line for line in dict.fromkeys(lines or []) if line and line not in known]
