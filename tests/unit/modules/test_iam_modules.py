# SPDX-License-Identifier: GPL-3.0-or-later
"""gcp_project_services, gcp_service_account, gcp_iam_member and gce_firewall_rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.modules.fake_google import ApiError, FakeGoogle, RunModule

ACCOUNT = "m4-trainer@demo.iam.gserviceaccount.com"
MEMBER = {"role": "roles/storage.objectUser", "member": f"serviceAccount:{ACCOUNT}"}
PLACES: list[dict[str, Any]] = [
    {"resource_type": "project"},
    {"resource_type": "bucket", "resource": "models"},
    {"resource_type": "service_account", "resource": ACCOUNT},
    {"resource_type": "run_service", "resource": "f", "region": "r"},
]
RULE: dict[str, Any] = {
    "name": "ssh",
    "source_ranges": ["203.0.113.7/32"],
    "allowed": [{"protocol": "tcp", "ports": ["22"]}],
    "target_tags": ["vm"],
    "description": "SSH",
}


def test_services_enable_only_what_is_missing(run: RunModule, google: FakeGoogle) -> None:
    google.services["compute.googleapis.com"] = "ENABLED"
    names = ["compute.googleapis.com", "run.googleapis.com"]
    planned = run("gcp_project_services", check=True, services=names)
    assert planned["actions"] == ["enable run.googleapis.com"] and google.mutations == []
    assert planned["diff"]["before"] == {"run.googleapis.com": "DISABLED"}
    assert run("gcp_project_services", services=names)["services"] == dict.fromkeys(names, "ENABLED")
    assert not run("gcp_project_services", services=names)["changed"]


def test_service_account_from_nothing_to_absent(run: RunModule, google: FakeGoogle) -> None:
    options = {"name": "m4-trainer", "display_name": "Trains"}
    planned = run("gcp_service_account", check=True, **options)
    assert planned["service_account"]["email"] == ACCOUNT and google.mutations == []
    assert run("gcp_service_account", **options)["service_account"]["displayName"] == "Trains"
    assert not run("gcp_service_account", **options)["changed"]
    renamed = run("gcp_service_account", name="m4-trainer", display_name="Other")
    assert renamed["diff"] == {"before": {"display_name": "Trains"}, "after": {"display_name": "Other"}}
    assert run("gcp_service_account", name="m4-trainer", state="absent")["changed"]
    assert not run("gcp_service_account", name="m4-trainer", state="absent")["changed"]


def test_new_account_that_is_not_visible_yet_is_waited_for(run: RunModule, google: FakeGoogle) -> None:
    google.fail("GET .*serviceAccounts", ApiError(404, "Unknown service account", "notFound"), times=4)
    assert run("gcp_service_account", name="m4-trainer")["service_account"]["email"] == ACCOUNT


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place["resource_type"])
def test_member_is_added_once_and_removed_once(run: RunModule, google: FakeGoogle, place: dict[str, Any]) -> None:
    planned = run("gcp_iam_member", check=True, **place, **MEMBER)
    assert planned["changed"] and google.mutations == []
    result = run("gcp_iam_member", **place, **MEMBER)
    assert result["changed"] and result["binding"] == MEMBER and result["diff"] == planned["diff"]
    assert not run("gcp_iam_member", **place, **MEMBER)["changed"]
    assert run("gcp_iam_member", **place, **MEMBER, state="absent")["changed"]
    assert not run("gcp_iam_member", **place, **MEMBER, state="absent")["changed"]


def test_rest_of_the_policy_is_left_alone(run: RunModule, google: FakeGoogle) -> None:
    key = "storage.googleapis.com/storage/v1/b/models"
    others = [
        {"role": MEMBER["role"], "members": ["user:a@b.c"]},
        {"role": MEMBER["role"], "members": [MEMBER["member"]], "condition": {"expression": "false"}},
    ]
    google.policies[key] = {"etag": "AAAAAAAAAAk=", "version": 3, "bindings": others}
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["changed"]
    bindings = google.policies[key]["bindings"]
    assert bindings[0]["members"] == ["user:a@b.c", MEMBER["member"]]
    assert bindings[1] == others[1] and google.policies[key]["version"] == 3


def test_concurrent_change_is_read_again(run: RunModule, google: FakeGoogle) -> None:
    google.fail(
        "PUT",
        ApiError(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet"),
        times=2,
    )
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["binding"] == MEMBER


def test_account_created_seconds_ago_is_waited_for(run: RunModule, google: FakeGoogle) -> None:
    google.fail(":getIamPolicy", ApiError(404, "Unknown service account", "notFound"), times=3)
    assert run("gcp_iam_member", **PLACES[2], **MEMBER)["changed"]
    google.fail("PUT", ApiError(400, f"Service account {ACCOUNT} does not exist.", "invalid"), times=3)
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["changed"]


def test_waiting_for_an_account_is_bounded(run: RunModule, google: FakeGoogle) -> None:
    google.fail("PUT", ApiError(400, f"Service account {ACCOUNT} does not exist.", "invalid"), times=100)
    assert "does not exist" in run("gcp_iam_member", **PLACES[1], **MEMBER)["msg"]
    assert google.now < 90


def test_missing_resource_is_a_prediction_or_an_error(run: RunModule, google: FakeGoogle) -> None:
    missing = ApiError(404, "The specified bucket does not exist.", "notFound")
    google.fail("GET", missing, times=2)
    assert run("gcp_iam_member", check=True, **PLACES[1], **MEMBER)["changed"]
    assert "does not exist" in run("gcp_iam_member", **PLACES[1], **MEMBER)["msg"]
    google.fail("GET", missing)
    assert not run("gcp_iam_member", **PLACES[1], **MEMBER, state="absent")["changed"]


def test_refusal_names_the_account(run: RunModule, google: FakeGoogle) -> None:
    google.fail("PUT", ApiError(403, "Permission storage.buckets.setIamPolicy denied", "forbidden"))
    assert "grant tester@demo.iam.gserviceaccount.com" in run("gcp_iam_member", **PLACES[1], **MEMBER)["msg"]


def test_condition_is_added_replaced_and_removed(run: RunModule, google: FakeGoogle) -> None:
    def condition(prefix: str) -> dict[str, Any]:
        return {"title": "releases", "expression": f'resource.name.startsWith("{prefix}")'}

    key = "storage.googleapis.com/storage/v1/b/models"
    assert run("gcp_iam_member", **PLACES[1], **MEMBER)["changed"]
    made = run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("a/"))
    assert made["changed"] and made["binding"]["condition"] == condition("a/")
    assert google.policies[key]["version"] == 3 and len(google.policies[key]["bindings"]) == 2
    assert not run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("a/"))["changed"]
    assert run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("b/"))["changed"]
    unconditional, limited = google.policies[key]["bindings"]
    assert "condition" not in unconditional and limited["condition"] == condition("b/")
    assert run("gcp_iam_member", **PLACES[1], **MEMBER, condition=condition("b/"), state="absent")["changed"]
    assert google.policies[key]["bindings"] == [unconditional]


def test_custom_role_from_nothing_to_absent_and_back(run: RunModule, google: FakeGoogle) -> None:
    options: dict[str, Any] = {"name": "reader", "title": "Reads", "permissions": ["storage.objects.get"]}
    planned = run("gcp_iam_role", check=True, **options)
    assert planned["changed"] and google.mutations == []
    assert run("gcp_iam_role", **options)["role"]["includedPermissions"] == ["storage.objects.get"]
    assert not run("gcp_iam_role", **options)["changed"]
    more = {**options, "permissions": ["storage.objects.list", "storage.objects.get"]}
    widened = run("gcp_iam_role", **more)
    assert widened["diff"]["before"] == {"permissions": ["storage.objects.get"]}
    assert not run("gcp_iam_role", **more)["changed"]
    assert run("gcp_iam_role", name="reader", state="absent")["changed"]
    assert not run("gcp_iam_role", name="reader", state="absent")["changed"]
    back = run("gcp_iam_role", **options)
    assert back["changed"] and back["role"]["includedPermissions"] == ["storage.objects.get"]
    assert google.mutations[-2:] == ["POST reader:undelete", "PATCH reader"]
    assert "permissions are not given for reader" in run("gcp_iam_role", name="reader")["msg"]


def test_several_roles_and_grants_are_one_call_each(run: RunModule, google: FakeGoogle) -> None:
    roles = [{"name": name, "permissions": [f"storage.objects.{name}"]} for name in ("get", "list")]
    grants: list[dict[str, Any]] = [
        {"role": f"projects/demo/roles/{name}", "member": MEMBER["member"]} for name in ("get", "list")
    ]
    grants[1]["condition"] = {"title": "a", "expression": 'resource.name == "a"'}
    for module, options in (("gcp_iam_role", {"roles": roles}), ("gcp_iam_member", {**PLACES[1], "grants": grants})):
        planned = run(module, check=True, **options)
        before = google.mutations
        made = run(module, **options)
        assert planned["actions"] == made["actions"] and len(made["actions"]) == 2 and before == google.mutations[:-2]
        assert planned["diff"] == made["diff"] and len(made["diff"]["after"]) >= 4
        assert not run(module, **options)["changed"]
    assert run("gcp_iam_member", **PLACES[1], grants=grants)["bindings"] == grants
    roles[0]["permissions"] = ["storage.objects.create"]
    changed = run("gcp_iam_role", roles=roles)
    assert changed["diff"]["after"] == {"custom role get: permissions": ["storage.objects.create"]}


def test_role_made_seconds_ago_is_waited_for(run: RunModule, google: FakeGoogle) -> None:
    new = {**MEMBER, "role": "projects/demo/roles/reader"}
    missing = ApiError(400, "Role (projects/demo/roles/reader) does not exist in the resource's hierarchy.", "invalid")
    google.fail("PUT", missing, times=3)
    assert run("gcp_iam_member", **PLACES[1], **new)["changed"]


def test_firewall_rule_from_nothing_to_absent(run: RunModule, google: FakeGoogle) -> None:
    planned = run("gce_firewall_rule", check=True, **RULE)
    assert planned["changed"] and google.mutations == []
    assert run("gce_firewall_rule", **RULE)["firewall"]["sourceRanges"] == ["203.0.113.7/32"]
    assert not run("gce_firewall_rule", **RULE)["changed"]
    widened = run("gce_firewall_rule", **{**RULE, "source_ranges": ["203.0.113.8/32"]})
    assert widened["diff"]["before"] == {"source_ranges": ["203.0.113.7/32"]}
    assert run("gce_firewall_rule", name="ssh", state="absent")["changed"]
    assert not run("gce_firewall_rule", name="ssh", state="absent")["changed"]


def test_firewall_rule_must_be_given_in_full(run: RunModule, google: FakeGoogle) -> None:
    assert "source_ranges and allowed not given" in run("gce_firewall_rule", name="ssh")["msg"]
    assert google.mutations == []


def test_grants_that_are_null_are_no_grants(run: RunModule, google: FakeGoogle) -> None:
    assert "role, grants" in run("gcp_iam_member", **PLACES[1], grants=None)["msg"]
    assert run("gcp_iam_member", **PLACES[1], grants=[])["changed"] is False
    assert google.calls == []
