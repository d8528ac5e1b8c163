# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities hold what they use and use what they hold: in this order, on one project."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.rehearsal.conftest import REPOSITORY, Rehearsal
from tests.rehearsal.owner import COMPUTE, DEPLOYER, IAM, PROJECT, SCOPE, Owner, permissions

pytestmark = pytest.mark.timeout(3600)
TRAINER, SERVER = (f"{name}@{PROJECT}.iam.gserviceaccount.com" for name in ("m4-trainer", "m4-server"))
VM = f"{COMPUTE}/zones/us-central1-a/instances/ml-training-vm"
FIREWALL = f"{COMPUTE}/global/firewalls/fanops-m4-allow-ssh"
BUCKET = "https://storage.googleapis.com/storage/v1/b/fanops-m4-models"
SCHEDULE = ("-e", '{"training_schedule": "30 3 * * 1"}')
# Nobody listens there: the trainer reads the secret, and a message that is not taken fails nothing.
MESSAGES = ("-e", '{"notify_urls": ["https://127.0.0.1:9/nobody"]}')
SECRET = f"https://secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets/fanops-m4-notify"
Row = Callable[..., None]
HEADING, COMMAND = "Identities hold what they use", "make prove-identity"
TABLES = {
    "test_nothing_that_is_granted_is_unused": ("identity", "permissions granted", "exercised", "unused"),
    "test_site_names_the_one_permission_it_lacks": (
        "identity",
        "permissions",
        "site.yml named it",
        "slowest",
    ),
    "test_the_training_names_the_one_permission_it_lacks": ("taken away", "exit code", "named", "after"),
    "test_a_function_without_its_permission_says_why": (
        "taken away",
        "exit code",
        "named",
        "after",
    ),
}
# Asked by Google's own storage client, which goes on without an answer.
PROBES = {"storage.buckets.get"}


def play(cloud: Rehearsal, *arguments: str, fine: bool = True) -> str:
    outcome = cloud.playbook(*arguments)
    assert (outcome.code == 0) == fine, outcome.output[-4000:]
    return outcome.output.strip().splitlines()[-1]


def drift(owner: Owner) -> None:
    """Change by hand, once, each thing that site.yml keeps as it should be. The VM is stopped."""
    account = {"serviceAccount": {"displayName": "Somebody"}, "updateMask": "displayName"}
    owner.call("PATCH", f"{IAM}/serviceAccounts/{SERVER}", account)
    owner.call("DELETE", f"{IAM}/roles/fanops_m4_release_reader")
    owner.call("PATCH", f"{IAM}/roles/fanops_m4_release_lister", {"title": "Another"})
    owner.call("PATCH", BUCKET, {"labels": {"app": "another"}})
    owner.call("PATCH", FIREWALL, {"sourceRanges": ["203.0.113.0/24"]})
    owner.call("PATCH", f"{SECRET}?updateMask=labels", {"labels": {"app": "another"}})
    owner.call("POST", f"{SECRET}:addVersion", {"payload": {"data": "YW5vdGhlcg=="}})
    vm = owner.call("GET", VM)
    kind = {"machineType": f"projects/{PROJECT}/zones/us-central1-a/machineTypes/e2-small"}
    metadata = {"fingerprint": vm["metadata"]["fingerprint"], "items": [{"key": "mine", "value": "kept"}]}
    for verb, body in (
        ("setLabels", {"labelFingerprint": vm["labelFingerprint"], "labels": {"app": "another"}}),
        ("setTags", {"fingerprint": vm["tags"]["fingerprint"], "items": []}),
        ("setMetadata", metadata),
        ("setMachineType", kind),
        ("setScheduling", {"maxRunDuration": {"seconds": "60"}, "instanceTerminationAction": "STOP"}),
        ("setServiceAccount", {"email": SERVER, "scopes": [SCOPE]}),
    ):
        owner.call("POST", f"{VM}/{verb}", body)
    owner.call("PATCH", f"{VM}/updateShieldedInstanceConfig", {"enableSecureBoot": False})


