# SPDX-License-Identifier: GPL-3.0-or-later
"""gce_instance from nothing to absent, and what can go wrong on the way."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.services.compute import guest_view, limits, records
from rehearsal.testing.client import Session
from rehearsal.wire.faults import Fault
from tests.unit.modules.conftest import PROJECT, RunModule, act

ZONE = "us-central1-a"
INSTANCES = f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances"
TRAINER = f"m4-trainer@{PROJECT}.iam.gserviceaccount.com"
FULL: dict[str, Any] = {
    "name": "vm",
    "zone": ZONE,
    "machine_type": "e2-micro",
    "image_families": ["debian-12"],
    "disk_size_gb": 30,
    "labels": {"app": "fanops-m4"},
    "metadata": {"enable-guest-attributes": True, "ssh-keys": "me:ssh-ed25519 AAAA"},
    "tags": ["ssh"],
    "network": "default",
    "external_ip": True,
    "service_account_email": TRAINER,
    "max_run_seconds": 7200,
    "shielded": {"secure_boot": True, "vtpm": True, "integrity_monitoring": True},
    "state": "running",
}
BARE = {"name": "vm", "zone": ZONE}


class Vm:
    """The instance ``vm`` as Google has it, and what somebody else does to it."""

    def __init__(self, google: Session) -> None:
        self.google, self.store = google, google.cloud.store

    @property
    def ref(self) -> records.Ref:
        return records.Ref(PROJECT, ZONE, "vm")

    def get(self) -> dict[str, Any] | None:
        """Its resource, None where there is no instance."""
        record = self.store.get(records.INSTANCES.records.kind, self.ref.key)
        return record["resource"] if record else None

    def change(self, **members: Any) -> None:
        """Let it be otherwise, without a request."""
        record = self.store.get(records.INSTANCES.records.kind, self.ref.key)
        record["resource"] |= members
        self.store.put(records.INSTANCES.records.kind, self.ref.key, record)

    def ask(self, verb: str, **body: Any) -> None:
        """Do something to it as another client would."""
        act(self.google, "POST", f"{INSTANCES.removeprefix('https://')}/vm/{verb}", body)

    def relabel(self, **labels: str) -> None:
        self.ask("setLabels", labels=labels, labelFingerprint=(self.get() or {})["labelFingerprint"])

    def set_metadata(self, **items: str) -> None:
        fingerprint = (self.get() or {})["metadata"]["fingerprint"]
        pairs = [{"key": key.replace("_", "-"), "value": value} for key, value in items.items()]
        self.ask("setMetadata", items=pairs, fingerprint=fingerprint)

    def publish_host_key(self, kind: str = "ssh-ed25519") -> None:
        guest_view.put_attribute(self.google.cloud, self.ref, "hostkeys", kind, "AAAA")


@pytest.fixture(autouse=True)
def trainer(google: Session) -> None:
    """The account that the VM is to have."""
    google.cloud.identity.accounts.create(PROJECT, TRAINER)


@pytest.fixture
def vm(run: RunModule, google: Session) -> Vm:
    """A running instance made by the module; what was called is counted after it."""
    assert run("gce_instance", **FULL)["changed"]
    google.forget()
    return Vm(google)


def test_check_mode_predicts_and_changes_nothing(run: RunModule, google: Session) -> None:
    result = run("gce_instance", check=True, **FULL)
    assert result["changed"]
    assert result["actions"] == ["create"]
    assert result["instance"]["status"] == "RUNNING"
    assert result["diff"]["before"] == {}
    assert result["diff"]["after"]["machine_type"] == "e2-micro"
    assert google.mutations == []


def test_create_sends_limit_identity_and_disk(run: RunModule, google: Session) -> None:
    result = run("gce_instance", **FULL)
    body = next(sent.body for sent in google.calls if sent.verb == "POST" and sent.url == INSTANCES)
    assert body["scheduling"]["maxRunDuration"] == {"seconds": "7200"}
    assert body["scheduling"]["instanceTerminationAction"] == "STOP"
    assert body["disks"][0]["autoDelete"] is True
    assert {"key": "enable-guest-attributes", "value": "TRUE"} in body["metadata"]["items"]
    assert body["serviceAccounts"][0]["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    assert body["shieldedInstanceConfig"]["enableSecureBoot"] is True
    assert result["changed"] and result["instance"]["status"] == "RUNNING"
    assert result["image_family"] == "debian-12" and result["image_fallback"] is False


def test_create_carries_a_request_id(run: RunModule, google: Session) -> None:
    google.cloud.faults.plan(Fault("compute.instances.insert", "503"))
    run("gce_instance", **FULL)
    ids = [sent.params["requestId"] for sent in google.calls if sent.url == INSTANCES]
    assert len(ids) == 2 and ids[0] == ids[1]


@pytest.mark.usefixtures("vm")
def test_second_run_is_unchanged_with_one_call(run: RunModule, google: Session) -> None:
    result = run("gce_instance", **FULL)
    assert not result["changed"] and result["actions"] == []
    assert len(google.calls) == 1


def test_later_family_is_taken_with_a_warning(run: RunModule) -> None:
    result = run("gce_instance", **{**FULL, "image_families": ["debian-9", "debian-12"]})
    assert result["image_fallback"] is True
    assert "debian-9" in result["warnings"][0] and "debian-12" in result["warnings"][0]


def test_no_family_is_one_clear_error(run: RunModule, google: Session) -> None:
    result = run("gce_instance", **{**FULL, "image_families": ["debian-8", "debian-9"]})
    assert "none of the image families debian-8, debian-9" in result["msg"]
    assert google.mutations == []


def test_unknown_machine_type_fails_in_check_mode(run: RunModule, google: Session) -> None:
    result = run("gce_instance", check=True, **{**FULL, "machine_type": "e9-nano"})
    assert f"no machine type e9-nano in zone {ZONE}" in result["msg"] and "vm_machine_type" in result["msg"]
    assert google.mutations == []


def test_unknown_zone_names_the_variable(run: RunModule, google: Session) -> None:
    elsewhere = FULL | {"zone": "us-central1-x"}
    assert "gcp_zone" in run("gce_instance", **elsewhere)["msg"]
    google.refuse("GET .*/instances/vm$", 400, "Invalid value for field 'zone': 'z'. Unknown zone.", "invalid")
    assert "gcp_zone" in run("gce_instance", **elsewhere)["msg"]


def test_live_drift_is_corrected_and_other_keys_stay(run: RunModule, google: Session, vm: Vm) -> None:
    vm.relabel(app="other", owner="me")
    vm.set_metadata(enable_guest_attributes="FALSE", ssh_keys="me:ssh-ed25519 AAAA")
    vm.ask("setTags", items=[], fingerprint=(vm.get() or {})["tags"]["fingerprint"])
    google.forget()
    planned = run("gce_instance", check=True, **FULL)
    assert google.mutations == []
    result = run("gce_instance", **FULL)
    assert planned["actions"] == result["actions"] == ["set labels", "set metadata", "set tags"]
    assert planned["diff"] == result["diff"]
    assert result["diff"]["before"]["labels"] == {"app": "other"}
    assert result["instance"]["labels"] == {"app": "fanops-m4", "owner": "me"}
    assert not run("gce_instance", **FULL)["changed"]


def test_lost_fingerprint_race_is_repeated(run: RunModule, google: Session, vm: Vm) -> None:
    google.before("POST .*/setLabels$", lambda: vm.relabel(app="fanops-m4", owner="somebody-else"))
    result = run("gce_instance", **{**FULL, "labels": {"app": "new"}})
    assert result["instance"]["labels"] == {"app": "new", "owner": "somebody-else"}


@pytest.mark.usefixtures("vm")
def test_machine_type_of_running_vm_is_reported_not_changed(run: RunModule, google: Session) -> None:
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


def test_stopped_vm_is_changed_then_started(run: RunModule, vm: Vm) -> None:
    vm.ask("stop")
    result = run("gce_instance", **{**FULL, "machine_type": "e2-small"})
    assert result["actions"] == ["set machine_type", "start"]


def test_stop_waits_for_terminated(run: RunModule, vm: Vm) -> None:
    planned = run("gce_instance", check=True, **BARE, state="stopped")
    assert planned["instance"]["status"] == "TERMINATED" and (vm.get() or {})["status"] == "RUNNING"
    result = run("gce_instance", **BARE, state="stopped")
    assert result["diff"] == {"before": {"status": "RUNNING"}, "after": {"status": "TERMINATED"}}
    assert result["instance"]["status"] == "TERMINATED"
    assert not run("gce_instance", **BARE, state="stopped")["changed"]


def test_vm_in_motion_is_waited_for(run: RunModule, google: Session, vm: Vm) -> None:
    vm.ask("stop")
    vm.change(status="STOPPING")
    google.clock.at(3, lambda: vm.change(status="TERMINATED"))
    result = run("gce_instance", **FULL)
    assert result["actions"] == ["start"] and result["instance"]["status"] == "RUNNING" and google.clock.now >= 3


def test_stopped_never_creates(run: RunModule, google: Session) -> None:
    result = run("gce_instance", **BARE, state="stopped")
    assert not result["changed"] and result["instance"] is None
    assert google.mutations == []


def test_start_of_a_missing_vm_says_how_to_create_it(run: RunModule) -> None:
    result = run("gce_instance", **BARE, state="running")
    assert "does not exist" in result["msg"] and "machine_type" in result["msg"]


def test_present_leaves_a_stopped_vm_stopped(run: RunModule, vm: Vm) -> None:
    vm.ask("stop")
    assert not run("gce_instance", **{**FULL, "state": "present"})["changed"]


@pytest.mark.usefixtures("vm")
def test_network_and_disk_drift_is_only_warned_about(run: RunModule, google: Session) -> None:
    result = run("gce_instance", **{**FULL, "disk_size_gb": 50})
    assert not result["changed"] and "new instance" in result["warnings"][0]
    assert google.mutations == []


@pytest.mark.usefixtures("vm")
def test_external_address_is_removed(run: RunModule) -> None:
    result = run("gce_instance", **{**FULL, "external_ip": False})
    assert result["actions"] == ["set external_ip"]
    assert "accessConfigs" not in result["instance"]["networkInterfaces"][0]
    assert run("gce_instance", **FULL)["instance"]["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    assert not run("gce_instance", **FULL)["changed"]


def test_absent_deletes_once(run: RunModule, vm: Vm) -> None:
    planned = run("gce_instance", check=True, **BARE, state="absent")
    assert planned["changed"] and planned["instance"] is None and vm.get()
    assert run("gce_instance", **BARE, state="absent")["changed"]
    assert vm.get() is None
    assert not run("gce_instance", **BARE, state="absent")["changed"]


def test_absent_unprotects_only_when_told(run: RunModule, google: Session, vm: Vm) -> None:
    vm.change(deletionProtection=True)
    result = run("gce_instance", check=True, **BARE, state="absent", deletion_protection=False)
    assert result["actions"][0] == "unprotect"
    result = run("gce_instance", **BARE, state="absent")
    assert "deletion_protection" in result["msg"]
    google.forget()
    assert run("gce_instance", **BARE, state="absent", deletion_protection=False)["changed"]
    assert google.mutations == ["compute.instances.setDeletionProtection", "compute.instances.delete"]
    assert vm.get() is None


@pytest.mark.parametrize(
    ("kind", "key", "document", "reason", "words", "remedy"),
    [
        (
            limits.QUOTAS, "us-central1", {"CPUS": 0.0}, "QUOTA_EXCEEDED",
            "Quota 'CPUS' exceeded. Limit: 0.0 in region us-central1", "quota",
        ),
        (
            limits.STOCKOUTS, ZONE, {}, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            f"The zone 'projects/{PROJECT}/zones/{ZONE}' does not have enough resources", "another gcp_zone",
        ),
    ],
)  # fmt: skip
def test_operation_errors_are_explained(
    run: RunModule, google: Session, kind: str, key: str, document: dict[str, Any], reason: str, words: str, remedy: str
) -> None:
    google.cloud.store.put(kind, key, document)
    result = run("gce_instance", **FULL)
    assert f"Could not create instance vm in {ZONE}: {words}" in result["msg"]
    assert remedy in result["msg"]
    assert result["failure"]["reason"] == reason


def test_disabled_api_is_no_obstacle_to_a_plan(run: RunModule, google: Session) -> None:
    google.cloud.identity.services.disable(PROJECT, "compute.googleapis.com")
    result = run("gce_instance", check=True, **FULL)
    assert result["changed"] and result["actions"] == [f"create instance vm in {ZONE}"]
    assert "not enabled" in result["warnings"][0]


def test_api_enabled_a_moment_ago_is_waited_for(run: RunModule, google: Session) -> None:
    services = google.cloud.identity.services
    services.disable(PROJECT, "compute.googleapis.com")
    google.clock.at(5, lambda: services.enable(PROJECT, "compute.googleapis.com"))
    assert run("gce_instance", **FULL)["changed"] and google.clock.now >= 5


def test_new_service_account_is_waited_for(run: RunModule, google: Session) -> None:
    accounts = google.cloud.identity.accounts
    accounts.delete(TRAINER)
    google.clock.at(12, lambda: accounts.create(PROJECT, TRAINER))
    assert run("gce_instance", **FULL)["changed"] and google.clock.now >= 12


def _guest(vm: Vm) -> str:
    return str(vm.store.get(records.INSTANCES.records.kind, vm.ref.key)["guest"])


def test_info_waits_for_host_keys(run: RunModule, google: Session, vm: Vm) -> None:
    # A guest publishes one key after the other, and a second run must find what the first one found.
    google.clock.at(2, lambda: vm.publish_host_key("ecdsa-sha2-nistp256"))
    google.clock.at(6, vm.publish_host_key)
    google.clock.at(8, lambda: vm.publish_host_key("ssh-rsa"))
    vm.google.cloud.guests.table[_guest(vm)].console = b"booted\n"
    result = run("gce_instance_info", **BARE, host_keys=True, serial_port=True)
    assert result["host_keys"] == ["ssh-ed25519 AAAA"]
    google.clock.sleep(10)
    assert run("gce_instance_info", **BARE, host_keys=True)["host_keys"] == ["ssh-ed25519 AAAA"]
    assert result["serial_output"] == "booted\n"
    assert not result["changed"]


def test_info_gives_up_on_host_keys(run: RunModule, vm: Vm) -> None:
    result = run("gce_instance_info", **BARE, host_keys=True, host_keys_timeout=30)
    assert "serial log" in result["msg"]
    assert run("gce_instance_info", **BARE, host_keys=True, host_keys_timeout=0)["host_keys"] == []


def test_info_knows_when_keys_can_never_come(run: RunModule, vm: Vm) -> None:
    vm.set_metadata()
    assert "enable-guest-attributes" in run("gce_instance_info", **BARE, host_keys=True)["msg"]


def test_info_of_missing_or_stopped_vm_is_no_error(run: RunModule, google: Session) -> None:
    assert run("gce_instance_info", **BARE, host_keys=True)["instance"] is None
    run("gce_instance", **FULL)
    run("gce_instance", **BARE, state="stopped")
    assert run("gce_instance_info", **BARE, host_keys=True)["host_keys"] == []


def test_what_people_keep_in_metadata_is_not_shown(run: RunModule, vm: Vm) -> None:
    vm.set_metadata(enable_guest_attributes="TRUE", ssh_keys="me:ssh-ed25519 AAAA", db_password="hunter2")
    relabelled = {**FULL, "labels": {"app": "other"}}
    for answer in (
        run("gce_instance_info", **BARE),
        run("gce_instance", check=True, **relabelled),
        run("gce_instance", **relabelled),
        run("gce_instance", **{**FULL, "metadata": {"enable-guest-attributes": True, "ssh-keys": "you:x"}}),
    ):
        assert "hunter2" not in str(answer) and "db-password" in str(answer["instance"])
    assert {"key": "db-password", "value": "hunter2"} in (vm.get() or {})["metadata"]["items"]  # and it is still there
