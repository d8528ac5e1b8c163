# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects, enabled APIs and the single methods that clients need on the way."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

SERVICES = "https://serviceusage.googleapis.com/v1/projects/fanops-rehearsal/services"
V1 = "https://cloudresourcemanager.googleapis.com/v1/projects"
V3 = "https://cloudresourcemanager.googleapis.com/v3/projects"
FUNCTIONS = "https://cloudfunctions.googleapis.com/v2/projects/fanops-rehearsal/locations"


def test_everything_a_new_project_has_is_there_and_a_second_start_changes_nothing(control_plane: Any) -> None:
    identity = control_plane.identity
    before = [control_plane.store.list(kind) for kind in ("projects", "serviceAccounts", "iam.policies")]
    key = control_plane.settings.deployer_key.read_bytes()
    identity.ensure_default_accounts()
    assert [control_plane.store.list(kind) for kind in ("projects", "serviceAccounts", "iam.policies")] == before
    assert control_plane.settings.deployer_key.read_bytes() == key
    assert identity.accounts.find("482910376155-compute@developer.gserviceaccount.com")
    assert identity.project_number("foreign-project") != identity.project_number("fanops-rehearsal")


def test_a_project_answers_in_both_versions_by_id_and_number(ask: Any) -> None:
    first = ask("GET", f"{V1}/fanops-rehearsal").get_json()
    assert (first["projectNumber"], first["lifecycleState"]) == ("482910376155", "ACTIVE")
    third = ask("GET", f"{V3}/482910376155").get_json()
    assert (third["projectId"], third["name"]) == ("fanops-rehearsal", "projects/482910376155")
    for url in (V1, f"{V3}:search"):
        found = {p["projectId"] for p in ask("GET", url).get_json()["projects"]}
        assert found == {"fanops-rehearsal", "engineers-other-project"}


def test_a_call_to_an_api_that_is_not_enabled_says_how_to_enable_it(ask: Any) -> None:
    answer = ask("GET", f"{FUNCTIONS}/us-central1/functions")
    error = answer.get_json()["error"]
    assert (answer.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["message"].startswith(
        "Cloud Functions API has not been used in project 482910376155 before or it is disabled. Enable it by visiting "
    )
    info = next(d for d in error["details"] if d["@type"].endswith("ErrorInfo"))
    assert (info["reason"], info["metadata"]["service"]) == ("SERVICE_DISABLED", "cloudfunctions.googleapis.com")
    operation = ask("POST", f"{SERVICES}/cloudfunctions.googleapis.com:enable", b"{}").get_json()
    assert "done" not in operation
    time.sleep(0.25)
    ended = ask("GET", f"https://serviceusage.googleapis.com/v1/{operation['name']}").get_json()
    assert ended["done"] and ended["response"]["service"]["state"] == "ENABLED"
    assert ask("GET", f"{FUNCTIONS}/us-central1/functions").status_code == 200


def test_a_batch_enables_all_or_nothing(ask: Any) -> None:
    wrong = {"serviceIds": ["compute.googleapis.com", "nonsense.googleapis.com"]}
    answer = ask("POST", f"{SERVICES}:batchEnable", json.dumps(wrong).encode())
    assert answer.status_code == 403 and "nonsense.googleapis.com" in answer.get_json()["error"]["message"]
    assert ask("GET", f"{SERVICES}/compute.googleapis.com").get_json()["state"] == "DISABLED"
    right = {"serviceIds": ["compute.googleapis.com", "run.googleapis.com"]}
    assert ask("POST", f"{SERVICES}:batchEnable", json.dumps(right).encode()).status_code == 200
    enabled = ask("GET", f"{SERVICES}?filter=state:ENABLED").get_json()["services"]
    assert {"compute.googleapis.com", "run.googleapis.com"} <= {service["config"]["name"] for service in enabled}


def test_a_service_that_others_need_is_not_disabled_by_accident(ask: Any) -> None:
    ask("POST", f"{SERVICES}/compute.googleapis.com:enable", b"{}")
    url = f"{SERVICES}/oslogin.googleapis.com:disable"
    answer = ask("POST", url, b"{}")
    assert (answer.status_code, answer.get_json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert ask("POST", url, b'{"disableDependentServices": true}').status_code == 200
    assert ask("GET", f"{SERVICES}/compute.googleapis.com").get_json()["state"] == "DISABLED"


@pytest.mark.parametrize(
    ("url", "member", "value"),
    [
        ("https://cloudbilling.googleapis.com/v1/projects/fanops-rehearsal/billingInfo", "billingEnabled", True),
        (
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.example/allowedLocations",
            "encodedLocations",
            "0x0",
        ),
    ],
)
def test_small_methods_answer(ask: Any, control_plane: Any, url: str, member: str, value: Any) -> None:
    control_plane.identity.services.enable("fanops-rehearsal", "iamcredentials.googleapis.com")
    assert ask("GET", url).get_json()[member] == value


def test_os_login_keeps_the_callers_own_keys_and_nobody_elses(ask: Any, control_plane: Any) -> None:
    control_plane.identity.services.enable("fanops-rehearsal", "oslogin.googleapis.com")
    me = control_plane.identity.owner
    url = f"https://oslogin.googleapis.com/v1/users/{me}"
    answer = ask("POST", f"{url}:importSshPublicKey", b'{"key": "ssh-ed25519 AAAA me"}').get_json()
    assert answer["loginProfile"]["posixAccounts"][0]["username"].startswith("engineer_example_com")
    (key,) = ask("GET", f"{url}/loginProfile").get_json()["sshPublicKeys"].values()
    assert key["key"] == "ssh-ed25519 AAAA me"
    assert ask("GET", "https://oslogin.googleapis.com/v1/users/other@example.com/loginProfile").status_code == 403


def test_answers_are_as_googles_schema_says(ask: Any, control_plane: Any) -> None:
    for url in (f"{V1}/fanops-rehearsal", f"{V3}/482910376155", SERVICES, f"{V1}"):
        assert ask("GET", url).status_code == 200
    assert [entry.violations for entry in control_plane.log.entries() if entry.violations] == []
