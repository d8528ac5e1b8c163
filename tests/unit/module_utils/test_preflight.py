# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight's look at Google, asked of the rehearsal's gateway: each planted defect is one finding, no more."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.preflight import local
from ansible.module_utils.fanops.preflight.cloud import Survey
from ansible.module_utils.fanops.preflight.findings import Finding, summary
from ansible.module_utils.fanops.preflight.policies import CONSTRAINTS

from rehearsal.services.serviceusage.services import KNOWN
from rehearsal.testing.client import Session

DEPLOYER_ROLE = Path(__file__).parents[3] / "roles/project_foundation/files/fanops_m4_deployer.yml"
PROJECT = "fanops-rehearsal"
DEPLOYER = f"deployer@{PROJECT}.iam.gserviceaccount.com"
SERVER = f"m4-server@{PROJECT}.iam.gserviceaccount.com"
SERVICES = yaml.safe_load((DEPLOYER_ROLE.parents[3] / "inventory/group_vars/all/project.yml").read_text())[
    "project_services"
]
PERMISSIONS = yaml.safe_load(DEPLOYER_ROLE.read_text())["includedPermissions"]
OPTIONS: dict[str, Any] = {
    "region": "us-central1",
    "zone": "us-central1-a",
    "bucket": "fanops-m4-models",
    "services": SERVICES,
    "permissions": PERMISSIONS,
    "role_file": "roles/project_foundation/files/fanops_m4_deployer.yml",
    "accounts": [SERVER],
    "grants": [],
    "vm_needed": True,
    "function_public": True,
    "vm_name": "ml-training-vm",
    "machine_type": "e2-micro",
    "disk_size_gb": 30,
    "network": "default",
}


@pytest.fixture
def look(control_plane: Any) -> Callable[..., dict[str, str]]:
    """Enable the APIs, and return a function that surveys: check -> line. No call may have changed anything."""
    for service in SERVICES:
        control_plane.identity.services.enable(PROJECT, service)

    def survey(account: str = DEPLOYER, **changes: Any) -> dict[str, str]:
        client = Client(Session(control_plane, account), changes.pop("project", PROJECT))
        before = control_plane.log.last_number()
        made = Survey(client, OPTIONS | changes)
        found = made.findings()
        assert not [entry for entry in control_plane.log.entries(before) if entry.mutating]
        survey.unseen = made.unseen  # type: ignore[attr-defined]
        assert len({finding.check for finding in found}) == len(found), summary(found)
        return {finding.check: finding.line for finding in found}

    return survey


def without(control_plane: Any, *permissions: str) -> None:
    roles, name = control_plane.identity.custom_roles, f"projects/{PROJECT}/roles/{DEPLOYER_ROLE.stem}"
    role = roles.get(name)
    roles.put(name, role | {"includedPermissions": [p for p in role["includedPermissions"] if p not in permissions]})


def test_a_healthy_project_passes_and_a_fresh_one_too(control_plane: Any, look: Any) -> None:
    assert look() == {} and look.unseen == []
    for service in SERVICES:
        if not KNOWN[service].initially:
            control_plane.identity.services.disable(PROJECT, service)
    assert look() == {}
    everything = {
        "project",
        "APIs",
        "permissions",
        "billing",
        "identities",
        "build account",
        *(each.names[0] for each in CONSTRAINTS),
        "machine type",
        "quota",
        "network",
    }
    assert set(look.unseen) == everything  # with a service account, these APIs are gated by its own project


def test_a_bare_owner_passes_by_the_buckets_own_policy(control_plane: Any, look: Any, storage_server: Any) -> None:
    """The role Owner carries no permission on objects: a bucket's own policy gives them, if it was not taken away."""
    owner = control_plane.identity.owner
    assert not control_plane.identity.allowed(owner, "storage.objects.get", PROJECT)
    assert look(owner) == {} and look.unseen == []
    session = Session(control_plane, owner)
    bucket = {"name": OPTIONS["bucket"], "location": "US-CENTRAL1"}
    url = "https://storage.googleapis.com/storage/v1/b"
    assert session.request("POST", f"{url}?project={PROJECT}", json=bucket).status_code == 200
    assert look(owner) == {}
    assert session.request("PUT", f"{url}/{OPTIONS['bucket']}/iam", json={"bindings": []}).status_code == 200
    found = look(owner)["permissions"]
    assert f"{owner} lacks storage.buckets.get, storage.buckets.update" in found and f"--member=user:{owner}" in found


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_each_missing_permission_is_named_with_the_command_that_gives_it(
    control_plane: Any, look: Any, permission: str
) -> None:
    without(control_plane, permission)
    found = look()
    line = found.pop("permissions")
    assert found == {} and f"lacks {permission} in project {PROJECT}" in line
    assert "gcloud iam roles update fanops_m4_deployer" in line and "--role=projects/fanops-rehearsal/roles/" in line


