# SPDX-License-Identifier: GPL-3.0-or-later
"""A year of weekly runs by the schedule alone: new data every week, real guests, Google's clock and the VM's set ahead.

The controller ends after the first ``site.yml``. Every fourth week has a trouble, as a real year may have it. Each week is compared with
what should have become of it: the outcome, the release, the messages, and the VM off again. ``FANOPS_PROVE_WEEKS`` makes the year shorter;
with 13 weeks each but the first has a trouble. What is recorded says how many weeks it was.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from ml.core import site_lock, spending
from ml.forest.machine_types import price_document
from tests.matches import write
from tests.prove.figures import record, table
from tests.prove.guests import Guest
from tests.rehearsal.conftest import REPOSITORY, Controller, Rehearsal
from tests.rehearsal.owner import COMPUTE, IAM, PROJECT, Owner
from tests.rehearsal.receiver import told

__all__ = ["told"]
pytestmark = pytest.mark.timeout(5400)
WEEKS = int(os.environ.get("FANOPS_PROVE_WEEKS", "52"))
CRON, TIMEZONE = "30 2 * * 0", "Africa/Casablanca"  # at an hour that the changes of the clocks leave out and repeat
VM = f"{COMPUTE}/zones/us-central1-a/instances/ml-training-vm"
POLICY = f"{COMPUTE}/regions/us-central1/resourcePolicies/ml-training-vm-schedule"
SECRET = f"https://secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets/fanops-m4-notify"
STARTER = f"{IAM}/roles/fanops_m4_schedule_starter"
BUCKET, FOLDER = "fanops-m4-models", "matches"
FIRST_ROWS, WEEKLY_ROWS, MANY_ROWS = 6000, 500, 120_000
# By hand, from Google's price list: dollars an hour of the machine types, and of an external address in use.
HOUR = {"e2-micro": Decimal("0.008376428"), "e2-small": Decimal("0.016752855")}
ADDRESS_HOUR = Decimal("0.005")
#: Seconds of the VM after which nothing may be left to spend in the week of the ceiling, and what the code keeps back for an end in order.
CEILING_SECONDS, ENDING_SECONDS = 180, 300
HEAD = ("week", "trouble", "outcome", "release", "told", "VM on", "of at most")


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass
class Year:
    """The site, and what has become of it so far."""

    owner: Owner
    messages: list[dict[str, Any]]
    url: str
    folder: Path
    week: int = 0
    release: int = 1
    uses: list[tuple[datetime.datetime, datetime.datetime, str]] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Rehearsal:
        return self.owner.cloud

    def guest(self) -> Guest:
        return Guest("ml-training-vm")

    # -- data ----------------------------------------------------------------------------------------------------

    def add_data(self, *damage: str, rows: int = WEEKLY_ROWS, turned: int = 0) -> None:
        """Put a file of matches of this week where the schedule's runs look for data."""
        path = self.folder / "matches.csv"
        write(path, rows, *damage, seed=1000 + self.week, turned=turned)
        self.owner.put(BUCKET, self.data_name, path.read_bytes())

    @property
    def data_name(self) -> str:
        return f"{FOLDER}/week-{self.week:02}.csv"

    # -- Google --------------------------------------------------------------------------------------------------

    def rehearsal(self, *arguments: str) -> None:
        done = self.cloud.rehearsal(*arguments)
        assert done.code == 0, done.output

    def vm(self) -> dict[str, Any]:
        found: dict[str, Any] = self.owner.call("GET", VM)
        return found

    def next_start(self) -> float:
        status = self.owner.call("GET", POLICY)["resourceStatus"]["instanceSchedulePolicy"]
        return moment(status["nextRunStartTime"]).timestamp()

    def with_parameters(self, **changed: Any) -> None:
        """Change what the VM finds in its metadata."""
        metadata = self.vm()["metadata"]
        for item in metadata["items"]:
            if item["key"] == "fanops-training":
                item["value"] = json.dumps(json.loads(item["value"]) | changed)
        self.owner.call(
            "POST", f"{VM}/setMetadata", {"fingerprint": metadata["fingerprint"], "items": metadata["items"]}
        )

    def with_machine(self, kind: str) -> None:
        self.owner.call("POST", f"{VM}/setMachineType", {"machineType": f"zones/us-central1-a/machineTypes/{kind}"})

    def new_outcomes(self) -> list[dict[str, Any]]:
        """The outcomes that were written since the last look."""
        items = [item for item in self.owner.objects(BUCKET, "runs/") if item["name"].endswith("/outcome.json")]
        new = [item["name"] for item in items if self.known.get(item["name"]) != item["generation"]]
        self.known.update({item["name"]: item["generation"] for item in items})
        return [self.owner.read(BUCKET, name) for name in new]


