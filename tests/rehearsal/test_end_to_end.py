# SPDX-License-Identifier: GPL-3.0-or-later
"""From an empty project to a served prediction and back to a stopped VM.

In the order of the file no test waits for what it needs: the one before has left it. Alone, each makes it first.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ml.core.schema import DEFAULT
from tests.rehearsal.conftest import REPOSITORY, Rehearsal, recap, vm_states

pytestmark = pytest.mark.timeout(900)
VM = ["ml-training-vm", "--zone=us-central1-a"]
NAMES = set(DEFAULT.catalogue)


def ask(cloud: Rehearsal, url: str, question: dict[str, Any], *options: str) -> tuple[int, dict[str, Any]]:
    command = ["curl", "-s", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", *options]
    body, _, code = cloud.run(*command, "-d", json.dumps(question), url).output.rpartition("\n")
    try:
        return int(code), json.loads(body)
    except ValueError:
        return int(code), {"text": body}


def function_url(cloud: Rehearsal) -> str:
    url: str = cloud.status()["functions"]["m4-sponsor-ai"].split()[-1]
    return url


def test_a_plan_on_an_empty_project_changes_nothing(empty: Rehearsal) -> None:
    cloud = empty
    mark = cloud.mark()
    plan = cloud.playbook("site.yml", "--check", "--diff")
    assert plan.code == 0, plan.output[-4000:]
    assert cloud.requests(mark, "--mutating") == []
    for name in ("ml-training-vm", "fanops-m4-models", "m4-sponsor-ai", "m4-trainer", "m4-server"):
        assert name in plan.output


@pytest.mark.parametrize(
    ("arguments", "environment", "remedy"),
    [
        (["-e", "gcp_zone=us-central1-x"], {}, "us-central1-x"),
        (["-e", "model_bucket=taken-by-another-project"], {}, "taken-by-another-project"),
        (
            [],
            {
                "GCP_SERVICE_ACCOUNT_FILE": "/nonexistent/key.json",
                "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/key.json",
            },
            "key.json",
        ),
        ([], {"GCP_PROJECT": ""}, "GCP_PROJECT"),
        (["-e", "training_samples=ten"], {}, "training_samples"),
        (["-e", "python_runtime_downloads_json_url=http://127.0.0.1:9/list.json"], {}, "python_runtime_check_sources"),
    ],
    ids=[
        "unknown zone",
        "bucket of another project",
        "no credentials",
        "no project",
        "samples not a number",
        "no source of Python",
    ],
)
def test_wrong_input_ends_in_one_clear_line(
    empty: Rehearsal, arguments: list[str], environment: dict[str, str], remedy: str
) -> None:
    cloud = empty
    mark = cloud.mark()
    outcome = cloud.playbook("site.yml", *arguments, **environment)
    assert outcome.code != 0
    assert remedy in outcome.output.strip().splitlines()[-1], outcome.output[-3000:]
    # Whether a zone exists can be seen only with the API switched on; that creates nothing.
    changed = {request["method"] for request in cloud.requests(mark, "--mutating")}
    assert changed <= {"serviceusage.services.batchEnable"}


def test_site_trains_serves_and_stops_the_vm(empty: Rehearsal) -> None:
    cloud = empty
    mark = cloud.mark()
    outcome = cloud.playbook("site.yml")
    assert outcome.code == 0, outcome.output[-6000:]
    for milestone in (
        "samples generated",
        "15 dimensions",
        "training",
        "accuracy",
        "files saved",
        "uploaded to gs://fanops-m4-models",
    ):
        assert milestone.lower() in outcome.output.lower(), milestone
    state = cloud.status()
    assert state["instances"]["fanops-rehearsal/us-central1-a/ml-training-vm"] == "TERMINATED e2-micro"
    code, answer = ask(cloud, function_url(cloud), {"zone": "VIP", "event": "Goal"})
    assert code == 200 and answer["recommended_sponsor"] in NAMES
    assert {"confidence", "campaign_message", "category", "context_used"} <= answer.keys()
    assert state["not_implemented"] == {} and state["violations"] == 0
    inserted = cloud.requests(mark, "--method", "compute.instances.insert")
    assert len(inserted) == 1
    body = json.loads(inserted[0]["body"])
    assert (
        body["scheduling"]["instanceTerminationAction"] == "STOP"
        and int(body["scheduling"]["maxRunDuration"]["seconds"]) > 0
    )


def test_a_second_run_changes_nothing(served: Rehearsal) -> None:
    cloud = served
    mark = cloud.mark()
    outcome = cloud.playbook("site.yml")
    assert outcome.code == 0, outcome.output[-4000:]
    assert {host: counts["changed"] for host, counts in recap(outcome.output).items()} == {"localhost": 0}
    assert cloud.requests(mark, "--mutating") == []


def test_the_tour_leaves_the_vm_stopped(with_vm: Rehearsal) -> None:
    cloud = with_vm
    outcome = cloud.playbook("playbooks/demonstrate.yml", "-e", "language=fr")
    assert outcome.code == 0, outcome.output[-4000:]
    for shown in ("Python 3.10.", "git version", "fanops-train[", "arguments.py", "model.onnx", "de nouveau éteinte"):
        assert shown in outcome.output, shown
    assert any(name in outcome.output for name in NAMES)
    assert cloud.status()["instances"]["fanops-rehearsal/us-central1-a/ml-training-vm"] == "TERMINATED e2-micro"


def test_the_vm_is_debian_with_python310_and_1_gib(running: Rehearsal) -> None:
    cloud = running
    graph = cloud.run("ansible-inventory", "--graph")
    assert graph.code == 0 and "ml-training-vm" in graph.output
    script = (
        "grep -w ID /etc/os-release; python3.10 --version; pip3 --version; git --version; "
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | head -n 1; "
        "journalctl --no-pager -u 'fanops-train-*' | grep -ci 'samples generated'"
    )
    shown = cloud.run("ansible", "training", "-m", "ansible.builtin.shell", "-a", script, "--become").output
    assert "ID=debian" in shown and "Python 3.10." in shown and "pip " in shown and "git version" in shown
    assert str(1 << 30) in shown.split(), shown
    assert shown.split()[-1].isdigit() and int(shown.split()[-1]) >= 1


def test_runbooks_show_and_predict(running: Rehearsal) -> None:
    cloud = running
    predicted = cloud.playbook("playbooks/predict.yml", "-e", "zone=VIP", "-e", "event=Goal")
    assert predicted.code == 0 and any(name in predicted.output for name in NAMES), predicted.output[-2000:]
    status = cloud.playbook("playbooks/show_status.yml")
    assert status.code == 0 and "RUNNING" in status.output, status.output[-2000:]
    version = (REPOSITORY / "ml/VERSION").read_text().strip()
    assert f" by fanops-m4 {version}, " in status.output and f"repository fanops-m4 {version}" in status.output
    logs = cloud.playbook("playbooks/show_logs.yml")
    assert logs.code == 0 and "samples generated" in " ".join(logs.output.lower().split()), logs.output[-2000:]


def test_python_clients_work_unmodified(running: Rehearsal) -> None:
    cloud = running
    program = """