def test_acting_as_the_two_accounts_is_enough(control_plane: Any, look: Any) -> None:
    identity = control_plane.identity
    identity.accounts.create(PROJECT, SERVER)
    without(control_plane, "iam.serviceAccounts.actAs")
    assert "iam.serviceAccounts.actAs" in look()["permissions"]
    user = {"role": "roles/iam.serviceAccountUser", "members": [f"serviceAccount:{DEPLOYER}"]}
    identity.set_policy(f"serviceAccounts/{SERVER}", {"bindings": [user]})
    assert look() == {}


def test_each_defect_of_the_project_is_one_finding(control_plane: Any, look: Any) -> None:
    store, identity = control_plane.store, control_plane.identity
    store.put("orgpolicies", "compute.requireOsLogin", {"on": True})
    store.put("compute.quotas", "us-central1", {"CPUS": 1.0, "DISKS_TOTAL_GB": 10.0})
    identity.accounts.create(PROJECT, SERVER)
    identity.accounts.update(SERVER, disabled=True)
    policy = identity.policies.get(f"projects/{PROJECT}")
    policy["bindings"] = [binding for binding in policy["bindings"] if binding["role"] != "roles/editor"]
    identity.policies.set(f"projects/{PROJECT}", policy)
    store.put("buckets", "fanops-m4-models", {"project": "foreign-project", "resource": {"location": "US-CENTRAL1"}})
    identity.services.disable(PROJECT, "artifactregistry.googleapis.com")
    without(control_plane, "serviceusage.services.enable", "compute.instances.stop")
    found = look(network="none")
    wanted = {
        "permissions": "lacks serviceusage.services.enable, compute.instances.stop",
        "APIs": "gcloud services enable artifactregistry.googleapis.com",
        "identities": f"gcloud iam service-accounts enable {SERVER}",
        "build account": "--role=roles/cloudbuild.builds.builder",
        "compute.requireOsLogin": "disable-enforce compute.requireOsLogin",
        "quota": "CPUS: 2 needed, 1 of 1 left; DISKS_TOTAL_GB: 30 needed, 10 of 10 left",
        "network": "gcloud compute networks create none",
        "bucket": "taken by another project",
    }
    assert {check: True for check, text in wanted.items() if text in found[check]} == dict.fromkeys(wanted, True)
    assert set(found) == set(wanted)


@pytest.mark.parametrize("managed", [False, True])
def test_each_policy_of_a_strict_organisation_is_a_finding_with_a_way_through(
    control_plane: Any, look: Any, managed: bool
) -> None:
    listed = {"gcp.resourceLocations": ["in:europe-locations"], "compute.trustedImageProjects": ["projects/ours"]}
    names = [each.names[-1 if managed else 0] for each in CONSTRAINTS]
    for name in names:
        control_plane.store.put("orgpolicies", name, {"values": listed[name]} if name in listed else {"on": True})
    found = look()
    assert set(found) == set(names) and len(names) == 8
    assert all("Fix it: gcloud " in line or "Fix it: -e " in line for line in found.values())
    # The older commands know no managed constraint.
    assert all(("org-policies set-policy <(" in line) == (".managed." in name) for name, line in found.items())
    assert "external address, by which this controller reaches it" in found[names[2]]
    assert "connections through IAP are not supported" in found[names[2]]
    control_plane.store.put("orgpolicies", "gcp.resourceLocations", {"values": ["in:us-locations"]})
    assert set(look(function_public=False, vm_needed=False)) == {"cloudfunctions.allowedIngressSettings", names[5]}


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"zone": "us-central1-x"}, "machine type", "no zone us-central1-x"),
        ({"machine_type": "e2-nano"}, "machine type", "no machine type e2-nano in zone us-central1-a"),
        ({"bucket": "taken-by-another-project"}, "bucket", "taken by another project"),
        ({"project": "foreign-project"}, "project", "there is no project foreign-project that deployer@"),
    ],
)
def test_a_wrong_name_is_one_finding(
    control_plane: Any, look: Any, changes: dict[str, Any], check: str, words: str
) -> None:
    control_plane.store.put("buckets", "taken-by-another-project", {"project": "foreign-project", "resource": {}})
    found = look(**changes)
    assert set(found) == {check} and words in found[check]


