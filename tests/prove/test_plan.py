# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan tells the truth: what check mode predicts is what the next run does, from any state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import REPOSITORY, Rehearsal
from tests.rehearsal.owner import Owner

pytestmark = pytest.mark.timeout(1200)
ROWS: list[list[object]] = []

# Each is what a person, or an accident, may do to the project by hand.
CHANGES = {
    "VM label changed": (
        "i = c.InstancesClient(); vm = i.get(project=P, zone=Z, instance='ml-training-vm')\n"
        "i.set_labels(project=P, zone=Z, instance='ml-training-vm', instances_set_labels_request_resource="
        "c.InstancesSetLabelsRequest(labels={**vm.labels, 'managed-by': 'hand'}, label_fingerprint=vm.label_fingerprint)).result()"
    ),
    "VM resized": (
        "c.InstancesClient().set_machine_type(project=P, zone=Z, instance='ml-training-vm', "
        "instances_set_machine_type_request_resource=c.InstancesSetMachineTypeRequest("
        "machine_type=f'zones/{Z}/machineTypes/e2-small')).result()"
    ),
    "firewall rule deleted": "c.FirewallsClient().delete(project=P, firewall='fanops-m4-allow-ssh').result()",
    "firewall rule opened wider": (
        "c.FirewallsClient().patch(project=P, firewall='fanops-m4-allow-ssh', firewall_resource="
        "c.Firewall(allowed=[c.Allowed(I_p_protocol='tcp', ports=['22', '80'])])).result()"
    ),
    "soft delete switched on": (
        "b = storage.Client().get_bucket('fanops-m4-models'); b.soft_delete_policy.retention_duration_seconds = 604800; b.patch()"
    ),
    "bucket label changed": "b = storage.Client().get_bucket('fanops-m4-models'); b.labels = {'app': 'other'}; b.patch()",
    "trainer's grant taken away": (
        "b = storage.Client().get_bucket('fanops-m4-models'); p = b.get_iam_policy(requested_policy_version=3)\n"
        "p.bindings = [x for x in p.bindings if not any('m4-trainer' in m for m in x['members'])]; b.set_iam_policy(p)"
    ),
    "function deleted": "session().delete(F).raise_for_status()",
    "function's memory changed": (
        "session().patch(F + '?updateMask=serviceConfig.availableMemory', json={'serviceConfig': {'availableMemory': '1Gi'}})"
        ".raise_for_status()"
    ),
    "release deleted": "storage.Client().get_bucket('fanops-m4-models').blob('current.json').delete()",
    "VM deleted": "c.InstancesClient().delete(project=P, zone=Z, instance='ml-training-vm').result()",
}
PROLOGUE = """
import google.auth, time
from google.auth.transport.requests import AuthorizedSession
from google.cloud import compute_v1 as c, storage
P, Z = "fanops-rehearsal", "us-central1-a"
F = f"https://cloudfunctions.googleapis.com/v2/projects/{P}/locations/us-central1/functions/m4-sponsor-ai"
def session():
    return AuthorizedSession(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
def settled():
    while session().get(F).json().get("state") in ("DEPLOYING", "DELETING"):
        time.sleep(0.5)
"""
# A VM that was deleted is made again only if there is something to train: that state comes last.
STATES: list[tuple[str, ...]] = [
    (),
    *[(name,) for name in CHANGES if name != "VM deleted"],
    ("VM resized", "function deleted", "release deleted"),
    ("VM label changed", "firewall rule deleted", "release deleted", "soft delete switched on"),
    ("VM deleted", "release deleted"),
    ("VM deleted",),
]


@pytest.fixture(scope="module", autouse=True)
def figures(cloud: Rehearsal) -> Iterator[None]:
    """The first state is an empty project; the table at the end."""
    cloud.purge()
    cloud.up()
    assert check_and_apply(cloud, "nothing exists")["create"] >= 9
    yield
    wrong = sum(row[-1] != "yes" for row in ROWS)
    record(
        "The plan tells the truth",
        "make prove-plan",
        table(
            [
                "state",
                "creates",
                "updates",
                "deletes",
                "calls that change anything during the plan",
                "equal to the run",
            ],
            ROWS,
        )
        + f"\n\n{len(ROWS)} states, {wrong} plans that were not what the next run did.",
    )


