# SPDX-License-Identifier: GPL-3.0-or-later
"""secret_manager_secret: a value that is written, kept as it should be, and shown nowhere."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule, act

URL = f"secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets/notify"
VALUE, NEW = "https://hooks.example.org/T000/first", "https://hooks.example.org/T000/second"
LABELS = {"app": "fanops-m4"}
ACCOUNT = f"m4-trainer@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture
def enabled(google: Session) -> Session:
    google.cloud.identity.services.enable(PROJECT, "secretmanager.googleapis.com")
    return google


def keep(run: RunModule, **options: Any) -> dict[str, Any]:
    result = run("secret_manager_secret", **{"name": "notify", "labels": LABELS, **options})
    assert "hooks.example.org" not in json.dumps(result)
    return result


def value_of(google: Session) -> str:
    found = act(google, "GET", f"{URL}/versions/latest:access")
    return base64.b64decode(found["payload"]["data"]).decode()


def test_a_secret_from_nothing_to_absent(run: RunModule, enabled: Session) -> None:
    planned = keep(run, check=True, value=VALUE)
    assert planned["actions"] == ["create secret notify", "write the value of secret notify"]
    assert planned["diff"]["after"] == {"labels": LABELS, "value": "(the one given)"} and enabled.mutations == []
    made = keep(run, value=VALUE)
    assert made["changed"] and made["secret"]["labels"] == LABELS and value_of(enabled) == VALUE
    enabled.forget()
    assert not keep(run, value=VALUE)["changed"] and enabled.mutations == []
    # Without a value the one that is there stays.
    assert not keep(run)["changed"]
    changed = keep(run, value=NEW)
    assert changed["diff"] == {"before": {"value": "(another one)"}, "after": {"value": "(the one given)"}}
    assert value_of(enabled) == NEW
    versions = act(enabled, "GET", f"{URL}/versions")["versions"]
    assert [version["state"] for version in versions] == ["ENABLED", "DESTROYED"]  # one is free, and no more is kept
    gone = keep(run, state="absent")
    assert gone["changed"] and gone["secret"] is None and not keep(run, state="absent")["changed"]


def test_what_somebody_else_changed_is_found_and_put_right(run: RunModule, enabled: Session) -> None:
    keep(run, value=VALUE)
    other = {"payload": {"data": base64.b64encode(b"somebody else's").decode()}}
    act(enabled, "POST", f"{URL}:addVersion", other)
    act(enabled, "PATCH", f"{URL}?updateMask=labels", {"labels": {"team": "theirs"}})
    assert keep(run, check=True, value=VALUE)["actions"] == ["label secret notify", "write the value of secret notify"]
    put_right = keep(run, value=VALUE)
    assert value_of(enabled) == VALUE and put_right["secret"]["labels"] == {"team": "theirs", **LABELS}
    act(enabled, "POST", f"{URL}/versions/3:disable", {})
    assert keep(run, value=VALUE)["changed"] and value_of(enabled) == VALUE


def test_a_project_that_sends_no_messages_needs_no_api(run: RunModule, google: Session) -> None:
    assert not keep(run, state="absent")["changed"] and google.mutations == []
    planned = keep(run, check=True, value=VALUE)
    assert planned["changed"] and "not enabled" in planned["warnings"][0]
    assert "Secret Manager API" in keep(run, value=VALUE)["msg"]


def test_the_deployer_writes_what_it_cannot_read_and_the_trainer_reads_it(run: RunModule, enabled: Session) -> None:
    enabled.cloud.identity.accounts.create(PROJECT, ACCOUNT)
    enabled.become(enabled.cloud.identity.deployer)
    role = {"includedPermissions": ["secretmanager.versions.access"]}
    enabled.cloud.identity.custom_roles.put(f"projects/{PROJECT}/roles/reader", role)
    grant = {
        "resource_type": "secret", "resource": "notify", "role": f"projects/{PROJECT}/roles/reader",
        "member": f"serviceAccount:{ACCOUNT}",
    }  # fmt: skip
    keep(run, value=VALUE)
    keep(run, value=NEW)
    assert run("gcp_iam_member", **grant)["changed"] and not run("gcp_iam_member", **grant)["changed"]
    ours = run("project_resources_info", labels=LABELS)["ours"]
    assert {"kind": "secret", "name": "notify", "place": "project", "detail": ""} in ours
    access = f"https://{URL}/versions/latest:access"
    assert enabled.request("GET", access).status_code == 403
    enabled.become(ACCOUNT)
    assert base64.b64decode(enabled.request("GET", access).json()["payload"]["data"]).decode() == NEW
    enabled.become(enabled.cloud.identity.deployer)
    assert keep(run, state="absent")["changed"]