def test_without_billing_nothing_else_is_to_blame(control_plane: Any, look: Any) -> None:
    control_plane.store.put("trouble", "billing", {"on": True})
    found = look()
    assert set(found) == {"billing"} and "gcloud billing projects link fanops-rehearsal" in found["billing"]


def test_where_no_vm_is_needed_its_quota_does_not_matter(control_plane: Any, look: Any) -> None:
    control_plane.store.put("compute.quotas", "us-central1", {"CPUS": 0.0})
    assert look(vm_needed=False, zone="us-central1-x", network="none") == {}


def test_a_key_is_found_where_git_would_take_it(tmp_path: Path) -> None:
    from subprocess import run

    key = json.dumps({"private_key": "-----BEGIN", "client_email": "a@b", "type": "service_account"})
    run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    (tmp_path / "ignored").mkdir()
    (tmp_path / "ignored/key.json").write_text(key)
    (tmp_path / "data.json").write_text("{}")
    assert local.key_files(str(tmp_path), str(tmp_path / "ignored/key.json")) == []
    (tmp_path / "secret.json").write_text(key)
    (tmp_path / "credentials").write_text(key)
    found = local.key_files(str(tmp_path), str(tmp_path / "credentials"))
    assert [finding.found.split()[4] for finding in found] == ["credentials", "secret.json"]
    assert f"mv {tmp_path}/secret.json ~/" in found[1].remedy


def missing_tools(monkeypatch: pytest.MonkeyPatch, *installed: str) -> list[Finding]:
    monkeypatch.setattr(shutil, "which", lambda tool: tool if tool in installed else None)
    return local.tools()


def test_missing_tools_and_a_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = missing_tools(monkeypatch, "ssh", "dnf")
    assert (found.found, found.remedy) == ("not installed here: ssh-keygen", "sudo dnf install openssh-clients")
    assert missing_tools(monkeypatch, "brew")[0].remedy == "brew install openssh"
    assert missing_tools(monkeypatch, "ssh", "ssh-keygen") == []

    def answered(date: str) -> Any:
        response = requests.Response()
        response.headers["Date"] = date
        return lambda *_, **__: response

    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    monkeypatch.setattr(requests, "get", answered("Sun, 09 Sep 2001 01:46:00 GMT"))
    assert local.clock() == []
    monkeypatch.setattr(requests, "get", answered("Sun, 09 Sep 2001 01:56:40 GMT"))
    (skewed,) = local.clock()
    assert "600 s behind Google's" in skewed.found and "timedatectl" in skewed.remedy


GRANTS = [
    {
        "account": "service-{number}@compute-system.iam.gserviceaccount.com",
        "permission": "compute.instances.start",
        "role": "fanops_m4_schedule_starter",
    },
    {
        "account": f"m4-trainer@{PROJECT}.iam.gserviceaccount.com",
        "permission": "compute.zoneOperations.list",
        "role": "fanops_m4_start_reader",
    },
]


def test_what_a_schedule_needs_is_one_finding_until_the_owner_has_typed_its_commands(
    control_plane: Any, look: Any
) -> None:
    identity = control_plane.identity
    number = identity.project_number(PROJECT)
    line = look(grants=GRANTS)["grants"]
    assert f"service-{number}@compute-system.iam.gserviceaccount.com lacks compute.instances.start" in line
    commands = line.split("Fix it: ")[1].split(" && ")
    assert [command.split()[1:4] for command in commands] == [
        ["iam", "roles", "create"],
        ["projects", "add-iam-policy-binding", PROJECT],
        ["iam", "service-accounts", "create"],
        ["iam", "roles", "create"],
        ["projects", "add-iam-policy-binding", PROJECT],
    ]
    identity.accounts.create(PROJECT, GRANTS[1]["account"])
    for grant in GRANTS:
        role = f"projects/{PROJECT}/roles/{grant['role']}"
        identity.custom_roles.put(role, {"name": role, "includedPermissions": [grant["permission"]]})
        policy = identity.get_policy(f"projects/{PROJECT}")
        member = f"serviceAccount:{grant['account'].format(number=number)}"
        policy["bindings"].append({"role": role, "members": [member]})
        identity.set_policy(f"projects/{PROJECT}", policy)
    assert look(grants=GRANTS) == {}
    # A role that somebody has emptied since gives nothing.
    identity.custom_roles.put(role, {"name": role, "includedPermissions": ["compute.zones.list"]})
    assert "gcloud iam roles update fanops_m4_start_reader" in look(grants=GRANTS)["grants"]
