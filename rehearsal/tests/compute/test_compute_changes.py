# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from compute_world import PROJECT, ZONE, World
from rehearsal.services.compute import fingerprints

VM = f"zones/{ZONE}/instances/vm"


def patch_shielded(world: World, body: Any, status: int = 200) -> Any:
    return world.call("PATCH", f"{VM}/updateShieldedInstanceConfig", body, status=status)


class TestFingerprinted:
    def test_metadata(self, world: World) -> None:
        before = world.create(metadata={"items": [{"key": "a", "value": "1"}]})["metadata"]
        items = [{"key": "a", "value": "2"}, {"key": "b", "value": "3"}]
        world.do("POST", f"{VM}/setMetadata", {"fingerprint": before["fingerprint"], "items": items})
        after = world.vm()["metadata"]
        assert after["items"] == items
        assert after["fingerprint"] != before["fingerprint"]
        view = world.cloud.metadata.views[world.guest().internal]
        assert view.instance()["attributes"] == {"a": "2", "b": "3"}
        assert world.cloud.metadata.woken == 1

    @pytest.mark.parametrize("fingerprint", [None, "AAAAAAAAAAA=", "not base64", "ff=="])
    @pytest.mark.parametrize(
        ("verb", "member", "text"),
        [
            ("setMetadata", "fingerprint", "Supplied fingerprint does not match current metadata fingerprint."),
            ("setLabels", "labelFingerprint", "Labels fingerprint either invalid or resource labels have changed"),
            ("setTags", "fingerprint", "Supplied fingerprint does not match current tags fingerprint."),
        ],
    )
    def test_a_stale_fingerprint(self, world: World, fingerprint: Any, verb: str, member: str, text: str) -> None:
        before = world.create()
        error = world.call("POST", f"{VM}/{verb}", {member: fingerprint} if fingerprint else {}, status=412)
        assert (error["message"], error["errors"][0]["reason"]) == (text, "conditionNotMet")
        assert world.vm() == before

    def test_a_stale_fingerprint_after_a_change(self, world: World) -> None:
        stale = world.create()["labelFingerprint"]
        world.do("POST", f"{VM}/setLabels", {"labelFingerprint": stale, "labels": {"a": "1"}})
        world.call("POST", f"{VM}/setLabels", {"labelFingerprint": stale, "labels": {"a": "2"}}, status=412)
        assert world.vm()["labels"] == {"a": "1"}

    def test_url_safe_base64_is_the_same_fingerprint(self, world: World) -> None:
        current = world.create(labels={"a": "1"})["labelFingerprint"]
        safe = current.replace("+", "-").replace("/", "_")
        world.do("POST", f"{VM}/setLabels", {"labelFingerprint": safe, "labels": {}})
        vm = world.vm()
        assert "labels" not in vm and vm["labelFingerprint"] == fingerprints.EMPTY

    def test_tags(self, world: World) -> None:
        before = world.create()["tags"]
        world.do("POST", f"{VM}/setTags", {"fingerprint": before["fingerprint"], "items": ["web"]})
        assert world.vm()["tags"]["items"] == ["web"]

    def test_bad_values(self, world: World) -> None:
        vm = world.create()
        labels = {"labelFingerprint": vm["labelFingerprint"], "labels": {"A": "x"}}
        world.call("POST", f"{VM}/setLabels", labels, status=400)
        metadata = {"fingerprint": vm["metadata"]["fingerprint"], "items": [{"key": "a b"}]}
        world.call("POST", f"{VM}/setMetadata", metadata, status=400)


