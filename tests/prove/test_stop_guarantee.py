# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the controller everywhere, take the guards away in turn: no VM may run beyond its limit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import Controller, Rehearsal, vm_states, wait_until_stopped

pytestmark = pytest.mark.timeout(1200)
LIMIT, LEASE, GRACE = 120, 45, 5
NEVER = 7200
BY_GUEST, BY_GOOGLE, BY_PLAY = "its watchdog", "Google", "the play"

ROWS: list[list[object]] = []


@dataclass(frozen=True)
class Case:
    """Where the controller dies (a line of its output), which guards are left, and who is to stop the VM."""

    where: str
    line: str
    by: tuple[str, ...]
    watchdog: bool = True
    limit: int = LIMIT
    new_vm: bool = False


CASES = [
    Case("validating", "PLAY [Validate what", ()),
    Case("provisioning the project", "PLAY [Provision what", ()),
    Case("creating the VM", "TASK [training_vm : Provide | Create the VM]", (BY_GOOGLE,), new_vm=True),
    Case("waiting for its first boot", "TASK [training_vm : Connect | Read the host keys", (BY_GOOGLE,), new_vm=True),
    Case("installing Python", "TASK [python_runtime : Packages", (BY_GUEST, BY_GOOGLE)),
    Case("copying the code", "TASK [model_training : Code |", (BY_GUEST, BY_GOOGLE)),
    Case("training", " trees, ", (BY_GUEST, BY_GOOGLE)),
    Case("stopping the VM", "TASK [training_vm : Stop | Stop the VM]", (BY_PLAY, BY_GUEST, BY_GOOGLE)),
    Case("deploying", "PLAY [Deploy the prediction", (BY_PLAY,)),
    Case("verifying", "PLAY [Verify the served", (BY_PLAY,)),
    Case("training, without Google's limit", " trees, ", (BY_GUEST,), limit=NEVER),
    Case("installing Python, without Google's limit", "TASK [python_runtime : Packages", (BY_GUEST,), limit=NEVER),
    Case("training, without the watchdog", " trees, ", (BY_GOOGLE,), watchdog=False),
    Case("installing Python, without the watchdog", "TASK [python_runtime : Packages", (BY_GOOGLE,), watchdog=False),
]


@pytest.fixture(scope="module", autouse=True)
def figures(cloud: Rehearsal) -> Iterator[None]:
    """A deployed project to begin with; the table at the end."""
    assert cloud.playbook("site.yml").code == 0
    yield
    text = table(
        ["controller killed while", "seconds until TERMINATED", "stopped by", "then site.yml", "trained again"], ROWS
    )
    left = sum(row[2] == "nobody" for row in ROWS)
    record(
        "A VM never outlives its run",
        "make prove-stop",
        f"{text}\n\nVMs left running after the limit: {left} of {len(ROWS)}. Google's limit was {LIMIT} s, the lease "
        f'{LEASE} s, the grace after a run {GRACE} s; "without" means that the guard was taken away.',
    )


def stopper(cloud: Rehearsal) -> str:
    """Who stopped the VM, as show_status says."""
    outcome = cloud.playbook("playbooks/show_status.yml", "-e", "output=json")
    assert outcome.code == 0, outcome.output[-3000:]
    by = json.loads(outcome.output.strip().splitlines()[-1])["stops"]["by"] or "nobody"
    return (
        BY_GUEST if by.startswith("itself") else BY_GOOGLE if by.startswith("Google") else BY_PLAY if "@" in by else by
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.where)
def test_no_vm_outlives_its_run(cloud: Rehearsal, tmp_path: Path, case: Case) -> None:
    seed = str(1000 + CASES.index(case))
    options = [
        "-e",
        f"vm_max_run_seconds={case.limit}",
        "-e",
        f"vm_lease_seconds={LEASE}",
        "-e",
        f"vm_grace_seconds={GRACE}",
    ]
    options += ["-e", f"training_seed={seed}", "-e", "training_samples=400000"]
    if case.new_vm:
        assert cloud.playbook("playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm").code == 0
    controller = Controller(cloud, tmp_path / "site.log", "site.yml", *options)
    if not case.watchdog:
        controller.wait_for("PLAY [Train the model]" if "training" in case.where else "TASK [python_runtime : Packages")
        masked = cloud.run(
            "ansible", "training", "--become", "-m", "ansible.builtin.command", "-a", "systemctl stop fanops-watchdog"
        )
        assert masked.code == 0, masked.output
    controller.wait_for(case.line)
    controller.kill()
    killed = time.monotonic()
    time.sleep(3)  # what was on its way to Google arrives
    ran = "RUNNING" in vm_states(cloud)
    assert ran or not case.by or BY_PLAY in case.by, "killed before there was anything to stop"
    wait_until_stopped(cloud, (case.limit if case.limit != NEVER else LEASE + 60) + 60)
    seconds = round(time.monotonic() - killed)
    by = stopper(cloud) if case.by else "it never ran"
    assert not case.by or by in case.by, f"stopped by {by}"
    mark = cloud.mark()
    outcome = cloud.playbook("site.yml", *options[-4:])  # with the usual limits again
    again = "yes" if "Training is needed" in outcome.output else "no"
    ROWS.append([case.where, seconds if ran else "–", by, "completed" if outcome.code == 0 else "FAILED", again])
    assert outcome.code == 0, outcome.output[-4000:]
    assert "RUNNING" not in vm_states(cloud)
    if by == BY_GUEST and "training" in case.where:
        # The run went on to its end without its controller, and was not repeated.
        assert again == "no" and cloud.requests(mark, "--method", "compute.instances.start") == []


def test_a_training_that_fails_is_stopped_by_the_play(cloud: Rehearsal) -> None:
    options = ["-e", "training_timeout_seconds=3", "-e", "training_samples=900000", "-e", f"vm_max_run_seconds={NEVER}"]
    outcome = cloud.playbook("site.yml", *options)
    assert outcome.code != 0 and "was not done within 3 s" in outcome.output.strip().splitlines()[-1]
    assert "RUNNING" not in vm_states(cloud)
    by = stopper(cloud)
    ROWS.append(["(the training fails; nothing is killed)", "0", by, "–", "–"])
    assert by == BY_PLAY
