# SPDX-License-Identifier: GPL-3.0-or-later
"""Two people at one site: one is paused at every stage, the other does something meanwhile, and then the first goes on.

Nobody's training is stopped by somebody else's run (only by ``stop_vm.yml``, which is for that), no VM is left running, and whoever cannot
go on is told so in one line. FANOPS_PROVE_PAIRS=3 does the first three only.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rehearsal.conftest import Controller, Outcome, Rehearsal, vm_states

pytestmark = pytest.mark.timeout(1200)
HEADING, COMMAND = "Two people", "make prove-two-people"
TABLES = {
    "test_two_people": ("the first is paused", "the second", "the second ends", "the first ends", "VM"),
}
Row = Callable[..., None]
CONFIRM = "confirm=ml-training-vm"
SITE, STOP = ("site.yml",), ("playbooks/stop_vm.yml",)
DELETE, TEARDOWN = (
    ("playbooks/delete_vm.yml", "-e", CONFIRM),
    ("playbooks/teardown.yml", "-e", "confirm=fanops-rehearsal"),
)
TRAIN = ("playbooks/train_model.yml",)
RESIZE = (
    "playbooks/resize_vm.yml",
    *["-e", "machine_type=e2-small", "-e", "allow_billable=true", "-e", "monthly_ceiling_usd=20"],
)

VALIDATE, PROVISION = "PLAY [Validate what", "TASK [training_vm : Provide | Create the VM]"
CONFIGURE, TRAINING = "TASK [python_runtime : Packages", " trees, "
STOPPING, DEPLOY, VERIFY = (
    "TASK [training_vm : Stop | Stop the VM]",
    "PLAY [Deploy the prediction",
    "PLAY [Verify the served",
)

HELD = r"has held this site since \S+ for .* Wait until it has ended, or end it with playbooks/stop_vm\.yml"
# A lease of 180 s and the 30 s that two clocks may differ by, and a little.
LAPSE_SECONDS = 220


@dataclass(frozen=True)
class Case:
    """Where the first is paused, what the second does, and who is to lose with which words: "" where nobody loses.

    ``joins``: the second wants the very training that the first has begun. ``asleep``: nothing of the first's machine goes on, the process
    that renews the lock neither. ``early``: the first goes on as soon as the second trains.
    """

    stage: str
    line: str
    second: tuple[str, ...]
    loser: str = ""
    words: str = HELD
    samples: int = 2_000
    joins: bool = False
    asleep: bool = False
    early: bool = False


LONG = 6_000_000
CASES = [
    Case("training", TRAINING, SITE, "second", samples=LONG),
    Case("configuring", CONFIGURE, STOP, "first", r"stopped|stop_vm|not reachable|unreachable"),
    Case("validating", VALIDATE, SITE, "first", early=True),
    Case("training", TRAINING, STOP, "first", r"stopped", samples=LONG),
    Case("training", TRAINING, TRAIN, samples=LONG, joins=True),
    Case("training", TRAINING, RESIZE, "second", samples=LONG),
    Case("training", TRAINING, DELETE, "second", samples=LONG),
    Case("training", TRAINING, TEARDOWN, "second", samples=LONG),
    Case("validating", VALIDATE, SITE),
    Case("provisioning", PROVISION, SITE, "second"),
    Case("provisioning", PROVISION, STOP, "first", r"broke"),
    Case("provisioning", PROVISION, RESIZE, "second"),
    Case("configuring", CONFIGURE, SITE, "second"),
    Case("configuring", CONFIGURE, TRAIN, "second"),
    Case("configuring", CONFIGURE, DELETE, "second"),
    Case("configuring", CONFIGURE, SITE, "first", HELD, asleep=True, early=True, samples=LONG),
    Case("stopping the VM", STOPPING, SITE, "second"),
    Case("deploying", DEPLOY, SITE, "second"),
    Case("verifying", VERIFY, STOP),
    Case("validating", VALIDATE, TEARDOWN),
]
CASES = CASES[: int(os.environ.get("FANOPS_PROVE_PAIRS", len(CASES)))]


class Person:
    """A controller with keys, caches and a home of its own, on the same rehearsal."""

    def __init__(self, cloud: Rehearsal, folder: Path, name: str) -> None:
        self.cloud, self.name, self.folder = cloud, name, folder / name
        (self.folder / "home").mkdir(parents=True)
        self.environment = {"HOME": str(self.folder / "home"), "LOGNAME": name}
        self.options = ("-e", f"project_cache={self.folder / 'cache'}")
        self.began = 0.0
        self.controller: Controller | None = None

    def begin(self, *arguments: str) -> Controller:
        """Start a playbook."""
        self.began = time.monotonic()
        log = self.folder / f"{time.monotonic_ns()}.log"
        self.controller = Controller(self.cloud, log, *arguments, *self.options, **self.environment)
        return self.controller

    def end(self, seconds: float = 600) -> Outcome:
        """Wait for the playbook's end; what it printed and how it ended."""
        assert self.controller is not None
        code = self.controller.process.wait(seconds)
        return Outcome(code, self.controller.output, time.monotonic() - self.began)

    def signal(self, number: signal.Signals, *, all_of_it: bool) -> None:
        """Send a signal to the playbook and what belongs to it, or to everything that this person ever started."""
        assert self.controller is not None
        # A worker of Ansible's has a session of its own, and the lock's keeper has no parent: the group is not enough.
        for process in self._processes() if all_of_it else self._descendants(self.controller.process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _processes(self) -> Iterator[int]:
        mine = f"HOME={self.folder / 'home'}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mine in (entry / "environ").read_bytes():
                    yield int(entry.name)

    @staticmethod
    def _descendants(process: int) -> list[int]:
        found, parents = [process], {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        for one in found:
            found += [child for child, parent in parents.items() if parent == one]
        return found


@pytest.fixture(scope="module")
def people(cloud: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Person]:
    """Two of them, at a site that was deployed before."""
    folder = tmp_path_factory.mktemp("people")
    both = Person(cloud, folder, "first"), Person(cloud, folder, "second")
    both[0].begin("site.yml", "-e", "training_samples=2000")
    outcome = both[0].end()
    assert outcome.code == 0, outcome.output[-4000:]
    return both


def told(outcome: Outcome) -> str:
    """How it ended, in the words that it ended with."""
    if outcome.code == 0:
        return "completed"
    return re.sub(r"training-[0-9a-f]{8,}|since \S+", "…", outcome.output.strip().splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n].stage}-{Path(CASES[n].second[0]).stem}")
def test_two_people(people: tuple[Person, Person], cloud: Rehearsal, row: Row, number: int) -> None:
    case, (first, second) = CASES[number], people
    training = ("-e", f"training_samples={case.samples}")
    seed = 1000 + 2 * number
    begun = first.begin("site.yml", *training, "-e", f"training_seed={seed}")
    begun.wait_for(case.line)
    first.signal(signal.SIGSTOP, all_of_it=case.asleep)
    mark = cloud.mark()
    try:
        if case.asleep:
            time.sleep(LAPSE_SECONDS)
        own = ("-e", f"training_seed={seed if case.joins else seed + 1}") if case.second in (SITE, TRAIN) else ()
        other = second.begin(*case.second, *(training if own else ()), *own)
        if case.early:
            other.wait_for(TRAINING)
        else:
            outcome = second.end()
        # What the VM does is its training's.
        changes = [one for one in cloud.requests(mark, "--mutating") if "m4-trainer" not in one["principal"]]
    finally:
        first.signal(signal.SIGCONT, all_of_it=case.asleep)
    mine = first.end()
    if case.early:
        outcome = second.end()
    states = ", ".join(vm_states(cloud)) or "none"
    what = f"{Path(case.second[0]).name}{', the same training' if case.joins else ''}{', after the lease' if case.asleep else ''}"
    paused = f"{case.stage}{', its machine asleep' if case.asleep else ''}{', until the second trains' if case.early else ''}"
    row(paused, what, told(outcome), told(mine), states)
    for name, ended in (("first", mine), ("second", outcome)):
        if case.loser == name:
            assert name == "first" or not changes, "who is refused has changed nothing"
            assert ended.code != 0 and re.search(case.words, told(ended)), ended.output[-4000:]
        else:
            assert ended.code == 0, ended.output[-6000:]
    assert "RUNNING" not in states
