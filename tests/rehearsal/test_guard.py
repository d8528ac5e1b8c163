# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard refuses before anything changes; a resize goes through, or back; the costs are those of Google's timestamps."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rehearsal.services.compute.limits import QUOTAS, STOCKOUTS
from rehearsal.settings import load
from rehearsal.store import Store
from tests.rehearsal.conftest import Outcome, Rehearsal, recap
from tests.rehearsal.guard_states import SWEEP, google

pytestmark = pytest.mark.timeout(600)
VM = "fanops-rehearsal/us-central1-a/ml-training-vm"
ALLOWED = ("-e", "allow_billable=true", "-e", "monthly_ceiling_usd=100")


@pytest.fixture(scope="module", autouse=True)
def a_vm_of_its_own(cloud: Rehearsal) -> Iterator[None]:
    """A VM under the training VM's name, whatever was there before; nothing afterwards."""
    google(cloud, SWEEP + "vm('ml-training-vm')")
    yield
    google(cloud, SWEEP)


@pytest.fixture
def free_vm(cloud: Rehearsal) -> None:
    """The VM runs as e2-micro, whatever a test before did to it."""
    if cloud.status()["instances"].get(VM) != "RUNNING e2-micro":
        google(cloud, SWEEP + "vm('ml-training-vm')")


@pytest.fixture
def resized_vm(cloud: Rehearsal, free_vm: None) -> None:
    """The VM had another machine type before, so that a run of it has ended."""
    if not cloud.requests("0", "--method", "compute.instances.setMachineType"):
        for machine_type in ("e2-small", "e2-micro"):
            assert resize(cloud, machine_type, *ALLOWED).code == 0


def resize(cloud: Rehearsal, machine_type: str, *arguments: str) -> Outcome:
    return cloud.playbook("playbooks/resize_vm.yml", "-e", f"machine_type={machine_type}", *arguments)


def changes(cloud: Rehearsal, mark: str) -> list[str]:
    return [request["method"].removeprefix("compute.instances.") for request in cloud.requests(mark, "--mutating")]


def last_line(outcome: Outcome) -> str:
    return outcome.output.strip().splitlines()[-1]


def test_site_is_refused_with_every_violation_in_one_line(cloud: Rehearsal) -> None:
    google(
        cloud,
        "c.AddressesClient().insert(project=P, region='us-central1', address_resource=c.Address(name='kept')).result()",
    )
    mark = cloud.mark()
    wanted = ("-e", "vm_machine_type=e2-small", "-e", "vm_disk_type=pd-ssd", "-e", "function_min_instances=1")
    outcome = cloud.playbook("site.yml", *wanted)
    assert outcome.code != 0
    for said in (
        "[machine-type]",
        "$12.23",
        "[disk-type]",
        "$5.10",
        "[static-address]",
        "$7.30",
        "[function-min-instances]",
    ):
        assert said in last_line(outcome), last_line(outcome)
    assert "allow_billable=true" in last_line(outcome) and "contested" in last_line(outcome)
    # The stages and runbooks that could create something on their own are guarded on their own, and so is a plan.
    for arguments in (["provision_resources.yml"], ["deploy_function.yml"], ["start_vm.yml", "--check"]):
        assert "[disk-type]" in last_line(cloud.playbook(f"playbooks/{arguments[0]}", *arguments[1:], *wanted))
    assert cloud.requests(mark, "--mutating") == []
    allowed = cloud.playbook("playbooks/validate_inputs.yml", *wanted, *ALLOWED)
    assert allowed.code == 0 and "Billable: [static-address]" in " ".join(allowed.output.split()), allowed.output[
        -3000:
    ]
    google(cloud, "c.AddressesClient().delete(project=P, region='us-central1', address='kept').result()")