Act = Callable[[Year], None]
#: Waits in the guest until the process that trains, whose number is then in $pid, grows trees.
TRAINS = (
    "until pid=$(pgrep -o -f '^/opt/fanops/venv/bin/python -m ml[.]train'); do sleep 0.1; done; "
    "log=$(ls -dt /var/lib/fanops/runs/*/training.log | head -n 1); "
    "until grep -qs 'training 100 trees' $log; do kill -0 $pid; sleep 0.05; done"
)


def nothing(_: Year) -> None:
    """Do nothing."""


@dataclass
class Trouble:
    """What goes wrong in a week, and what should become of it.

    ``result`` is the outcome's (None: there is none in the bucket), ``told`` the messages of the week's run, ``later`` those of the next
    one, each as (event, a pattern that its text has). ``comes`` is false where the VM does not even start.
    """

    name: str
    result: str | None = "failed"
    told: list[tuple[str, str]] = field(default_factory=list)
    later: list[tuple[str, str]] = field(default_factory=list)
    plant: Act = nothing
    during: Act = nothing
    mend: Act = nothing
    data: bool = True
    comes: bool = True


# -- the troubles -----------------------------------------------------------------------------------------------------


def no_machines(year: Year) -> None:
    year.rehearsal("trouble", "set", "stockout", "us-central1-a")


def machines(year: Year) -> None:
    year.rehearsal("trouble", "clear", "stockout")


def may_start(year: Year, *permissions: str) -> None:
    year.owner.call("PATCH", f"{STARTER}?updateMask=includedPermissions", {"includedPermissions": list(permissions)})


def bad_file(year: Year) -> None:
    year.add_data('31,0,21.5,0.5,"Nord","Goal","Visa"')


def take_file_away(year: Year) -> None:
    year.owner.call(
        "DELETE",
        f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o/{year.data_name.replace('/', '%2F')}",
        ok=(204,),
    )


def storage_fails(year: Year) -> None:
    year.rehearsal("fault", "add", "storage.*", "503", "--times", "1000000")


def storage_answers(year: Year) -> None:
    year.rehearsal("fault", "clear")


def kill(year: Year) -> None:
    year.guest().run(f"{TRAINS}; kill -9 $pid")


def little_memory(year: Year) -> None:
    """The training has begun; then there is not enough memory for it."""
    year.guest().run(TRAINS)
    year.guest().limit_memory(255)


def full_disk(year: Year) -> None:
    year.guest().fill("/var/lib/fanops/runs")


def secret_gone(year: Year) -> None:
    bad_file(year)
    versions = year.owner.call("GET", f"{SECRET}/versions")["versions"]
    for version in versions:
        if version["state"] == "ENABLED":
            year.owner.call("POST", f"https://secretmanager.googleapis.com/v1/{version['name']}:destroy", {})


def secret_back(year: Year) -> None:
    payload = base64.b64encode(json.dumps([{"url": year.url}]).encode()).decode()
    year.owner.call("POST", f"{SECRET}:addVersion", {"payload": {"data": payload}})
    year.add_data()


def person(year: Year) -> None:
    """Somebody's site.yml holds the site's lock when the schedule starts the VM."""
    now = datetime.datetime.fromtimestamp(year.next_start(), datetime.timezone.utc)
    lock = site_lock.taken(uuid.uuid4().hex, "somebody's laptop", "site.yml", now).renewed(now)
    year.owner.put(BUCKET, site_lock.PATH, lock.to_bytes())


