# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that nobody stopped, a zone without machines, and what is left when everything is torn down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.conftest import Controller, Rehearsal, vm_states, wait_until_stopped

pytestmark = pytest.mark.timeout(900)
# Long enough to be met in its middle, on a million rows' way to being representative.
LONG = ("-e", "training_samples=8000000", "-e", "training_seed=7")
# The watchdog's patience, shortened so that a test can wait for it.
IMPATIENT = ("-e", "vm_lease_seconds=120", "-e", "vm_grace_seconds=5")


def show_status(cloud: Rehearsal) -> dict[str, Any]:
    outcome = cloud.playbook("playbooks/show_status.yml", "-e", "output=json")
    assert outcome.code == 0, outcome.output[-3000:]
    document: dict[str, Any] = json.loads(outcome.output.strip().splitlines()[-1])
    return document


def test_a_killed_controller_leaves_no_vm_running(cloud: Rehearsal, tmp_path: Path) -> None:
    controller = Controller(cloud, tmp_path / "site.log", "site.yml", *LONG, *IMPATIENT)
    controller.wait_for(" trees, ")
    controller.kill()
    # The training goes on without its controller.
    if shutil.which("gcloud"):
        # Verbatim what Compute Engine users write down for themselves.
        seen = cloud.run(
            "gcloud", "compute", "ssh", "ml-training-vm", "--zone=us-central1-a", "--command=tail -n 20 /var/log/syslog",
            HOME=str(tmp_path),
        )  # fmt: skip
        assert seen.code == 0 and "training" in seen.output, seen.output
    status = show_status(cloud)
    assert status["vm"]["status"] == "RUNNING" and "is active" in " ".join(status["stops"]["lines"]), status
    wait_until_stopped(cloud, 600)
    status = show_status(cloud)
    assert status["stops"]["by"].startswith("itself"), status
    logs = cloud.playbook("playbooks/show_logs.yml")
    assert "release" in logs.output and "is live" in logs.output, logs.output[-3000:]
    mark = cloud.mark()
    outcome = cloud.playbook("site.yml", *LONG)
    assert outcome.code == 0 and "Nothing to train" in outcome.output, outcome.output[-4000:]
    assert cloud.requests(mark, "--method", "compute.instances.start") == []


def test_a_zone_without_machines_is_left_for_another(with_vm: Rehearsal) -> None:
    cloud = with_vm
    from rehearsal.services.compute.limits import STOCKOUTS
    from rehearsal.settings import load
    from rehearsal.store import Store

    store = Store(load().home / "state.sqlite")
    for zone in ("us-central1-a", "us-central1-b"):
        store.put(STOCKOUTS, zone, {"machineTypes": ["e2-micro"]})
    try:
        outcome = cloud.playbook("playbooks/start_vm.yml")
        assert outcome.code == 0, outcome.output[-4000:]
        assert cloud.status()["instances"] == {"fanops-rehearsal/us-central1-c/ml-training-vm": "RUNNING e2-micro"}
        assert show_status(cloud)["vm"]["zone"] == "us-central1-c"
        assert cloud.playbook("playbooks/stop_vm.yml").code == 0
        assert vm_states(cloud) == ["TERMINATED"]
        assert cloud.playbook("playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm").code == 0
        assert cloud.status()["instances"] == {}
    finally:
        for zone in ("us-central1-a", "us-central1-b"):
            store.delete(STOCKOUTS, zone)
        store.close()


def test_a_teardown_touches_nothing_else(served: Rehearsal) -> None:
    cloud = served
    program = """
from google.cloud import compute_v1, storage
storage.Client().create_bucket("foreign-bucket", location="us-central1")
rule = compute_v1.Firewall(name="foreign-rule", network="global/networks/default", source_ranges=["10.0.0.0/8"],
                           allowed=[compute_v1.Allowed(I_p_protocol="tcp", ports=["80"])])
compute_v1.FirewallsClient().insert(project="fanops-rehearsal", firewall_resource=rule).result()
"""
    made = cloud.run("python", "-c", program)
    assert made.code == 0, made.output
    mark = cloud.mark()
    listed = cloud.playbook("playbooks/teardown.yml")
    assert listed.code == 0 and "fanops-m4-models" in listed.output and cloud.requests(mark, "--mutating") == []
    assert cloud.playbook("playbooks/teardown.yml", "-e", "confirm=wrong-project").code != 0
    assert cloud.requests(mark, "--mutating") == []
    for _ in range(2):
        outcome = cloud.playbook("playbooks/teardown.yml", "-e", "confirm=fanops-rehearsal")
        assert outcome.code == 0 and "Nothing that production made is left" in outcome.output, outcome.output[-3000:]
    touched = [request["path"] for request in cloud.requests(mark, "--mutating") if "foreign" in request["path"]]
    assert touched == []
    state = cloud.status()
    assert (state["instances"], state["functions"]) == ({}, {})
    assert set(state["buckets"]) == {"gs://foreign-bucket", "gs://taken-by-another-project"}
    rules = cloud.run(
        "python",
        "-c",
        "from google.cloud import compute_v1 as c\n"
        "print(sorted(r.name for r in c.FirewallsClient().list(project='fanops-rehearsal')))",
    )
    assert "foreign-rule" in rules.output and "fanops-m4" not in rules.output