def reports_of(cloud: Rehearsal) -> Any:
    """Who may do what, and did: by e-mail address."""
    return cloud.rehearsal("permissions", "--output", "json").json


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def as_deployer(cloud: Rehearsal, url: str) -> int:
    """One GET with the deployer's key, as gcloud makes it."""
    program = (
        "import sys, google.auth; from google.auth.transport.requests import AuthorizedSession; "
        f"c, _ = google.auth.default(scopes=['{SCOPE}']); print(AuthorizedSession(c).get(sys.argv[1]).status_code)"
    )
    return int(cloud.run("python", "-c", program, url).output.strip().splitlines()[-1])


def test_nothing_that_is_granted_is_unused(empty_project: Rehearsal, owner: Owner, row: Row, tmp_path: Path) -> None:
    cloud = empty_project
    play(cloud, "playbooks/provision_resources.yml", "-e", '{"training_plan": {"needed": false}}')
    play(cloud, "site.yml", *MESSAGES)
    # The VM is the schedule's, then nobody's; the teardown finds one that site.yml made again.
    owner.let_schedules_act(*SCHEDULE)
    play(cloud, "site.yml", *SCHEDULE, *MESSAGES)
    play(cloud, "playbooks/schedule_training.yml", "-e", '{"training_schedule": "30 4 * * 1"}')
    # At its boot the VM asks who started it.
    play(cloud, "playbooks/start_vm.yml", *SCHEDULE)
    wait_until(lambda: "compute.zoneOperations.list" not in reports_of(cloud)[TRAINER]["unused"])
    play(cloud, "playbooks/stop_vm.yml")
    play(cloud, "playbooks/unschedule_training.yml")
    drift(owner)
    play(cloud, "site.yml", "-e", "training_seed=7", "-e", "function_public=false", *MESSAGES)
    play(cloud, "playbooks/rollback_release.yml")
    play(cloud, "playbooks/predict.yml", "-e", "zone=VIP")
    play(cloud, "playbooks/show_status.yml")
    play(cloud, "playbooks/show_logs.yml")
    play(cloud, "playbooks/list_releases.yml")
    play(cloud, "playbooks/rollback_release.yml", "-e", "release=2", "-e", "reason=proof")
    # Back to the inputs that the runs below find again.
    play(cloud, "playbooks/promote_release.yml", "-e", "release=1", "-e", "reason=proof")
    play(cloud, "site.yml", "-e", "training_force=true", "-e", "training_samples=2000", "-e", "function_public=false")
    play(cloud, "playbooks/prune_releases.yml", "-e", "releases_kept=1", "-e", "releases_grace_hours=0")
    allowed = ("-e", "allow_billable=true", "-e", "monthly_ceiling_usd=100")
    play(cloud, "playbooks/resize_vm.yml", "-e", "machine_type=e2-small", *allowed)
    play(cloud, "playbooks/start_vm.yml", "-e", "vm_machine_type=e2-small", *allowed)
    assert as_deployer(cloud, COMPUTE) == 200  # what "gcloud compute ssh" asks before it connects
    play(cloud, "playbooks/show_logs.yml", "-e", "source=serial")
    play(cloud, "playbooks/stop_vm.yml")
    (tmp_path / "function").mkdir()
    (tmp_path / "function" / "requirements.txt").write_text("")
    broken = f"prediction_function_source={tmp_path}"
    assert "missing main.py" in play(cloud, "playbooks/deploy_function.yml", "-e", broken, fine=False)
    play(cloud, "site.yml")
    play(cloud, "playbooks/delete_vm.yml", "-e", "confirm=ml-training-vm")
    play(cloud, "playbooks/show_costs.yml")
    # What a VM may leave behind: a disk, and an address that somebody reserved for it.
    labels = {"app": "fanops-m4", "managed-by": "ansible"}
    play(cloud, "playbooks/start_vm.yml")
    owner.call("POST", f"{VM}/setDiskAutoDelete?autoDelete=false&deviceName=persistent-disk-0")
    owner.call("DELETE", VM)
    wait_until(lambda: cloud.status()["instances"] == {})
    operation = owner.call("POST", f"{COMPUTE}/regions/us-central1/addresses", {"name": "left", "labels": labels})
    # Google takes a while to delete an address, and is asked how far it is; here that is done at once.
    assert as_deployer(cloud, f"{COMPUTE}/regions/us-central1/operations/{operation['name']}") == 200
    # The trainer's and the function's grants go with the bucket: they are looked at before.
    reports = reports_of(cloud)
    assert reports[TRAINER]["granted"] and reports[SERVER]["granted"]
    play(cloud, "playbooks/teardown.yml", "-e", f"confirm={PROJECT}")
    reports[DEPLOYER] = reports_of(cloud)[DEPLOYER]
    for email in (DEPLOYER, TRAINER, SERVER):
        report = reports[email]
        row(email.partition("@")[0], len(report["granted"]), len(report["exercised"]), len(report["unused"]))
    for email in (DEPLOYER, TRAINER, SERVER):
        assert reports[email]["unused"] == [], (email, reports[email]["unused"])
        assert set(reports[email]["denied"]) <= PROBES, (email, reports[email]["denied"])


