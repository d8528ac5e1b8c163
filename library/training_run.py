#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: training_run
short_description: Run a training as a named systemd unit and follow it
description:
  - Starts C(fanops-train-RUN_ID.service), shows its output while it runs, and returns when it has ended.
  - The unit does not depend on the connection. After a lost connection or a killed controller, the same task finds the
    run and goes on following it.
  - A run that ended well is not started again. One that failed is.
  - An action plugin of the same name does the following. It asks this module every O(poll_seconds) seconds.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Says whether a run would be started, reattached to, or left alone.
  diff_mode:
    support: none
    description: A run has no settings to compare.
options:
  run_id:
    description: Name of the run. Letters, digits, dots, dashes and underscores.
    type: str
    required: true
  argv:
    description: The program and its arguments.
    type: list
    elements: str
    required: true
  chdir:
    description: Folder to run it in.
    type: path
  environment:
    description: Environment variables. C(PYTHONUNBUFFERED=1) is always set.
    type: dict
  user:
    description: Account to run it as. Without it, root.
    type: str
  memory_max:
    description: Hard memory limit of the unit, such as V(800M). Without it, the VM's memory is the limit.
    type: str
  on_end:
    description:
      - A program and its arguments to run when the run has ended, however it ended, before it counts as ended.
      - It runs in O(chdir) as O(user), for a minute at most. Its failure changes nothing.
    type: list
    elements: str
  trigger:
    description: What brought the run about. It is kept in the run's record.
    type: str
    default: site
  why:
    description: Why there is something to train. It is kept in the run's record.
    type: str
  timeout_seconds:
    description: The run is stopped and failed after this time.
    type: int
    default: 3600
  poll_seconds:
    description: How often new output is shown.
    type: int
    default: 2
  reconnect_seconds:
    description: How long the VM may be out of reach before the task gives up following. The run itself goes on.
    type: int
    default: 300
  follow_only:
    description: Follow a run that is going on, and start nothing.
    type: bool
    default: false
  force:
    description: Start again even if the run ended well.
    type: bool
    default: false
  start:
    description: Whether to start a run that is not going on. The action plugin, once it is following, only looks.
    type: bool
    default: true
  log_offset:
    description: Byte of the output to return RV(lines) from. The action plugin uses it.
    type: int
    default: 0
notes:
  - Runs on the VM, as root, with systemd 247 or later.
"""

EXAMPLES = r"""
- name: Train and publish
  training_run:
    run_id: 1f0c5e3a9b7d
    argv: [/opt/fanops/venv/bin/python, -m, ml.train, --samples, "10000", --seed, "42"]
    chdir: /opt/fanops/app
    user: fanops-training
    timeout_seconds: 3600
  become: true

- name: See whether a training would be started
  training_run:
    run_id: 1f0c5e3a9b7d
    argv: [/opt/fanops/venv/bin/python, -m, ml.train]
  check_mode: true
  become: true
"""

RETURN = r"""
state:
  description:
    - V(running), V(finished) (exit code 0) or V(failed).
    - V(absent), in check mode or with O(start=false), for one that was never started.
  returned: always
  type: str
  sample: finished
exit_code:
  description: The program's exit code, null when it did not end by itself.
  returned: always
  type: int
  sample: 0
reason:
  description: Why it failed (V(exit code N), V(out of memory), V(timeout), V(stopped), V(interrupted),
    V(signal N)), else empty.
  returned: always
  type: str
log:
  description: The last lines of its output.
  returned: always
  type: str
log_path:
  description: The file on the VM with all of its output.
  returned: always
  type: str
unit:
  description: The systemd unit.
  returned: always
  type: str
  sample: fanops-train-1f0c5e3a9b7d.service
reattached:
  description: Whether the run was already going on.
  returned: always
  type: bool
started_at:
  description: When it was started, UTC. Null if it was not.
  returned: always
  type: str
  sample: "2026-11-23T09:41:07Z"
seconds:
  description: How long it ran, or has been running. Null if it was not started.
  returned: always
  type: int
  sample: 41
lines:
  description: Output from O(log_offset) on. Empty in the task's result, for it was shown already.
  returned: always
  type: list
  elements: str
log_offset:
  description: Byte after RV(lines).
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.fanops.training.outcome import failure_message
from ansible.module_utils.fanops.training.run import TrainingError, TrainingRun, follow

OPTIONS = {
    "run_id": {"type": "str", "required": True},
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "environment": {"type": "dict"},
    "user": {"type": "str"},
    "memory_max": {"type": "str"},
    "on_end": {"type": "list", "elements": "str"},
    "trigger": {"type": "str", "default": "site"},
    "why": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 3600},
    "poll_seconds": {"type": "int", "default": 2},
    "reconnect_seconds": {"type": "int", "default": 300},
    "follow_only": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "start": {"type": "bool", "default": True},
    "log_offset": {"type": "int", "default": 0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        run = TrainingRun(module.params)
        result = follow(run, module.params, check_mode=module.check_mode)
    except TrainingError as error:
        module.fail_json(msg=str(error))
    if result["state"] == "failed" and not module.check_mode:
        message = failure_message(module.params["run_id"], result, module.params, result["log"].splitlines())
        module.fail_json(msg=message, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