def changes(cloud: Rehearsal, *arguments: str) -> dict[str, str]:
    """Run site.yml and return {resource: what was, or would be, done to it}, as its own table says."""
    file = REPOSITORY / ".cache" / "changes.json"
    outcome = cloud.playbook("site.yml", *arguments, FANOPS_CHANGES_FILE=str(file))
    assert outcome.code == 0, outcome.output[-5000:]
    rows = json.loads(file.read_text())["changes"]
    file.unlink()
    return {row["resource"]: row["change"] for row in rows if row["change"] in ("create", "update", "delete")}


def inventory(cloud: Rehearsal) -> dict[str, Any]:
    """What Google has, read by a program that shares nothing with the modules: {kind and name: what identifies its state}."""
    program = (
        PROLOGUE
        + """
import json
found = {}
for scope, vms in c.InstancesClient().aggregated_list(project=P):
    for vm in vms.instances:
        found["instance"] = [str(vm.id), vm.machine_type, dict(vm.labels), vm.scheduling.max_run_duration.seconds]
for rule in c.FirewallsClient().list(project=P):
    if rule.name.startswith("fanops"):
        found["firewall"] = [str(rule.id), list(rule.source_ranges), [list(a.ports) for a in rule.allowed]]
for bucket in storage.Client().list_buckets():
    found["bucket"] = [str(bucket.time_created), bucket.labels, bucket.soft_delete_policy.retention_duration_seconds]
    policy = bucket.get_iam_policy(requested_policy_version=3)
    for x in policy.bindings:
        for m in x["members"]:
            if "m4-" in m:
                grants = found.setdefault("grant " + m.split(":")[-1].split("@")[0], [])
                grants.append([x["role"], str(x.get("condition"))])
                grants.sort()
    pointer = bucket.get_blob("current.json")
    if pointer:
        found["release"] = pointer.generation
f = session().get(F).json()
if "name" in f:
    found["function"] = [f["createTime"], f["serviceConfig"]["availableMemory"], f["labels"]]
print(json.dumps(found))
"""
    )
    outcome = cloud.run("python", "-c", program)
    assert outcome.code == 0, outcome.output
    content: dict[str, Any] = json.loads(outcome.output.strip().splitlines()[-1])
    return content


def check_and_apply(cloud: Rehearsal, state: str) -> dict[str, int]:
    """Plan, run, compare; return how many of each kind there were."""
    mark = cloud.mark()
    planned = changes(cloud, "--check", "--diff")
    mutating = len(cloud.requests(mark, "--mutating"))
    before = inventory(cloud) if state != "nothing exists" else {}
    done = changes(cloud)
    after = inventory(cloud)
    counts = {kind: sum(change == kind for change in planned.values()) for kind in ("create", "update", "delete")}
    ROWS.append([state, *counts.values(), mutating, "yes" if planned == done and mutating == 0 else "NO"])
    assert planned == done and mutating == 0
    # The table is not taken at its word: what really differs is exactly what it speaks of.
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    spoken = {kind for kind in after if any(_speaks_of(resource, kind) for resource in planned)}
    assert differing == spoken, (differing, planned)
    return counts


def _speaks_of(resource: str, kind: str) -> bool:
    if kind.startswith("grant "):
        return kind.split()[1] in resource and " on bucket " in resource
    return resource.startswith(kind)


@pytest.mark.parametrize("state", STATES, ids=lambda state: ", ".join(state) or "as deployed")
def test_what_is_predicted_is_what_is_done(cloud: Rehearsal, state: tuple[str, ...]) -> None:
    by_hand = Owner(cloud).environment
    for name in state:
        outcome = cloud.run("python", "-c", f"{PROLOGUE}{CHANGES[name]}\nsettled()", **by_hand)
        assert outcome.code == 0, f"{name}: {outcome.output}"
    check_and_apply(cloud, ", ".join(state) or "as deployed")


def test_workers_that_live_for_one_run_are_predicted(cloud: Rehearsal) -> None:
    arguments = [
        "-e",
        "training_workers=1",
        "-e",
        "training_samples=20000",
        "-e",
        "allow_billable=true",
        "-e",
        "monthly_ceiling_usd=100",
    ]
    mark = cloud.mark()
    planned = changes(cloud, "--check", "--diff", *arguments)
    mutating = len(cloud.requests(mark, "--mutating"))
    done = changes(cloud, *arguments)
    equal = planned == done and mutating == 0
    counts = [sum(change == kind for change in planned.values()) for kind in ("create", "update", "delete")]
    ROWS.append(["a worker asked for, for one run", *counts, mutating, "yes" if equal else "NO"])
    assert equal, (planned, done)
    assert planned["instance ml-training-worker-1 in us-central1-a"] == "create"
    assert list(cloud.status()["instances"]) == ["fanops-rehearsal/us-central1-a/ml-training-vm"]
