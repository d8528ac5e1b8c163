# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a training run: asks the module of the same name again and again, and shows new output as it comes."""

from __future__ import annotations

import sys
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible.utils.display import Display

display = Display()

#: Without new output, say at least this often, in seconds, that the run goes on.
SIGN_OF_LIFE_SECONDS = 5.0
RECONNECT_PAUSE_SECONDS = 5.0


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core carries no types
    """The controller's half of ``training_run``."""

    TRANSFERS_FILES = False
    _connection: Any
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start or reattach, follow to the end, and return the module's last answer."""
        super().run(tmp, task_vars)
        self._last_shown = time.monotonic()
        answer = self._ask(task_vars, offset=0, first=True)
        changed, reattached = answer.get("changed", False), answer.get("reattached", False)
        if self._task.check_mode:
            return self._prediction(answer)
        followed = changed or reattached
        if followed:
            verb = "still running" if reattached else "started"
            display.display(f"{answer.get('unit')} {verb}; its output follows.")
        while True:
            if followed:
                self._show(answer)
            if answer.get("state") != "running":
                # A very long output comes in pieces; show what is left of it.
                offset = answer.get("log_offset", 0)
                if followed and answer.get("lines"):
                    answer = self._ask(task_vars, offset=offset)
                    continue
                break
            answer = self._ask(task_vars, offset=answer["log_offset"])
        return {**answer, "changed": changed, "reattached": reattached, "lines": []}

    def _ask(self, task_vars: dict[str, Any] | None, *, offset: int, first: bool = False) -> dict[str, Any]:
        """Call the module. A lost connection is no failure of the run, so try again for a while."""
        # Only the first question may start anything: a run that fails meanwhile must not be started over and over.
        options = {**self._task.args, "log_offset": offset, "start": first}
        patience = float(options.get("reconnect_seconds", 300))
        lost_at: float | None = None
        while True:
            try:
                answer: dict[str, Any] = self._execute_module(
                    module_name="training_run", module_args=options, task_vars=task_vars
                )
                return answer
            except AnsibleConnectionFailure as error:
                if first and lost_at is None and self._refused(error):
                    raise
                stopped = self._stopped_vm(task_vars or {})
                if stopped:
                    raise AnsibleActionFail(
                        f"Training run {options.get('run_id')} ended with its VM: {stopped}. What it had finished is kept; the next"
                        " run goes on from there."
                    ) from error
                lost_at = lost_at or time.monotonic()
                gone = time.monotonic() - lost_at
                if gone > patience:
                    raise AnsibleConnectionFailure(
                        f"Could not follow training run {options.get('run_id')}: the VM was out of reach for"
                        f" {gone:.0f} s ({error}). The run goes on there as a systemd unit: run the playbook again to"
                        " reattach."
                    ) from error
                display.warning(
                    f"Lost the connection to the VM ({gone:.0f} s); the training goes on there. Trying again."
                )
                time.sleep(RECONNECT_PAUSE_SECONDS)
                self._reset_connection()

    def _stopped_vm(self, task_vars: dict[str, Any]) -> str:
        """What Google says of a VM that does not run any more; "" where it runs, or Google cannot be asked."""
        given = {"project": "{{ gcp_project }}", "zone": "{{ gce_zone | default(gcp_zone, true) | basename }}"}
        options = {name: self._templar.template(trust_as_template(text)) for name, text in given.items()}
        options["name"] = task_vars.get("gce_name") or task_vars["inventory_hostname"]
        vm = self._connection
        # Asked from here: the VM cannot.
        self._connection = self._shared_loader_obj.connection_loader.get("ansible.legacy.local", self._play_context)
        try:
            answer = self._execute_module(
                module_name="gce_instance_info",
                module_args={**options, "history": True},
                task_vars={**task_vars, "ansible_python_interpreter": sys.executable},
            )
        finally:
            self._connection = vm
        if answer.get("failed") or "instance" not in answer:
            return ""
        instance = answer["instance"]
        if instance is None:
            return f"there is no {options['name']} any more"
        if instance["status"] in ("RUNNING", "STAGING", "PROVISIONING"):
            return ""
        ends = [event for event in answer.get("history") or [] if event["event"] in ("stopped", "deleted")]
        by = f", {ends[-1]['event']} by {ends[-1]['by']} at {ends[-1]['at']}" if ends else ""
        return f"{options['name']} is {instance['status']}{by}"

    @staticmethod
    def _refused(error: Exception) -> bool:
        """A wrong key or host key does not get better by waiting."""
        text = str(error)
        return any(
            word in text for word in ("Permission denied", "Host key verification failed", "IDENTIFICATION HAS CHANGED")
        )

    def _reset_connection(self) -> None:
        try:
            self._connection.reset()
        except (AnsibleConnectionFailure, NotImplementedError, OSError):
            return  # nothing to reset; the next call opens a new one

    def _show(self, answer: dict[str, Any]) -> None:
        """New lines, each with the seconds since the start; or a sign of life."""
        seconds = answer.get("seconds")
        stamp = f"{seconds:>5} s" if seconds is not None else "        "
        for line in answer.get("lines") or []:
            display.display(f"  {stamp} | {line}")
            self._last_shown = time.monotonic()
        if answer.get("state") == "running" and time.monotonic() - self._last_shown >= SIGN_OF_LIFE_SECONDS:
            display.display(f"  {stamp} | …")
            self._last_shown = time.monotonic()

    def _prediction(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer in check mode, with a sentence for a person."""
        if answer.get("failed") or "state" not in answer:
            return answer
        if answer["reattached"]:
            text = f"{answer['unit']} is running: would follow it to its end."
        elif answer["changed"]:
            text = f"Would start {answer['unit']}."
        else:
            text = f"{answer['unit']} has ended well before: nothing to do."
        return {**answer, "msg": text, "lines": []}