def person_leaves(year: Year) -> None:
    url = f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o/{site_lock.PATH.replace('/', '%2F')}"
    year.owner.call("DELETE", url, ok=(204,))


def ceiling(year: Year) -> None:
    year.add_data(rows=MANY_ROWS)  # several partitions
    year.with_machine("e2-small")
    second = (HOUR["e2-small"] + ADDRESS_HOUR) / 3600
    year.with_parameters(monthly_ceiling_usd=float(second * (CEILING_SECONDS + ENDING_SECONDS)))


def slow_machine(year: Year) -> None:
    """A partition is finished; then the machine stands still until the money has run out."""
    finished = "$(dirname $log)/partitions"
    year.guest().run(
        f"{TRAINS}; until ls {finished} 2>/dev/null | grep -q .; do kill -0 $pid; sleep 0.02; done; "
        f"kill -STOP $pid; sleep {CEILING_SECONDS}; kill -CONT $pid"
    )


def no_ceiling(year: Year) -> None:
    take_file_away(year)
    year.with_machine("e2-micro")
    year.with_parameters(monthly_ceiling_usd=0.0)


DUE = r"due 20\d\d-\d\d-\d\dT0[12]:30:00Z"
TROUBLES = [
    Trouble("zone without machines", None, later=[("missed", DUE)], plant=no_machines, mend=machines, comes=False),
    Trouble(
        "the service agent's permission is gone", None, later=[("missed", DUE)], comes=False,
        plant=lambda year: may_start(year, "compute.instances.get"), mend=lambda year: may_start(year, "compute.instances.start"),
    ),
    Trouble("bad file", told=[("failure", "week-.*Nord")], plant=bad_file, mend=Year.add_data, data=False),
    Trouble("no new file", "nothing new", data=False),
    Trouble(
        "worse model", "refused", told=[("refused", "below the floor")], data=False, mend=take_file_away,
        plant=lambda year: year.add_data(rows=FIRST_ROWS + year.week * WEEKLY_ROWS, turned=1),
    ),
    Trouble("storage fails for an hour", None, told=[("failure", "503|cannot")], plant=storage_fails, mend=storage_answers),
    Trouble("killed in training", told=[("failure", "signal 9|SIGKILL")], during=kill),
    Trouble("memory", told=[("failure", "the kernel killed it because the VM's memory was full")], during=little_memory),
    Trouble("full disk", told=[("failure", "No space left on device")], during=full_disk),
    Trouble("the secret is gone, and a bad file", later=[("failure", "week-.*Nord")], plant=secret_gone, mend=secret_back, data=False),
    Trouble(
        "a person trains at the same time", told=[("failure", "somebody's laptop has held this site")], plant=person, mend=person_leaves,
    ),
    Trouble(
        "the ceiling in mid-run", "ceiling", told=[("ceiling", r"ended in order, [1-9] of [3-9] partitions")],
        plant=ceiling, during=slow_machine, mend=no_ceiling, data=False,
    ),
]  # fmt: skip
GOOD = Trouble("", "promoted")