from google.cloud import compute_v1, storage
vm = compute_v1.InstancesClient().get(project="fanops-rehearsal", zone="us-central1-a", instance="ml-training-vm")
assert vm.status == "RUNNING" and vm.machine_type.endswith("/e2-micro"), vm.status
names = {blob.name for blob in storage.Client().list_blobs("fanops-m4-models")}
assert {"current.json", "model.joblib", "model_columns.joblib"} <= names, names
print("fine")
"""
    outcome = cloud.run("python", "-c", program)
    assert outcome.output.strip().endswith("fine"), outcome.output


def test_gcloud_works_unmodified(running: Rehearsal) -> None:
    cloud = running
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed here: its checks did not run")

    def gcloud(*arguments: str) -> str:
        outcome = cloud.run("gcloud", *arguments)
        assert outcome.code == 0, outcome.output
        return outcome.output

    assert "RUNNING" in gcloud("compute", "instances", "list")
    assert "e2-micro" in gcloud("compute", "instances", "describe", *VM)
    gcloud("compute", "instances", "stop", *VM)
    assert "TERMINATED" in gcloud("compute", "instances", "describe", *VM, "--format=value(status)")
    gcloud("compute", "instances", "start", *VM)
    assert "gs://fanops-m4-models/current.json" in gcloud("storage", "ls", "gs://fanops-m4-models")
    assert "ACTIVE" in gcloud("functions", "describe", "m4-sponsor-ai", "--region=us-central1", "--gen2")
    answer = gcloud("functions", "call", "m4-sponsor-ai", "--region=us-central1", "--gen2", '--data={"zone": "North"}')
    assert any(name in answer for name in NAMES), answer
    # Two VMs at once, as people do who keep a second one to try things out.
    both = ("ml-training-vm", "second-vm", VM[1])
    gcloud(
        "compute", "instances", "create", "second-vm", VM[1], "--machine-type=e2-micro", "--image-family=debian-12",
        "--image-project=debian-cloud",
    )  # fmt: skip
    gcloud("compute", "instances", "stop", *both)
    assert vm_states(cloud) == ["TERMINATED", "TERMINATED"]
    gcloud("compute", "instances", "set-machine-type", *VM, "--machine-type=e2-small")
    assert "e2-small" in gcloud("compute", "instances", "describe", *VM, "--format=value(machineType)")
    gcloud("compute", "instances", "start", *both)
    assert vm_states(cloud) == ["RUNNING", "RUNNING"]
    gcloud("compute", "instances", "delete", *both, "--quiet")
    assert cloud.status()["instances"] == {}


def test_a_private_function_wants_an_identity(served: Rehearsal) -> None:
    cloud = served
    assert cloud.playbook("site.yml", "-e", "function_public=false").code == 0
    code, _ = ask(cloud, function_url(cloud), {"zone": "VIP"})
    assert code in (401, 403)
    predicted = cloud.playbook("playbooks/predict.yml", "-e", "zone=North")
    assert predicted.code == 0 and any(name in predicted.output for name in NAMES), predicted.output[-2000:]
    assert cloud.playbook("site.yml").code == 0
    assert ask(cloud, function_url(cloud), {"zone": "VIP"})[0] == 200


def test_a_lost_answer_makes_no_second_vm(
    served: Rehearsal,
) -> None:
    cloud = served
    assert cloud.playbook("playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm").code == 0
    assert cloud.rehearsal("down").code == 0
    cloud.up("--withdraw", "debian-11", "--image", "debian-12", "--image", "python313")
    assert ask(cloud, function_url(cloud), {"zone": "East"})[0] == 200  # the function came back with the cloud
    assert cloud.rehearsal("fault", "add", "compute.instances.insert", "drop").code == 0
    # A source of Python that only the VM can judge: the run ends in one line, and the VM is stopped.
    unreachable = "python_runtime_downloads_json_url=file:///nonexistent/list.json"
    outcome = cloud.playbook("site.yml", "-e", "training_force=true", "-e", unreachable)
    assert outcome.code != 0 and "python_runtime_mirror" in outcome.output.strip().splitlines()[-1], outcome.output[
        -3000:
    ]
    assert "debian-12" in outcome.output
    assert cloud.status()["instances"] == {"fanops-rehearsal/us-central1-a/ml-training-vm": "TERMINATED e2-micro"}
    outcome = cloud.playbook("site.yml", "-e", "training_force=true")
    assert outcome.code == 0, outcome.output[-6000:]
    assert cloud.rehearsal("fault", "check").code == 0
    assert cloud.status()["instances"] == {"fanops-rehearsal/us-central1-a/ml-training-vm": "TERMINATED e2-micro"}


def test_a_deleted_vm_is_gone_and_the_log_is_clean(served: Rehearsal) -> None:
    cloud = served
    assert cloud.playbook("playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm").code == 0
    state = cloud.status()
    assert state["instances"] == {}
    assert (state["not_implemented"], state["violations"]) == ({}, 0), cloud.rehearsal("log", "--violations").output
    assert cloud.rehearsal("down").code == 0
    cloud.up()  # with every family again, for the tests that follow


def test_the_training_stage_alone_asks_for_a_vm_then_trains_on_it(cloud: Rehearsal) -> None:
    again = ("playbooks/train_model.yml", "-e", "training_force=true")
    refused = cloud.playbook(*again)
    assert refused.code != 0 and "playbooks/configure_vm.yml" in refused.output.splitlines()[-1], refused.output[-2000:]
    assert cloud.playbook("playbooks/start_vm.yml", "playbooks/configure_vm.yml").code == 0
    trained = cloud.playbook(*again)
    assert trained.code == 0 and "uploaded to gs://fanops-m4-models" in trained.output, trained.output[-4000:]
    assert vm_states(cloud) == ["TERMINATED"]
    assert cloud.playbook("playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm").code == 0