@pytest.mark.long
@pytest.mark.usefixtures("free_vm")
def test_a_resize_is_guarded_planned_and_undone(cloud: Rehearsal) -> None:
    mark = cloud.mark()
    refused = resize(cloud, "e2-small")
    assert refused.code != 0 and "[machine-type]" in last_line(refused)
    planned = resize(cloud, "e2-small", "--check", *ALLOWED)
    assert planned.code == 0 and recap(planned.output)["localhost"]["changed"] == 1, planned.output[-3000:]
    unknown = resize(cloud, "e2-gigantic", *ALLOWED)
    assert unknown.code != 0 and "does not list e2-gigantic" in last_line(unknown)
    assert resize(cloud, "").code != 0
    assert cloud.requests(mark, "--mutating") == []

    # What is allowed has a ceiling, too, which is nothing unless it is set.
    unlimited = resize(cloud, "e2-small", *ALLOWED[:2])
    assert unlimited.code != 0 and "-e monthly_ceiling_usd=1" in last_line(unlimited), last_line(unlimited)
    assert cloud.requests(mark, "--mutating") == []

    done = resize(cloud, "e2-small", *ALLOWED)
    assert done.code == 0, done.output[-3000:]
    assert changes(cloud, mark) == ["stop", "setMachineType", "start"]
    assert cloud.status()["instances"][VM] == "RUNNING e2-small"
    said = " ".join(done.output.split())
    assert "$6.11 a month before, $12.23 after (+6.12)" in said and "set-machine-type ml-training-vm" in said
    again = resize(cloud, "e2-small", *ALLOWED)
    assert again.code == 0 and recap(again.output)["localhost"]["changed"] == 0

    # To be free again takes no permission.
    back = resize(cloud, "e2-micro")
    assert back.code == 0 and cloud.status()["instances"][VM] == "RUNNING e2-micro", back.output[-3000:]


@pytest.mark.usefixtures("free_vm")
@pytest.mark.parametrize(
    ("kind", "key", "trouble", "said"),
    [
        (STOCKOUTS, "us-central1-a", {"machineTypes": ["e2-medium"]}, "does not have enough resources"),
        # The VM's own two CPUs are too many for a moment: the old type cannot start either, and that is said too.
        (QUOTAS, "us-central1", {"CPUS": 0.0}, "Quota 'CPUS' exceeded"),
    ],
    ids=["stock-out", "quota"],
)
def test_a_vm_that_does_not_start_goes_back(
    cloud: Rehearsal, kind: str, key: str, trouble: dict[str, object], said: str
) -> None:
    store = Store(load().home / "state.sqlite")
    store.put(kind, key, trouble)
    try:
        outcome = resize(cloud, "e2-medium", *ALLOWED)
    finally:
        store.delete(kind, key)
        store.close()
    assert outcome.code != 0
    assert said in last_line(outcome) and "as e2-micro again" in last_line(outcome), last_line(outcome)
    status = "RUNNING" if kind == STOCKOUTS else "TERMINATED"
    assert f"It is {status} as e2-micro again" in last_line(outcome)
    assert cloud.status()["instances"][VM] == f"{status} e2-micro"


@pytest.mark.usefixtures("resized_vm")
def test_costs_are_shown_as_tables_and_as_json(cloud: Rehearsal) -> None:
    mark = cloud.mark()
    shown = cloud.playbook("playbooks/show_costs.yml", "-e", "hours_per_week=5")
    assert shown.code == 0, shown.output[-3000:]
    for part in (
        "e2-standard-4 ",
        "97.84",
        "5 h/week",
        "contested",
        "When everything is stopped",
        "Prices as of 2026-11-23",
    ):
        assert part in shown.output, part
    asked = cloud.playbook("playbooks/show_costs.yml", "-e", "output=json")
    report = json.loads(asked.output.strip().splitlines()[-1])
    assert cloud.requests(mark, "--mutating") == []
    assert report["months"]["always_on"]["with_free"] == 3.65  # the contested address, and nothing else
    # Every run, as another client of Google's counts them; the type of the early ones is not known for sure any more.
    listed = google(
        cloud,
        "print(sum(o.operation_type in ('insert', 'start') and not o.error.errors and o.target_link.endswith('/ml-training-vm')\n"
        "          for zone, found in c.GlobalOperationsClient().aggregated_list(project=P) for o in found.operations))",
    )
    assert len(report["runs"]) == int(listed.strip().splitlines()[-1])
    ended = next(run for run in report["runs"] if run["ended"])
    assert ended["began"] < ended["ended"] and not ended["machine_type_certain"]
    assert ended["hours"] >= round(1 / 60, 4)