def plan(weeks: int) -> dict[int, Trouble]:
    """Which week has which trouble: the last one that of the ceiling, whose month is then looked at, the others from the second one on."""
    *others, last = TROUBLES
    step = max(1, (weeks - 2) // len(others))
    return {2 + number * step: trouble for number, trouble in enumerate(others) if 2 + number * step < weeks} | {
        weeks: last
    }


class Week(NamedTuple):
    """What was seen of a week; ``seconds`` are those of the VM."""

    due: datetime.datetime
    result: str
    release: int
    told: list[str]
    seconds: float
    limit: int


# -- the year ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def year(cloud: Rehearsal, told: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> Iterator[Year]:
    """A site with a first release, a schedule, and no controller any more."""
    cloud.purge()
    cloud.up()
    owner = Owner(cloud)
    owner.enable_apis()
    schedule = {"training_schedule": CRON, "training_timezone": TIMEZONE}
    owner.let_schedules_act("-e", json.dumps(schedule))
    url, messages = told
    found = Year(owner, messages, url, tmp_path)
    bucket = {
        "name": BUCKET,
        "location": "US-CENTRAL1",
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
    }
    owner.call("POST", f"https://storage.googleapis.com/storage/v1/b?project={PROJECT}", bucket)
    found.add_data(rows=FIRST_ROWS)
    # What was promoted is no trouble.
    events = ["failure", "refused", "ceiling", "missed"]
    variables = {**schedule, "training_data": f"gs://{BUCKET}/{FOLDER}/", "notify_urls": [url], "notify_on": events}
    mark = uuid.uuid4().hex
    cloud.environment["FANOPS_CONTROLLER"] = mark
    site = ("-e", json.dumps(variables), "--skip-tags", "deploy,verify")  # the function has no part in it
    controller = Controller(cloud, tmp_path / "site.log", "site.yml", *site)
    while controller.process.poll() is None:
        time.sleep(1)
    assert controller.process.returncode == 0, controller.output[-6000:]
    del cloud.environment["FANOPS_CONTROLLER"]
    owner.call("POST", f"{VM}/start")
    until(lambda: "not by the schedule: nothing to do" in str(owner.call("GET", f"{VM}/serialPort")["contents"]))
    found.guest().have_a_clock()
    owner.call("POST", f"{VM}/stop")
    until(lambda: found.vm()["status"] == "TERMINATED")
    end_all(mark)
    found.new_outcomes()
    began, ended = (moment(found.vm()[name]) for name in ("lastStartTimestamp", "lastStopTimestamp"))
    found.uses.append((began, ended, "e2-micro"))
    yield found
    cloud.rehearsal("trouble", "clear")
    cloud.rehearsal("fault", "clear")


def end_all(mark: str) -> None:
    """End the processes of the controller that are left: the connections that it keeps open."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"FANOPS_CONTROLLER={mark}".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return found


def start(year: Year) -> datetime.datetime:
    """Let the clocks of Google and of the VM reach the next start; return when it was due."""
    due = year.next_start()
    year.guest().set_ahead(due + 1 - time.time())
    year.rehearsal("calendar", "--next", "--clock")
    return datetime.datetime.fromtimestamp(due, datetime.timezone.utc)


def live(year: Year) -> int:
    return int(year.owner.read(BUCKET, "current.json")["version"])


def a_week(year: Year, trouble: Trouble, expected: list[tuple[str, str]]) -> Week:
    """Let one week pass, and hold what became of it against what should have."""
    if trouble.data:
        year.add_data()
    trouble.plant(year)
    told_before, before = len(year.messages), year.vm()
    due = start(year)
    limit, kind = int(before["scheduling"]["maxRunDuration"]["seconds"]), before["machineType"].rpartition("/")[2]
    seconds = 0.0
    if trouble.comes:
        until(lambda: year.vm().get("lastStartTimestamp") != before["lastStartTimestamp"], 60)
        trouble.during(year)
        until(lambda: year.vm()["status"] == "TERMINATED", limit)
        began, ended = (moment(year.vm()[name]) for name in ("lastStartTimestamp", "lastStopTimestamp"))
        year.uses.append((began, ended, kind))
        seconds = (ended - began).total_seconds()
    else:
        time.sleep(5)
        assert (year.vm()["status"], year.vm()["lastStartTimestamp"]) == ("TERMINATED", before["lastStartTimestamp"])
    trouble.mend(year)

    said = [(message["event"], message["text"]) for message in year.messages[told_before:]]
    outcomes = year.new_outcomes()
    week = Week(
        due, outcomes[-1]["result"] if outcomes else "-", live(year), [event for event, _ in said], seconds, limit
    )
    year.problems += [
        f"week {year.week}, {trouble.name or 'all well'}: {problem}"
        for problem, wrong in {
            f"told {said} instead of {expected}": [event for event, _ in said] != [event for event, _ in expected],
            f"{expected} is not in {said}": not all(
                re.search(pattern, text, re.DOTALL) for (_, text), (_, pattern) in zip(said, expected, strict=False)
            ),
            f"{outcomes} instead of {trouble.result}": [(one["trigger"], one["result"]) for one in outcomes]
            != [("schedule", trouble.result)] * bool(trouble.result),
            f"release {week.release} after {year.release}": week.release
            != year.release + (trouble.result == "promoted"),
            f"on for {seconds:.0f} s": seconds > limit,
        }.items()
        if wrong
    ]
    year.release = week.release
    return week


def recovered(year: Year, trouble: Trouble) -> Week:
    """Go on after a week that did not end as it should have: the proof has failed, and the other weeks say more."""
    with suppress(AssertionError):
        trouble.mend(year)
    if year.vm()["status"] != "TERMINATED":
        year.owner.call("POST", f"{VM}/stop")
        until(lambda: year.vm()["status"] == "TERMINATED")
    year.new_outcomes()
    year.release = live(year)
    return Week(datetime.datetime.now(datetime.timezone.utc), "?", year.release, [], 0.0, 0)


def test_a_year_needs_nobody(year: Year, capsys: pytest.CaptureFixture[str]) -> None:
    troubles = plan(WEEKS)
    rows: list[tuple[object, ...]] = []
    weeks: list[Week] = []
    offsets: list[datetime.timedelta | None] = []
    later: list[tuple[str, str]] = []
    began = time.monotonic()
    for year.week in range(1, WEEKS + 1):
        trouble = troubles.get(year.week, GOOD)
        try:
            week = a_week(year, trouble, (later if trouble.comes else []) + trouble.told)
        except AssertionError as error:
            year.problems.append(f"week {year.week}, {trouble.name or 'all well'}: {error}")
            week = recovered(year, trouble)
        weeks.append(week)
        # Of several starts that did not come, one message tells.
        later = trouble.later if trouble.comes else later or trouble.later
        local = week.due.astimezone(ZoneInfo(TIMEZONE))
        offsets.append(local.utcoffset())
        changed = "the clocks were changed" * (offsets[-1] != offsets[max(0, len(offsets) - 2)])
        name = ", ".join(filter(None, [trouble.name, changed]))
        row = (
            f"{year.week}: {local:%Y-%m-%d %H:%M %z}", name or "-", week.result, year.release, ", ".join(week.told) or "-",
            f"{week.seconds:.0f} s", f"{week.limit} s",
        )  # fmt: skip
        if name or week.told:
            rows.append(row)
        with capsys.disabled():
            print(
                "\n| " + " | ".join(map(str, row)) + f" | {time.monotonic() - began:.0f} s so far",
                *(problem for problem in year.problems if problem.startswith(f"week {year.week},")), sep="\n", end="", flush=True,
            )  # fmt: skip
        if year.week == 1:  # what is wrong with them shows before an hour has passed
            the_ledger_is_the_sum_by_hand(year)
            the_history_is_whole(year)
    assert year.problems == [] and later == []
    took = time.monotonic() - began
    ledger, history = the_ledger_is_the_sum_by_hand(year), the_history_is_whole(year)
    if WEEKS == 52:
        assert len(set(offsets)) == 2 and took < 3600
    if len(troubles) == len(TROUBLES):
        changes = sum(before != after for before, after in pairwise(offsets))
        text = (
            f"{WEEKS} weekly starts by Google's schedule in {took / 60:.0f} minutes, new data before each, on a guest whose clock is "
            "set ahead as Google's is. The controller ended before the first one, and nobody helped. In "
            f"{len(troubles)} weeks something was wrong, and {changes} times the clocks were changed. The {WEEKS - len(rows)} weeks in "
            "which all was well, a release went live and nothing was told are left out. What the VM could not tell, because it was not "
            f"started or its secret was gone, the next run told. {len(year.messages)} messages came, each of them expected. VMs on beyond "
            f"their limit: 0 (the longest: {max(week.seconds for week in weeks):.0f} s). {ledger} {history}"
        )
        command = "make prove-year" if WEEKS == 52 else f"FANOPS_PROVE_WEEKS={WEEKS} make prove-year"
        record("A year by the schedule", command, f"{text}\n\n{table(HEAD, rows)}")


def the_ledger_is_the_sum_by_hand(year: Year) -> str:
    """Compare what show_costs says, and what the VM's ceiling goes by, with sums over the VM's seconds."""
    shown = year.cloud.playbook("playbooks/show_costs.yml", "-e", "output=json")
    assert shown.code == 0, shown.output[-3000:]
    costs = json.loads(shown.output.splitlines()[-1])
    listed = {moment(run["began"]): run for run in costs["runs"]}
    assert len(listed) == len(year.uses) + 1  # and that of site.yml
    month = f"{year.uses[-1][0].astimezone(datetime.timezone.utc):%Y-%m}"
    spent = contested = total = Decimal(0)
    for began, ended, kind in year.uses:
        seconds = max(60, round((ended - began).total_seconds()))
        run = min(listed.items(), key=lambda item: abs(item[0] - began))[1]
        assert abs(run["hours"] * 3600 - seconds) < 10, (run, began, ended)
        total += HOUR[kind] * seconds / 3600
        if f"{began.astimezone(datetime.timezone.utc):%Y-%m}" == month:
            spent += (HOUR[kind] + ADDRESS_HOUR) * seconds / 3600 * (kind != "e2-micro")
            contested += ADDRESS_HOUR * seconds / 3600 * (kind == "e2-micro")
    assert costs["ceiling"]["month"] == month
    for name, dollars in (("spent", spent), ("contested_ipv4", contested)):
        assert abs(Decimal(str(costs["ceiling"][name])) - dollars) < Decimal("0.0051"), (
            name,
            costs["ceiling"],
            dollars,
        )
    outcomes = [year.owner.read(BUCKET, name) for name in year.known]
    by_hand: dict[str, Decimal] = {}
    for one in outcomes:
        seconds, kind = max(60, one["vm_seconds"]), one["machine_type"]
        assert abs(Decimal(str(one["list_price_usd"])) - HOUR[kind] * one["vm_seconds"] / 3600) < Decimal("0.000001"), (
            one
        )
        if kind != "e2-micro":
            sum_so_far = by_hand.get(one["ended"][:7], Decimal(0))
            by_hand[one["ended"][:7]] = sum_so_far + (HOUR[kind] + ADDRESS_HOUR) * seconds / 3600
    assert by_hand or year.week < WEEKS
    rates = spending.Rates.of(price_document())
    for ended in {one["ended"][:7]: one["ended"] for one in outcomes}.values():
        found = spending.spent(spending.of_outcomes(outcomes), moment(ended).timestamp(), rates)
        assert abs(found.dollars - by_hand.get(found.month, Decimal(0))) < Decimal("0.000001"), (found, by_hand)
    return (
        f"The VM was on {len(year.uses) + 1} times, for ${total:.4f} at list price; the ledgers of the controller and of the VM are equal "
        "to the sums by hand, run by run and month by month."
    )


def the_history_is_whole(year: Year) -> str:
    """Open the page of the history in a browser; its picture is build/history.png."""
    from selenium.webdriver.common.by import By

    from tests.browser.conftest import ARTIFACTS, chromium, complaints

    shown = year.cloud.playbook("playbooks/show_history.yml", "-e", f"runs={WEEKS + 10}", "-e", "output=json")
    assert shown.code == 0, shown.output[-3000:]
    outcomes = json.loads(shown.output.splitlines()[-1])["outcomes"]
    assert len(outcomes) == len(year.known)
    with chromium() as browser:
        browser.get(f"file://{REPOSITORY}/.cache/reports/history.html")
        assert len(browser.find_elements(By.CSS_SELECTOR, "td:first-child")) == len(outcomes)
        assert len(browser.find_elements(By.CSS_SELECTOR, "svg circle")) >= year.release - 1
        assert complaints(browser) == []
        browser.set_window_size(1200, int(browser.execute_script("return document.body.scrollHeight")) + 100)
        ARTIFACTS.mkdir(exist_ok=True)
        assert browser.save_screenshot(str(ARTIFACTS / "history.png"))
    return f"The page of the history shows {len(outcomes)} runs (`build/history.png`)."