class TestOnlyWhileStopped:
    CHANGES = (
        ("POST", "setMachineType", {"machineType": f"zones/{ZONE}/machineTypes/e2-small"}),
        ("POST", "setScheduling", {"maxRunDuration": {"seconds": "7200"}, "instanceTerminationAction": "STOP"}),
        (
            "POST",
            "setServiceAccount",
            {"email": "default", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]},
        ),
        ("PATCH", "updateShieldedInstanceConfig", {"enableSecureBoot": True}),
    )

    @pytest.mark.parametrize(("verb", "name", "body"), CHANGES)
    def test_refused_while_running(self, world: World, verb: str, name: str, body: Any) -> None:
        before = world.create()
        error = world.call(verb, f"{VM}/{name}", body, status=400)
        assert error["errors"][0]["reason"] == "invalidResourceUsage"
        assert "STOPPED" in error["message"]
        assert world.vm() == before

    def test_machine_type(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        link = f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/machineTypes/e2-small"
        world.do("POST", f"{VM}/setMachineType", {"machineType": link})
        assert world.vm()["machineType"] == link.replace("//compute.", "//www.")
        world.do("POST", f"{VM}/start")
        assert world.guest().memory == 2 * 1024**3
        world.call("POST", f"{VM}/setMachineType", {"machineType": "e2-huge"}, status=400)

    def test_scheduling_keeps_what_is_not_given(self, world: World) -> None:
        world.create(scheduling={"maxRunDuration": {"seconds": "60"}, "instanceTerminationAction": "STOP"})
        world.do("POST", f"{VM}/stop")
        world.do("POST", f"{VM}/setScheduling", {"maxRunDuration": {"seconds": 7200}})
        scheduling = world.vm()["scheduling"]
        assert scheduling["maxRunDuration"] == {"seconds": "7200"}
        assert scheduling["instanceTerminationAction"] == "STOP"
        world.do("POST", f"{VM}/setScheduling", {"maxRunDuration": None})
        assert "maxRunDuration" not in world.vm()["scheduling"]

    def test_service_account(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        _, name, body = self.CHANGES[2]
        world.do("POST", f"{VM}/{name}", body)
        assert world.vm()["serviceAccounts"][0]["email"].endswith("-compute@developer.gserviceaccount.com")
        world.do("POST", f"{VM}/start")
        assert world.cloud.metadata.views[world.guest().internal].service_account
        world.do("POST", f"{VM}/stop")
        world.do("POST", f"{VM}/{name}", {})
        assert "serviceAccounts" not in world.vm()

    def test_shielded(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        patch_shielded(world, {"enableSecureBoot": True})
        expected = {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True}
        assert world.vm()["shieldedInstanceConfig"] == expected

    def test_the_wrong_verb_is_no_method(self, world: World) -> None:
        world.create()
        world.call("POST", f"{VM}/updateShieldedInstanceConfig", {}, status=404)


def test_disk_auto_delete_of_an_unknown_device(world: World) -> None:
    world.create()
    error = world.call("POST", f"{VM}/setDiskAutoDelete?autoDelete=true&deviceName=none", status=400)
    assert "deviceName" in error["message"]


def test_retry_with_the_same_request_id(world: World) -> None:
    before = world.create()
    body = {"labelFingerprint": before["labelFingerprint"], "labels": {"a": "1"}}
    path = f"{VM}/setLabels?requestId=3f0a2f0e-1111-4c2b-8f00-1234567890ab"
    assert world.call("POST", path, body)["name"] == world.call("POST", path, body)["name"]


class TestProjectMetadata:
    def test_shared_by_all_vms(self, world: World) -> None:
        world.create()
        before = world.call("GET", "")["commonInstanceMetadata"]
        assert "items" not in before
        body = {"fingerprint": before["fingerprint"], "items": [{"key": "ssh-keys", "value": "me:ssh-ed25519 AAAA"}]}
        done = world.do("POST", "setCommonInstanceMetadata", body)
        assert "/global/operations/" in done["selfLink"]
        assert world.call("GET", "")["commonInstanceMetadata"]["items"] == body["items"]
        view = world.cloud.metadata.views[world.guest().internal]
        assert view.project_attributes() == {"ssh-keys": "me:ssh-ed25519 AAAA"}
        assert world.cloud.metadata.woken == 1
        error = world.call("POST", "setCommonInstanceMetadata", body, status=412)
        assert error["errors"][0]["reason"] == "conditionNotMet"


class TestGuestAttributes:
    ENABLED: dict[str, Any] = {"items": [{"key": "enable-guest-attributes", "value": "true"}]}  # noqa: RUF012

    def view(self, world: World) -> Any:
        return world.cloud.metadata.views[world.guest().internal]

    def test_what_the_guest_writes_can_be_read(self, world: World) -> None:
        world.create(metadata=self.ENABLED)
        path = f"{VM}/getGuestAttributes"
        error = world.call("GET", f"{path}?queryPath=hostkeys/", status=404)
        assert error["message"] == "The resource 'hostkeys/' of type 'Guest Attribute' was not found."
        self.view(world).put_guest_attribute("hostkeys", "ssh-ed25519", "AAAA")
        self.view(world).put_guest_attribute("other", "a", "b")
        answer = world.call("GET", f"{path}?queryPath=hostkeys/")
        assert answer["queryValue"]["items"] == [{"namespace": "hostkeys", "key": "ssh-ed25519", "value": "AAAA"}]
        assert answer["queryPath"] == "hostkeys/"
        assert len(world.call("GET", path)["queryValue"]["items"]) == 2
        one = world.call("GET", f"{path}?variableKey=hostkeys/ssh-ed25519")
        assert one["variableValue"] == "AAAA"
        assert self.view(world).get_guest_attributes() == {"hostkeys": {"ssh-ed25519": "AAAA"}, "other": {"a": "b"}}
        world.do("DELETE", VM)
        world.create(metadata=self.ENABLED)
        world.call("GET", f"{path}?queryPath=hostkeys/", status=404)

    def test_switched_off(self, world: World) -> None:
        world.create()
        error = world.call("GET", f"{VM}/getGuestAttributes?queryPath=hostkeys/", status=412)
        assert error["errors"][0]["reason"] == "conditionNotMet"
        with pytest.raises(PermissionError):
            self.view(world).put_guest_attribute("a", "b", "c")
        with pytest.raises(PermissionError):
            self.view(world).get_guest_attributes()

    def test_switched_on_for_the_project(self, world: World) -> None:
        world.create()
        fingerprint = world.call("GET", "")["commonInstanceMetadata"]["fingerprint"]
        world.do("POST", "setCommonInstanceMetadata", {"fingerprint": fingerprint} | self.ENABLED)
        self.view(world).put_guest_attribute("a", "b", "c")


class TestSerialPort:
    def test_output(self, world: World) -> None:
        world.create()
        world.guest().console = "Débian boots\n".encode()
        answer = world.call("GET", f"{VM}/serialPort?port=1")
        assert (answer["contents"], answer["start"], answer["next"]) == ("Débian boots\n", "0", "14")
        more = world.call("GET", f"{VM}/serialPort?port=1&start=14")
        assert (more["contents"], more["next"]) == ("", "14")
        assert world.call("GET", f"{VM}/serialPort?start=-6")["contents"] == "boots\n"
        assert world.call("GET", f"{VM}/serialPort?port=2")["contents"] == ""
        world.call("GET", f"{VM}/serialPort?port=9", status=400)
        world.do("POST", f"{VM}/stop")
        assert world.call("GET", f"{VM}/serialPort", status=400)["errors"][0]["reason"] == "resourceNotReady"


def test_what_the_metadata_server_is_told(world: World) -> None:
    vm = world.create(tags={"items": ["web"]})
    told = world.cloud.metadata.views[world.guest().internal].instance()
    number = world.cloud.identity.project_number(PROJECT)
    assert told["id"] == int(vm["id"])
    assert told["zone"] == f"projects/{number}/zones/{ZONE}"
    assert told["machineType"] == f"projects/{number}/machineTypes/e2-micro"
    assert told["hostname"] == f"vm.{ZONE}.c.{PROJECT}.internal"
    assert told["tags"] == ["web"]
    interface = told["networkInterfaces"][0]
    assert interface["ip"] == world.guest().internal
    assert interface["accessConfigs"][0]["externalIp"] == world.guest().external


def test_an_external_address_is_taken_away_and_given_while_the_vm_runs(world: World) -> None:
    path, nic = "zones/us-central1-a/instances/vm", "networkInterface=nic0"
    world.create()
    world.call("POST", f"{path}/addAccessConfig?{nic}", {}, status=400)
    world.call("POST", f"{path}/deleteAccessConfig?{nic}&accessConfig=another", status=400)
    world.call("POST", f"{path}/deleteAccessConfig?networkInterface=nic7&accessConfig=external-nat", status=400)
    world.do("POST", f"{path}/deleteAccessConfig?{nic}&accessConfig=external-nat")
    assert "accessConfigs" not in world.vm()["networkInterfaces"][0] and world.guest().external is None
    world.do("POST", f"{path}/stop")
    world.do("POST", f"{path}/start")
    assert world.guest().external is None
    world.call("POST", f"{path}/addAccessConfig?{nic}", {"natIP": "198.51.100.9"}, status=405)
    world.do("POST", f"{path}/addAccessConfig?{nic}", {"name": "external-nat", "type": "ONE_TO_ONE_NAT"})
    (access,) = world.vm()["networkInterfaces"][0]["accessConfigs"]
    assert access["natIP"] == world.guest().external
