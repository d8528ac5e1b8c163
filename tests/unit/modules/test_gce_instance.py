# SPDX-License-Identifier: GPL-3.0-or-later
"""gce_instance from nothing to absent, and what can go wrong on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.modules.fake_google import ApiError, FakeGoogle, RunModule

PATH = "compute.googleapis.com/compute/v1/projects/demo/zones/z/instances/vm"
FULL: dict[str, Any] = {
    "name": "vm",
    "zone": "z",
    "machine_type": "e2-micro",
    "image_families": ["debian-12"],
    "disk_size_gb": 30,
    "labels": {"app": "fanops-m4"},
    "metadata": {"enable-guest-attributes": True, "ssh-keys": "me:ssh-ed25519 AAAA"},
    "tags": ["ssh"],
    "network": "default",
    "external_ip": True,
    "service_account_email": "m4-trainer@demo.iam.gserviceaccount.com",
    "max_run_seconds": 7200,
    "shielded": {"secure_boot": True, "vtpm": True, "integrity_monitoring": True},
    "state": "running",
}
BARE = {"name": "vm", "zone": "z"}


@pytest.fixture
def vm(run: RunModule, google: FakeGoogle) -> dict[str, Any]:
    """A running instance made by the module; the log of calls starts after it."""
    run("gce_instance", **FULL)
    google.calls.clear()
    return google.resources[PATH]


def test_check_mode_predicts_and_changes_nothing(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", check=True, **FULL)
    assert result["changed"]
    assert result["actions"] == ["create"]
    assert result["instance"]["status"] == "RUNNING"
    assert result["diff"]["before"] == {}
    assert result["diff"]["after"]["machine_type"] == "e2-micro"
    assert google.mutations == []


def test_create_sends_limit_identity_and_disk(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **FULL)
    body = next(body for verb, url, _params, body in google.calls if verb == "POST" and url.endswith("/instances"))
    assert body["scheduling"]["maxRunDuration"] == {"seconds": "7200"}
    assert body["scheduling"]["instanceTerminationAction"] == "STOP"
    assert body["disks"][0]["autoDelete"] is True
    assert {"key": "enable-guest-attributes", "value": "TRUE"} in body["metadata"]["items"]
    assert body["serviceAccounts"][0]["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert body["shieldedInstanceConfig"]["enableSecureBoot"] is True
    assert result["changed"] and result["instance"]["status"] == "RUNNING"
    assert result["image_family"] == "debian-12" and result["image_fallback"] is False


def test_create_carries_a_request_id(run: RunModule, google: FakeGoogle) -> None:
    google.fail("POST .*/instances$", ApiError(503, "backend error", "backendError"))
    run("gce_instance", **FULL)
    ids = [params["requestId"] for verb, url, params, _body in google.calls if url.endswith("/instances")]
    assert len(ids) == 2 and ids[0] == ids[1]


@pytest.mark.usefixtures("vm")
def test_second_run_is_unchanged_with_one_call(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **FULL)
    assert not result["changed"] and result["actions"] == []
    assert len(google.calls) == 1


def test_later_family_is_taken_with_a_warning(run: RunModule) -> None:
    result = run("gce_instance", **{**FULL, "image_families": ["debian-11", "debian-12"]})
    assert result["image_fallback"] is True
    assert "debian-11" in result["warnings"][0] and "debian-12" in result["warnings"][0]


def test_no_family_is_one_clear_error(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **{**FULL, "image_families": ["debian-8", "debian-9"]})
    assert "none of the image families debian-8, debian-9" in result["msg"]
    assert google.mutations == []


def test_unknown_machine_type_fails_in_check_mode(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", check=True, **{**FULL, "machine_type": "e9-nano"})
    assert "no machine type e9-nano in zone z" in result["msg"] and "vm_machine_type" in result["msg"]
    assert google.mutations == []


@pytest.mark.parametrize(
    "error",
    [
        ApiError(404, "The resource 'projects/demo/zones/z' was not found", "notFound"),
        ApiError(400, "Invalid value for field 'zone': 'z'. Unknown zone.", "invalid"),
    ],
)
def test_unknown_zone_names_the_variable(run: RunModule, google: FakeGoogle, error: ApiError) -> None:
    google.fail("GET .*/instances/vm$", error)
    assert "gcp_zone" in run("gce_instance", **FULL)["msg"]


def test_live_drift_is_corrected_and_other_keys_stay(run: RunModule, google: FakeGoogle, vm: dict[str, Any]) -> None:
    vm["labels"] = {"app": "other", "owner": "me"}
    vm["metadata"]["items"][0]["value"] = "FALSE"
    vm["tags"]["items"] = []
    planned = run("gce_instance", check=True, **FULL)
    assert google.mutations == []
    result = run("gce_instance", **FULL)
    assert planned["actions"] == result["actions"] == ["set labels", "set metadata", "set tags"]
    assert planned["diff"] == result["diff"]
    assert result["diff"]["before"]["labels"] == {"app": "other"}
    assert result["instance"]["labels"] == {"app": "fanops-m4", "owner": "me"}
    assert not run("gce_instance", **FULL)["changed"]


@pytest.mark.usefixtures("vm")
def test_lost_fingerprint_race_is_repeated(run: RunModule, google: FakeGoogle) -> None:
    google.fail("POST .*/setLabels$", ApiError(412, "Labels fingerprint invalid", "conditionNotMet"))
    result = run("gce_instance", **{**FULL, "labels": {"app": "new"}})
    assert result["instance"]["labels"] == {"app": "new"}


@pytest.mark.usefixtures("vm")
def test_machine_type_of_running_vm_is_reported_not_changed(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **{**FULL, "machine_type": "e2-small"})
    assert not result["changed"]
    assert result["needs_stop"] == ["machine_type"]
    assert "allow_restart" in result["warnings"][0]
    assert google.mutations == []


@pytest.mark.usefixtures("vm")
def test_allow_restart_stops_changes_and_starts(run: RunModule) -> None:
    result = run("gce_instance", **{**FULL, "machine_type": "e2-small", "max_run_seconds": 60, "allow_restart": True})
    assert result["actions"] == ["stop", "set machine_type", "set max_run_seconds", "start"]
    assert result["instance"]["machineType"].endswith("e2-small")
    assert result["instance"]["status"] == "RUNNING"


def test_stopped_vm_is_changed_then_started(run: RunModule, vm: dict[str, Any]) -> None:
    vm["status"] = "TERMINATED"
    result = run("gce_instance", **{**FULL, "machine_type": "e2-small"})
    assert result["actions"] == ["set machine_type", "start"]


def test_stop_waits_for_terminated(run: RunModule, vm: dict[str, Any]) -> None:
    planned = run("gce_instance", check=True, **BARE, state="stopped")
    assert planned["instance"]["status"] == "TERMINATED" and vm["status"] == "RUNNING"
    result = run("gce_instance", **BARE, state="stopped")
    assert result["diff"] == {"before": {"status": "RUNNING"}, "after": {"status": "TERMINATED"}}
    assert result["instance"]["status"] == "TERMINATED"
    assert not run("gce_instance", **BARE, state="stopped")["changed"]


def test_vm_in_motion_is_waited_for(run: RunModule, google: FakeGoogle, vm: dict[str, Any]) -> None:
    vm["status"] = "STOPPING"
    sleep = google.sleep

    def arrive(seconds: float) -> None:
        sleep(seconds)
        if vm["status"] == "STOPPING":
            vm["status"] = "TERMINATED"

    google.sleep = arrive  # type: ignore[method-assign]
    from ansible.module_utils.fanops.api import options

    patched: Any = options  # its Client is a partial here, see conftest
    patched.Client.keywords["sleep"] = arrive
    result = run("gce_instance", **FULL)
    assert result["actions"] == ["start"] and vm["status"] == "RUNNING"


def test_stopped_never_creates(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **BARE, state="stopped")
    assert not result["changed"] and result["instance"] is None
    assert google.mutations == []


def test_start_of_a_missing_vm_says_how_to_create_it(run: RunModule) -> None:
    result = run("gce_instance", **BARE, state="running")
    assert "does not exist" in result["msg"] and "machine_type" in result["msg"]


def test_present_leaves_a_stopped_vm_stopped(run: RunModule, vm: dict[str, Any]) -> None:
    vm["status"] = "TERMINATED"
    assert not run("gce_instance", **{**FULL, "state": "present"})["changed"]


@pytest.mark.usefixtures("vm")
def test_network_and_disk_drift_is_only_warned_about(run: RunModule, google: FakeGoogle) -> None:
    result = run("gce_instance", **{**FULL, "disk_size_gb": 50})
    assert not result["changed"] and "new instance" in result["warnings"][0]
    assert google.mutations == []


@pytest.mark.usefixtures("vm")
def test_external_address_is_removed(run: RunModule) -> None:
    result = run("gce_instance", **{**FULL, "external_ip": False})
    assert result["actions"] == ["set external_ip"]
    assert result["instance"]["networkInterfaces"][0]["accessConfigs"] == []


@pytest.mark.usefixtures("vm")
def test_absent_deletes_once(run: RunModule, google: FakeGoogle) -> None:
    planned = run("gce_instance", check=True, **BARE, state="absent")
    assert planned["changed"] and planned["instance"] is None and PATH in google.resources
    assert run("gce_instance", **BARE, state="absent")["changed"]
    assert PATH not in google.resources
    assert not run("gce_instance", **BARE, state="absent")["changed"]


def test_absent_unprotects_only_when_told(run: RunModule, google: FakeGoogle, vm: dict[str, Any]) -> None:
    vm["deletionProtection"] = True
    result = run("gce_instance", check=True, **BARE, state="absent", deletion_protection=False)
    assert result["actions"][0] == "unprotect"
    error = ApiError(400, "Resource cannot be deleted if it's protected against deletion.", "invalidResourceUsage")
    google.fail("DELETE", error)
    result = run("gce_instance", **BARE, state="absent")
    assert "deletion_protection" in result["msg"]
    google.calls.clear()
    assert run("gce_instance", **BARE, state="absent", deletion_protection=False)["changed"]
    assert google.mutations == ["POST setDeletionProtection", "DELETE vm"]
    assert PATH not in google.resources


@pytest.mark.parametrize(
    ("code", "http", "remedy"),
    [("QUOTA_EXCEEDED", 403, "quota"), ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", 503, "another gcp_zone")],
)
def test_operation_errors_are_explained(run: RunModule, google: FakeGoogle, code: str, http: int, remedy: str) -> None:
    google.operation_error = {
        "httpErrorStatusCode": http,
        "error": {"errors": [{"code": code, "message": "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1."}]},
    }
    result = run("gce_instance", **FULL)
    assert "Could not create instance vm in z: Quota 'CPUS' exceeded. Limit: 24.0" in result["msg"]
    assert remedy in result["msg"]
    assert result["failure"]["reason"] == code


def test_disabled_api_is_no_obstacle_to_a_plan(run: RunModule, google: FakeGoogle) -> None:
    disabled = ApiError(
        403, "Compute Engine API has not been used in project 1 before or it is disabled.", "accessNotConfigured"
    )
    google.fail("GET", disabled, times=9)
    result = run("gce_instance", check=True, **FULL)
    assert result["changed"] and result["actions"] == ["create instance vm in z"]
    assert "not enabled" in result["warnings"][0]


def test_api_enabled_a_moment_ago_is_waited_for(run: RunModule, google: FakeGoogle) -> None:
    disabled = ApiError(
        403, "Compute Engine API has not been used in project 1 before or it is disabled.", "accessNotConfigured"
    )
    google.fail("GET", disabled, times=3)
    assert run("gce_instance", **FULL)["changed"]


def test_new_service_account_is_waited_for(run: RunModule, google: FakeGoogle) -> None:
    google.fail(
        "POST .*/instances$", ApiError(400, "The service account is not found or not ready", "invalid"), times=3
    )
    assert run("gce_instance", **FULL)["changed"]


def test_info_waits_for_host_keys(run: RunModule, vm: dict[str, Any]) -> None:
    result = run("gce_instance_info", **BARE, host_keys=True, serial_port=True)
    assert result["host_keys"] == ["ssh-ed25519 AAAA"]
    assert result["serial_output"] == "booted\n"
    assert not result["changed"]


def test_info_gives_up_on_host_keys(run: RunModule, vm: dict[str, Any]) -> None:
    vm["keys_after"] = 1000
    result = run("gce_instance_info", **BARE, host_keys=True, host_keys_timeout=30)
    assert "serial log" in result["msg"]
    assert run("gce_instance_info", **BARE, host_keys=True, host_keys_timeout=0)["host_keys"] == []


def test_info_knows_when_keys_can_never_come(run: RunModule, vm: dict[str, Any]) -> None:
    vm["metadata"]["items"] = []
    assert "enable-guest-attributes" in run("gce_instance_info", **BARE, host_keys=True)["msg"]


def test_info_of_missing_or_stopped_vm_is_no_error(run: RunModule, google: FakeGoogle) -> None:
    assert run("gce_instance_info", **BARE, host_keys=True)["instance"] is None
    run("gce_instance", **FULL)
    run("gce_instance", **BARE, state="stopped")
    assert run("gce_instance_info", **BARE, host_keys=True)["host_keys"] == []


def test_what_people_keep_in_metadata_is_not_shown(run: RunModule, vm: dict[str, Any]) -> None:
    vm["metadata"]["items"].append({"key": "db-password", "value": "hunter2"})
    relabelled = {**FULL, "labels": {"app": "other"}}
    for answer in (
        run("gce_instance_info", **BARE),
        run("gce_instance", check=True, **relabelled),
        run("gce_instance", **relabelled),
        run("gce_instance", **{**FULL, "metadata": {"enable-guest-attributes": True, "ssh-keys": "you:x"}}),
    ):
        assert "hunter2" not in str(answer) and "db-password" in str(answer["instance"])
    assert {"key": "db-password", "value": "hunter2"} in vm["metadata"]["items"]  # and it is still there
