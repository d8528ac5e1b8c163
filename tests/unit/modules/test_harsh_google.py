# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google refuses for a while, or in words that mean something else: survived, or told with a remedy."""

from __future__ import annotations

from typing import Any

from rehearsal import trouble
from rehearsal.testing.client import Session
from rehearsal.wire.faults import Fault
from tests.unit.modules.conftest import PROJECT, RunModule


def knob(google: Session, name: str, **values: int) -> None:
    google.cloud.store.put(trouble.KIND, name, values)


def met(google: Session, name: str) -> int:
    return trouble.times_met(google.cloud.store, name)


def test_computes_rate_limit_is_no_missing_permission(run: RunModule, google: Session) -> None:
    google.cloud.faults.plan(Fault("compute.instances.get", "rate-limit", times=2))
    assert run("gce_instance_info", name="vm", zone="us-central1-a")["instance"] is None
    assert google.cloud.faults.unfired() == []
    google.cloud.faults.plan(Fault("compute.instances.get", "rate-limit", times=20))
    refused = run("gce_instance_info", name="vm", zone="us-central1-a")
    assert "run again in a minute" in refused["msg"] and "grant" not in refused["msg"]


def test_another_change_of_the_apis_is_waited_for(run: RunModule, google: Session) -> None:
    google.cloud.faults.plan(Fault("serviceusage.services.batchEnable", "activation", times=2))
    assert run("gcp_project_services", services=["pubsub.googleapis.com"])["changed"]
    assert google.cloud.faults.unfired() == []


def test_an_account_that_google_does_not_know_everywhere_yet_is_waited_for(run: RunModule, google: Session) -> None:
    knob(google, trouble.ACCOUNT_DELAY, seconds=3600)
    accounts, email = google.cloud.identity.accounts, f"m4-trainer@{PROJECT}.iam.gserviceaccount.com"

    def spread() -> None:
        if met(google, trouble.ACCOUNT_DELAY) >= 2:
            accounts.update(email, visibleFrom=0)

    google.before("GET .*serviceAccounts/", spread, times=9)
    assert run("gcp_service_account", name="m4-trainer", display_name="Trains")["service_account"]["email"] == email


def test_a_first_deployment_is_repeated_until_the_agent_has_its_access(
    run: RunModule, google: Session, function_options: dict[str, Any]
) -> None:
    knob(google, trouble.AGENT_DELAY, seconds=3600)

    def spread() -> None:
        if met(google, trouble.AGENT_DELAY) >= 2:
            google.cloud.store.delete(trouble.KIND, trouble.AGENT_DELAY)

    google.before("PATCH .*functions/", spread, times=9)
    made = run("cloud_function", **function_options)
    assert made["function"]["state"] == "ACTIVE" and met(google, trouble.AGENT_DELAY) == 2


def test_the_id_of_a_role_deleted_more_than_a_week_ago_is_taken_for_a_month(run: RunModule, google: Session) -> None:
    role = {"name": "reader", "permissions": ["storage.objects.get"]}
    assert run("gcp_iam_role", **role)["changed"] and run("gcp_iam_role", name="reader", state="absent")["changed"]
    knob(google, trouble.ROLE_AGE, days=10)
    refused = run("gcp_iam_role", **role)
    assert "marked for deletion" in refused["msg"] and "-e role_id_suffix=_2" in refused["msg"]
    knob(google, trouble.ROLE_AGE, days=40)
    assert run("gcp_iam_role", **role)["changed"]
    run("gcp_iam_role", name="reader", state="absent")
    knob(google, trouble.ROLE_AGE, days=1)
    assert run("gcp_iam_role", **role)["role"]["includedPermissions"] == ["storage.objects.get"]
