# SPDX-License-Identifier: GPL-3.0-or-later
"""gcp_project_services, gcp_service_account, gcp_iam_member and gce_firewall_rule."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule, act

ACCOUNT = f"m4-trainer@{PROJECT}.iam.gserviceaccount.com"
MEMBER = {"role": "roles/storage.objectUser", "member": f"serviceAccount:{ACCOUNT}"}
PLACES: list[dict[str, Any]] = [
    {"resource_type": "project"},
    {"resource_type": "bucket", "resource": "models"},
    {"resource_type": "service_account", "resource": ACCOUNT},
    {"resource_type": "run_service", "resource": "sponsor", "region": "us-central1"},
]
RULE: dict[str, Any] = {
    "name": "ssh",
    "source_ranges": ["203.0.113.7/32"],
    "allowed": [{"protocol": "tcp", "ports": ["22"]}],
    "target_tags": ["vm"],
    "description": "SSH",
}
BUCKET = "buckets/models"
LIMITED = {"title": "a", "expression": 'resource.name.startsWith("a")'}


@pytest.fixture
def places(run: RunModule, google: Session, function_options: dict[str, Any]) -> Session:
    """What has a policy: a bucket, an account, the service of a function. What was called is counted after it."""
    bucket = {"name": "models", "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    act(google, "POST", f"storage.googleapis.com/storage/v1/b?project={PROJECT}", bucket)
    google.cloud.identity.accounts.create(PROJECT, ACCOUNT)
    made = run("cloud_function", **function_options)
    assert made.get("changed"), made["msg"]
    google.forget()
    return google


def test_services_enable_only_what_is_missing(run: RunModule, google: Session) -> None:
    google.cloud.identity.services.disable(PROJECT, "run.googleapis.com")
    names = ["compute.googleapis.com", "run.googleapis.com"]
    planned = run("gcp_project_services", check=True, services=names)
    assert planned["actions"] == ["enable run.googleapis.com"] and google.mutations == []
    assert planned["diff"]["before"] == {"run.googleapis.com": "DISABLED"}
    assert run("gcp_project_services", services=names)["services"] == dict.fromkeys(names, "ENABLED")
    assert not run("gcp_project_services", services=names)["changed"]


def test_service_account_from_nothing_to_absent(run: RunModule, google: Session) -> None:
    options = {"name": "m4-trainer", "display_name": "Trains"}
    planned = run("gcp_service_account", check=True, **options)
    assert planned["service_account"]["email"] == ACCOUNT and google.mutations == []
    assert run("gcp_service_account", **options)["service_account"]["displayName"] == "Trains"
    assert not run("gcp_service_account", **options)["changed"]
    renamed = run("gcp_service_account", name="m4-trainer", display_name="Other")
    assert renamed["diff"] == {"before": {"display_name": "Trains"}, "after": {"display_name": "Other"}}
    assert run("gcp_service_account", name="m4-trainer", state="absent")["changed"]
    assert not run("gcp_service_account", name="m4-trainer", state="absent")["changed"]


def test_new_account_that_is_not_visible_yet_is_waited_for(run: RunModule, google: Session) -> None:
    google.refuse("GET .*serviceAccounts", 404, "Unknown service account", "notFound", times=4)
    assert run("gcp_service_account", name="m4-trainer")["service_account"]["email"] == ACCOUNT


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place["resource_type"])
def test_member_is_added_once_and_removed_once(run: RunModule, places: Session, place: dict[str, Any]) -> None:
    planned = run("gcp_iam_member", check=True, **place, **MEMBER)
    assert planned["changed"] and places.mutations == []
    result = run("gcp_iam_member", **place, **MEMBER)
    assert result["changed"] and result["binding"] == MEMBER and result["diff"] == planned["diff"]
    assert not run("gcp_iam_member", **place, **MEMBER)["changed"]
    assert run("gcp_iam_member", **place, **MEMBER, state="absent")["changed"]
    assert not run("gcp_iam_member", **place, **MEMBER, state="absent")["changed"]


def test_rest_of_the_policy_is_left_alone(run: RunModule, places: Session) -> None:
    initial = places.cloud.identity.policies.get(BUCKET).get("bindings", [])
    others = [
        {"role": MEMBER["role"], "members": ["user:a@b.c"]},
        {"role": MEMBER["role"], "members": [MEMBER["member"]], "condition": LIMITED},
    ]
    places.cloud.identity.policies.set(BUCKET, {"bindings": [*initial, *others]})
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["changed"]
    policy = places.cloud.identity.policies.get(BUCKET)
    added = [binding for binding in policy["bindings"] if binding not in initial]
    assert sorted(added, key=lambda binding: "condition" in binding) == [
        {"role": MEMBER["role"], "members": [MEMBER["member"], "user:a@b.c"]},
        others[1],
    ]
    assert policy["version"] == 3 and all(binding in policy["bindings"] for binding in initial)


def test_concurrent_change_is_read_again(run: RunModule, places: Session) -> None:
    policies = places.cloud.identity.policies
    others = iter(["user:a@b.c", "user:d@e.f"])

    def grant() -> None:
        policy = policies.get(BUCKET)
        policy.setdefault("bindings", []).append({"role": "roles/storage.objectViewer", "members": [next(others)]})
        policies.set(BUCKET, policy)

    places.before("PUT", grant, times=2)
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["binding"] == MEMBER
    members = [member for binding in policies.get(BUCKET)["bindings"] for member in binding["members"]]
    members = [member for member in members if not member.startswith("project")]
    assert set(members) == {MEMBER["member"], "user:a@b.c", "user:d@e.f"}


def test_account_created_seconds_ago_is_waited_for(run: RunModule, places: Session) -> None:
    accounts = places.cloud.identity.accounts

    def appear() -> None:
        accounts.create(PROJECT, ACCOUNT)

    for place in (PLACES[2], PLACES[1]):
        accounts.delete(ACCOUNT)
        places.clock.at(8, appear)
        before = places.clock.now
        assert run("gcp_iam_member", **place, **MEMBER)["changed"] and places.clock.now >= before + 8


def test_waiting_for_an_account_is_bounded(run: RunModule, places: Session) -> None:
    places.cloud.identity.accounts.delete(ACCOUNT)
    before = places.clock.now
    assert "does not exist" in run("gcp_iam_member", **PLACES[1], **MEMBER)["msg"]
    assert places.clock.now < before + 90


def test_missing_resource_is_a_prediction_or_an_error(run: RunModule, places: Session) -> None:
    nowhere = PLACES[1] | {"resource": "no-such-bucket"}
    assert run("gcp_iam_member", check=True, **nowhere, **MEMBER)["changed"]
    assert "does not exist" in run("gcp_iam_member", **nowhere, **MEMBER)["msg"]
    assert not run("gcp_iam_member", **nowhere, **MEMBER, state="absent")["changed"]


def test_refusal_names_the_account(run: RunModule, places: Session) -> None:
    reader = {"role": "roles/storage.legacyBucketReader", "members": [f"serviceAccount:{ACCOUNT}"]}
    places.cloud.identity.policies.set("projects/" + PROJECT, {"bindings": [reader | {"role": "roles/viewer"}]})
    places.become(ACCOUNT)
    assert f"grant {ACCOUNT}" in run("gcp_iam_member", **PLACES[1], **MEMBER)["msg"]


def test_condition_is_added_replaced_and_removed(run: RunModule, places: Session) -> None:
    def condition(prefix: str) -> dict[str, Any]:
        return {"title": "releases", "expression": f'resource.name.startsWith("{prefix}")'}

    def bindings() -> list[dict[str, Any]]:
        policy = places.cloud.identity.policies.get(BUCKET)
        assert policy["version"] == (3 if "condition" in str(policy["bindings"]) else 1)
        made = [binding for binding in policy["bindings"] if binding["role"] == MEMBER["role"]]
        return sorted(made, key=lambda binding: "condition" in binding)

    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["changed"]
    made = run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("a/"))
    assert made["changed"] and made["binding"]["condition"] == condition("a/")
    assert len(bindings()) == 2
    assert not run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("a/"))["changed"]
    assert run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("b/"))["changed"]
    unconditional, limited = bindings()
    assert "condition" not in unconditional and limited["condition"] == condition("b/")
    assert run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("b/"), state="absent")["changed"]
    assert bindings() == [unconditional]


def test_custom_role_from_nothing_to_absent_and_back(run: RunModule, google: Session) -> None:
    options: dict[str, Any] = {"name": "reader", "title": "Reads", "permissions": ["storage.objects.get"]}
    planned = run("gcp_iam_role", check=True, **options)
    assert planned["changed"] and google.mutations == []
    assert run("gcp_iam_role", **options)["role"]["includedPermissions"] == ["storage.objects.get"]
    assert not run("gcp_iam_role", **options)["changed"]
    run("gcp_iam_role", **options, stage="ALPHA")  # which Google leaves out of its answer
    assert not run("gcp_iam_role", **options, stage="ALPHA")["changed"]
    run("gcp_iam_role", **options)
    more = {**options, "permissions": ["storage.objects.list", "storage.objects.get"]}
    widened = run("gcp_iam_role", **more)
    assert widened["diff"]["before"] == {"permissions": ["storage.objects.get"]}
    assert not run("gcp_iam_role", **more)["changed"]
    assert run("gcp_iam_role", name="reader", state="absent")["changed"]
    assert not run("gcp_iam_role", name="reader", state="absent")["changed"]
    back = run("gcp_iam_role", **options)
    assert back["changed"] and back["role"]["includedPermissions"] == ["storage.objects.get"]
    assert google.mutations[-2:] == ["iam.projects.roles.undelete", "iam.projects.roles.patch"]
    assert "permissions are not given for reader" in run("gcp_iam_role", name="reader")["msg"]


def test_several_roles_and_grants_are_one_call_each(run: RunModule, places: Session) -> None:
    roles = [{"name": name, "permissions": [f"storage.objects.{name}"]} for name in ("get", "list")]
    grants: list[dict[str, Any]] = [
        {"role": f"projects/{PROJECT}/roles/{name}", "member": MEMBER["member"]} for name in ("get", "list")
    ]
    grants[1]["condition"] = LIMITED
    for module, options in (("gcp_iam_role", {"roles": roles}), ("gcp_iam_member", {**PLACES[1], "grants": grants})):
        planned = run(module, check=True, **options)
        before = places.mutations
        made = run(module, **options)
        assert "msg" not in made, made["msg"]
        assert planned["actions"] == made["actions"] and len(made["actions"]) == 2 and before == places.mutations[:-2]
        assert planned["diff"] == made["diff"] and len(made["diff"]["after"]) >= 4
        assert not run(module, **options)["changed"]
    assert run("gcp_iam_member", **PLACES[1], grants=grants)["bindings"] == grants
    roles[0]["permissions"] = ["storage.objects.create"]
    changed = run("gcp_iam_role", roles=roles)
    assert changed["diff"]["after"] == {"custom role get: permissions": ["storage.objects.create"]}


def test_role_made_seconds_ago_is_waited_for(run: RunModule, places: Session) -> None:
    role = f"projects/{PROJECT}/roles/reader"
    places.clock.at(8, lambda: places.cloud.identity.custom_roles.put(role, {"includedPermissions": []}))
    assert run("gcp_iam_member", **PLACES[1], **{**MEMBER, "role": role})["changed"] and places.clock.now >= 8


def test_firewall_rule_from_nothing_to_absent(run: RunModule, google: Session) -> None:
    planned = run("gce_firewall_rule", check=True, **RULE)
    assert planned["changed"] and google.mutations == []
    assert run("gce_firewall_rule", **RULE)["firewall"]["sourceRanges"] == ["203.0.113.7/32"]
    assert not run("gce_firewall_rule", **RULE)["changed"]
    widened = run("gce_firewall_rule", **{**RULE, "source_ranges": ["203.0.113.8/32"]})
    assert widened["diff"]["before"] == {"source_ranges": ["203.0.113.7/32"]}
    assert run("gce_firewall_rule", name="ssh", state="absent")["changed"]
    assert not run("gce_firewall_rule", name="ssh", state="absent")["changed"]


def test_firewall_rule_must_be_given_in_full(run: RunModule, google: Session) -> None:
    assert "source_ranges and allowed not given" in run("gce_firewall_rule", name="ssh")["msg"]
    assert google.mutations == []


def test_grants_that_are_null_are_no_grants(run: RunModule, google: Session) -> None:
    assert "role or grants" in run("gcp_iam_member", **PLACES[1], grants=None)["msg"]
    assert run("gcp_iam_member", **PLACES[1], grants=[])["changed"] is False
    assert google.calls == []
