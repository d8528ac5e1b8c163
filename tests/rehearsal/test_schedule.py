# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that Google starts by a schedule trains by itself and goes off; started by anybody else, it is left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.rehearsal.conftest import Rehearsal, recap, vm_states, wait_until_stopped
from tests.rehearsal.owner import COMPUTE, PROJECT, Owner
from tests.rehearsal.receiver import told

__all__ = ["told"]

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
SCHEDULE = ("-e", json.dumps({"training_schedule": "30 3 * * 1", "training_timezone": "Africa/Casablanca"}))
VM = f"{COMPUTE}/zones/us-central1-a/instances/ml-training-vm"


@pytest.fixture
def owner(empty: Rehearsal) -> Owner:
    found = Owner(empty)
    found.enable_apis()  # while they are off, the preflight cannot see what the schedule lacks
    return found


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return found


def started_by_the_schedule(cloud: Rehearsal) -> None:
    """Let the calendar reach the next start; return when the VM is off again."""
    assert cloud.rehearsal("calendar", "--next").code == 0
    until(lambda: vm_states(cloud) != ["TERMINATED"], 30)
    wait_until_stopped(cloud, 300)


def history(cloud: Rehearsal) -> list[dict[str, Any]]:
    """The outcomes in the bucket, oldest first."""
    program = """
import json
from google.cloud import storage
blobs = [blob for blob in storage.Client().list_blobs("fanops-m4-models", prefix="runs/") if blob.name.endswith("outcome.json")]
print(json.dumps([json.loads(blob.download_as_bytes()) for blob in sorted(blobs, key=lambda blob: blob.updated)]))
"""
    answer = cloud.run("python", "-c", program)
    assert answer.code == 0, answer.output
    found: list[dict[str, Any]] = json.loads(answer.output.splitlines()[-1])
    return found


def serial_output(owner: Owner) -> str:
    return str(owner.call("GET", f"{VM}/serialPort")["contents"])


def with_parameters(owner: Owner, **changed: Any) -> None:
    """Change, as somebody could by hand, what the VM trains."""
    metadata = owner.call("GET", VM)["metadata"]
    for item in metadata["items"]:
        if item["key"] == "fanops-training":
            item["value"] = json.dumps(json.loads(item["value"]) | changed)
    owner.call("POST", f"{VM}/setMetadata", {"fingerprint": metadata["fingerprint"], "items": metadata["items"]})


def test_people_are_told_once_and_a_month_has_a_ceiling(owner: Owner, told: tuple[str, list[dict[str, Any]]]) -> None:
    cloud, (url, messages) = owner.cloud, told
    owner.let_schedules_act(*SCHEDULE)
    variables = {"training_schedule": "30 3 * * 1", "training_samples": 2000, "notify_urls": [url]}
    site = ("-e", json.dumps(variables), "--skip-tags", "deploy,verify")  # the function has no part in it
    first = cloud.playbook("site.yml", *site, "-vv")
    assert first.code == 0, first.output[-6000:]
    again = cloud.playbook("site.yml", *site)
    assert again.code == 0 and recap(again.output)["localhost"]["changed"] == 0, again.output[-4000:]
    assert [message["event"] for message in messages] == ["promoted"]
    assert messages[0]["outcome"] == history(cloud)[0]

    started_by_the_schedule(cloud)  # nothing new is no news
    assert history(cloud)[-1]["result"] == "nothing new" and len(messages) == 1

    # The same cause twice is one message.
    with_parameters(owner, samples=50)
    for _ in range(2):
        started_by_the_schedule(cloud)
        assert history(cloud)[-1]["result"] == "failed"
    assert [message["event"] for message in messages[1:]] == ["failure"], messages
    assert "--samples must be at least 100" in messages[1]["text"]

    # A type that is not free, and nothing to spend.
    with_parameters(owner, samples=3000)
    owner.call("POST", f"{VM}/setMachineType", {"machineType": "zones/us-central1-a/machineTypes/e2-small"})
    started_by_the_schedule(cloud)
    run = history(cloud)[-1]
    assert run["result"] == "ceiling" and "would pass the month's ceiling" in run["message"]
    assert [message["event"] for message in messages[2:]] == ["ceiling"]
    costs = json.loads(cloud.playbook("playbooks/show_costs.yml", "-e", "output=json").output.splitlines()[-1])
    hours = sum(one["hours"] for one in costs["runs"][-1:])
    assert costs["ceiling"]["ceiling"] == 0 and costs["ceiling"]["spent"] == round(hours * (0.016752855 + 0.005), 2)

    # With enough of it the same run goes on: to the gate, which refuses it, and with more rows beyond.
    for samples, result in ((3000, "refused"), (12000, "promoted")):
        with_parameters(owner, samples=samples, monthly_ceiling_usd=5.0)
        started_by_the_schedule(cloud)
        assert (history(cloud)[-1]["result"], messages[-1]["event"]) == (result, result), messages[-1]
    assert len(messages) == 5

    removed = cloud.playbook("playbooks/teardown.yml", "-e", f"confirm={PROJECT}", *site[:2])
    assert removed.code == 0 and "Nothing that production made is left" in removed.output, removed.output[-4000:]
    secrets = f"https://secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets"
    assert owner.call("GET", secrets) == {}
    for shown in (first.output, again.output, str(history_text(cloud))):
        assert "canary-7d1f" not in shown


