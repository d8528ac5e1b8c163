# SPDX-License-Identifier: GPL-3.0-or-later
"""Two people at one site: one is paused at every stage, the other does something meanwhile, and then the first goes on.

Nobody's training is stopped by somebody else's run (only by ``stop_vm.yml``, which is for that), no VM is left running, and whoever cannot
go on is told so in one line. FANOPS_PROVE_PAIRS=3 takes only the first three runs of the first.
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

pytestmark = pytest.mark.timeout(2400)
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
STOPPED = r"stopped by|was stopped|stop_vm\.yml"
PATIENCE_SECONDS = 600
# A lease of 180 s and the 30 s that two clocks may differ by, and a little.
LAPSE_SECONDS = 220


@dataclass(frozen=True)
class Pause:
    """Where the first is paused, what the second does meanwhile, and whether it is refused."""

    stage: str
    line: str
    second: tuple[str, ...]
    refused: bool = True


@dataclass(frozen=True)
class Case:
    """One ``site.yml`` of the first with its pauses; ``loses`` are the words with which it ends, "" where it completes.

    ``joins``: the second wants the very training that the first has begun. ``asleep``: nothing of the first's machine goes on, the process
    that renews the lock neither. ``early``: the first goes on as soon as the second trains.
    """

    pauses: tuple[Pause, ...]
    loses: str = ""
    samples: int = 2_000
    joins: bool = False
    asleep: bool = False
    early: bool = False


def pause(stage: str, line: str, second: tuple[str, ...]) -> Pause:
    """A pause in which the second is not refused."""
    return Pause(stage, line, second, refused=False)


LONG = 6_000_000
CASES = [
    # From an empty project on.
    Case(
        (
            Pause("provisioning", PROVISION, SITE),
            Pause("configuring", CONFIGURE, DELETE),
            Pause("training", TRAINING, RESIZE),
            Pause("training", TRAINING, TEARDOWN),
            Pause("stopping the VM", STOPPING, SITE),
        ),
        samples=LONG,
    ),
    Case((pause("configuring", CONFIGURE, STOP),), r"cannot be reached .*show_status\.yml"),
    Case((pause("training", TRAINING, STOP),), STOPPED, samples=LONG),
    Case((pause("provisioning", PROVISION, STOP),), r"somebody stopped it|lock was broken"),
    Case((pause("validating", VALIDATE, SITE),), HELD, early=True, samples=LONG),
    Case(
        (
            Pause("provisioning", PROVISION, RESIZE),
            Pause("configuring", CONFIGURE, SITE),
            Pause("configuring", CONFIGURE, TRAIN),
            Pause("training", TRAINING, SITE),
            Pause("training", TRAINING, DELETE),
            Pause("deploying", DEPLOY, SITE),
            pause("verifying", VERIFY, STOP),
        ),
        samples=LONG,
    ),
    Case((pause("configuring", CONFIGURE, SITE),), HELD, asleep=True, early=True, samples=LONG),
    Case((pause("training", TRAINING, TRAIN),), joins=True, samples=LONG),
    Case((pause("validating", VALIDATE, SITE),)),
    Case((pause("validating", VALIDATE, TEARDOWN),)),
]
CHOSEN = CASES[: int(os.environ.get("FANOPS_PROVE_PAIRS", len(CASES)))]


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
    """Two of them, at a project in which nothing was ever done."""
    folder = tmp_path_factory.mktemp("people")
    return Person(cloud, folder, "first"), Person(cloud, folder, "second")


def told(outcome: Outcome) -> str:
    """How it ended, in the words that it ended with."""
    if outcome.code == 0:
        return "completed"
    return re.sub(r"since \S+", "since …", outcome.output.strip().splitlines()[-1])


def check_refused(outcome: Outcome, changes: list[str]) -> None:
    """The second was told who has the site, in its last line, before it changed anything."""
    assert outcome.code != 0 and re.search(HELD, outcome.output.strip().splitlines()[-1]), outcome.output[-4000:]
    assert changes == [], "who is refused has changed something"


@pytest.mark.parametrize("number", range(len(CHOSEN)))
def test_two_people(people: tuple[Person, Person], cloud: Rehearsal, row: Row, number: int) -> None:
    case, (first, second) = CASES[number], people
    training, seed = ("-e", f"training_samples={case.samples}"), 1000 + 2 * number
    own = (*training, "-e", f"training_seed={seed if case.joins else seed + 1}")
    begun = first.begin("site.yml", *training, "-e", f"training_seed={seed}")
    rows: list[list[str]] = []
    for each in case.pauses:
        begun.wait_for(each.line, PATIENCE_SECONDS)
        first.signal(signal.SIGSTOP, all_of_it=case.asleep)
        try:
            time.sleep(LAPSE_SECONDS if case.asleep else 1)
            mark = cloud.mark()
            other = second.begin(*each.second, *(own if each.second in (SITE, TRAIN) else ()))
            if case.early:
                other.wait_for(TRAINING, PATIENCE_SECONDS)
            else:
                theirs = second.end()
            # What the VM does is its training's.
            mutating = cloud.requests(mark, "--mutating")
            changes = [one["path"] for one in mutating if "m4-trainer" not in one["principal"]]
        finally:
            first.signal(signal.SIGCONT, all_of_it=case.asleep)
        if case.early:
            mine = first.end()
            assert "RUNNING" in vm_states(cloud), "the training of the second goes on"
            theirs = second.end()
        what = Path(each.second[0]).name + (", the same training" if case.joins else "")
        paused = (
            each.stage
            + (", its machine asleep" if case.asleep else "")
            + (", until the second trains" if case.early else "")
        )
        rows.append([paused, what, told(theirs)])
        if each.refused:
            check_refused(theirs, changes)
        else:
            assert theirs.code == 0, theirs.output[-6000:]
    if not case.early:
        mine = first.end()
    states = ", ".join(vm_states(cloud)) or "none"
    for cells in rows:
        row(*cells, told(mine), states)
    if case.loses:
        assert mine.code != 0 and re.search(case.loses, told(mine)), mine.output[-4000:]
    else:
        assert mine.code == 0, mine.output[-6000:]
    assert "RUNNING" not in states