def test_site_names_the_one_permission_it_lacks(cloud: Rehearsal, owner: Owner, row: Row) -> None:
    failed, slowest = [], 0.0
    for permission in permissions():
        mark = cloud.mark()
        with owner.without(permission):
            outcome = cloud.playbook("site.yml")
        named = f"lacks {permission} in project" in outcome.output.strip().splitlines()[-1]
        changed = [r for r in cloud.requests(mark, "--mutating") if r["principal"] == DEPLOYER]
        slowest = max(slowest, outcome.seconds)
        if outcome.code == 0 or not named or changed:
            failed.append(permission)
    row("deployer", len(permissions()), len(permissions()) - len(failed), f"{slowest:.0f} s")
    assert failed == []


def site_roles() -> list[dict[str, Any]]:
    variables = yaml.safe_load((REPOSITORY / "inventory/group_vars/all/project.yml").read_text())
    roles: list[dict[str, Any]] = variables["project_foundation_roles"]
    return roles


@pytest.fixture(scope="module")
def released(cloud: Rehearsal) -> None:
    """A project with a release that is live: to replace it takes one permission more than to make the first."""
    play(cloud, "site.yml")


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("role", "permission"),
    [(role["name"], permission) for role in site_roles() for permission in role["permissions"]],
)
def test_the_training_names_the_one_permission_it_lacks(cloud: Rehearsal, row: Row, role: str, permission: str) -> None:
    """The trainer's roles, which site.yml itself keeps: so the run is told to make them smaller."""
    smaller = [
        wanted | {"permissions": [p for p in wanted["permissions"] if (wanted["name"], p) != (role, permission)]}
        for wanted in site_roles()
    ]
    # Another seed makes another release: what is in the bucket already is not written again.
    pairs = [(kept["name"], held) for kept in site_roles() for held in kept["permissions"]]
    seed = 100 + pairs.index((role, permission))
    changed = {"project_foundation_roles": smaller, "training_seed": seed, "iam_patience_seconds": 5}
    outcome = cloud.playbook("site.yml", "-e", json.dumps(changed))
    line = outcome.output.strip().splitlines()[-1]
    row(f"{role}: {permission}", outcome.code, permission in line, f"{outcome.seconds:.0f} s")
    assert outcome.code != 0 and permission in line, outcome.output[-3000:]


def test_a_function_without_its_permission_says_why(cloud: Rehearsal, owner: Owner, row: Row) -> None:
    play(cloud, "site.yml")
    policy = owner.call("GET", f"{BUCKET}/iam?optionsRequestedPolicyVersion=3")
    server = f"serviceAccount:{SERVER}"
    for binding in policy["bindings"]:
        binding["members"] = [member for member in binding["members"] if member != server]
    owner.call("PUT", f"{BUCKET}/iam", policy)
    # A new revision has to read the release; the run is kept from granting the role again.
    accounts = [{"name": "m4-server", "display_name": "Serves the sponsor model", "bucket_grants": []}]
    changed = {"project_foundation_service_accounts": accounts, "function_memory": "1Gi"}
    outcome = cloud.playbook("site.yml", "-e", json.dumps(changed))
    line = outcome.output.strip().splitlines()[-1]
    row("m4-server: storage.objects.get", outcome.code, "storage.objects.get" in line, f"{outcome.seconds:.0f} s")
    assert outcome.code != 0 and "storage.objects.get" in line, outcome.output[-3000:]
    play(cloud, "site.yml")
    url = cloud.status()["functions"]["m4-sponsor-ai"].split()[-1]
    bundle, proxy = cloud.environment["REQUESTS_CA_BUNDLE"], {"https": cloud.environment["HTTPS_PROXY"]}
    assert requests.post(url, json={"zone": "VIP"}, verify=bundle, proxies=proxy, timeout=30).status_code == 200