def history_text(cloud: Rehearsal) -> str:
    """What the rehearsal's log kept of requests."""
    return cloud.rehearsal("log", "--output", "json").output


def test_a_year_needs_nobody_but_the_schedule(owner: Owner) -> None:
    cloud = owner.cloud
    # What only the owner can give is one line of the preflight, with the commands that give it.
    owner.let_schedules_act(*SCHEDULE)
    first = cloud.playbook("site.yml", *SCHEDULE)
    assert first.code == 0 and vm_states(cloud) == ["TERMINATED"], first.output[-6000:]
    again = cloud.playbook("site.yml", *SCHEDULE)
    assert again.code == 0 and recap(again.output)["localhost"]["changed"] == 0, again.output[-4000:]
    plan = cloud.playbook("site.yml", "--check", "-e", '{"training_schedule": "30 4 * * 1"}')
    assert plan.code == 0 and "update instance schedule ml-training-vm-schedule" in plan.output, plan.output[-4000:]

    # Nothing is new: off at once, and it is known that the run came.
    started_by_the_schedule(cloud)
    typed, idle = history(cloud)
    assert (typed["trigger"], typed["result"], typed["rows"]) == ("site", "promoted", 10000)
    assert typed["why"] == "there is no release yet" and typed["accuracy"] > 0.8
    assert typed["list_price_usd"] == pytest.approx(0.00838 * typed["vm_seconds"] / 3600, rel=0.01)
    assert (idle["trigger"], idle["result"]) == ("schedule", "nothing new")

    # Something is new, and no controller runs.
    changed = cloud.playbook("playbooks/schedule_training.yml", *SCHEDULE, "-e", "training_samples=12000")
    assert changed.code == 0 and vm_states(cloud) == ["TERMINATED"], changed.output[-4000:]
    started_by_the_schedule(cloud)
    run = history(cloud)[-1]
    assert (run["trigger"], run["result"], run["rows"], run["why"]) == (
        "schedule", "promoted", 12000, "changed: parameters",
    )  # fmt: skip
    log = cloud.playbook("playbooks/show_logs.yml", "-e", f"run_id={run['run']}")
    assert "is live" in log.output, log.output[-3000:]

    # Somebody starts it: it is theirs.
    owner.call("POST", f"{VM}/start")
    until(lambda: "not by the schedule: nothing to do" in serial_output(owner))
    time.sleep(15)  # three looks of the watchdog
    assert vm_states(cloud) == ["RUNNING"] and len(history(cloud)) == 3
    by_hand = cloud.run(
        "gcloud", "compute", "ssh", "ml-training-vm", "--zone=us-central1-a", f"--project={PROJECT}",
        "--command=sudo fanops-train --samples 11000",
    )  # fmt: skip
    assert by_hand.code == 0 and "is live" in by_hand.output, by_hand.output
    assert [history(cloud)[-1][name] for name in ("trigger", "rows")] == ["hand", 11000]
    wait_until_stopped(cloud, 240)

    gone = cloud.playbook("playbooks/unschedule_training.yml")
    assert gone.code == 0 and "resourcePolicies" not in owner.call("GET", VM), gone.output[-3000:]
    assert cloud.playbook("site.yml", *SCHEDULE, "-e", "training_samples=11000").code == 0
    removed = cloud.playbook("playbooks/teardown.yml", "-e", f"confirm={PROJECT}")
    assert removed.code == 0 and "Nothing that production made is left" in removed.output, removed.output[-4000:]
    assert owner.call("GET", f"{COMPUTE}/regions/us-central1/resourcePolicies").get("items", []) == []
