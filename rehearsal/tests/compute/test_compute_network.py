# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from compute_world import PROJECT, ZONE, World, vm_body
from rehearsal.services.compute import addresses

RULES = "global/firewalls"
RULE: dict[str, Any] = {
    "name": "allow-web",
    "network": "global/networks/default",
    "allowed": [{"IPProtocol": "tcp", "ports": ["80", "8000-8100"]}],
    "sourceRanges": ["192.0.2.0/24"],
    "targetTags": ["web"],
}


class TestFirewalls:
    def test_the_rules_of_a_new_project(self, world: World) -> None:
        found = {rule["name"]: rule for rule in world.call("GET", RULES)["items"]}
        assert set(found) == {"default-allow-icmp", "default-allow-internal", "default-allow-rdp", "default-allow-ssh"}
        assert found["default-allow-ssh"]["priority"] == 65534
        world.do("DELETE", f"{RULES}/default-allow-rdp")
        assert "default-allow-rdp" not in [rule["name"] for rule in world.call("GET", RULES)["items"]]

    def test_life_of_a_rule(self, world: World) -> None:
        done = world.do("POST", RULES, RULE)
        assert "/global/operations/" in done["selfLink"]
        rule = world.call("GET", f"{RULES}/allow-web")
        assert (rule["priority"], rule["direction"], rule["disabled"]) == (1000, "INGRESS", False)
        assert rule["network"] == f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/default"
        assert world.call("POST", RULES, RULE, status=409)["errors"][0]["reason"] == "alreadyExists"
        world.do("PATCH", f"{RULES}/allow-web", {"sourceRanges": ["198.51.100.0/24"], "priority": 900})
        patched = world.call("GET", f"{RULES}/allow-web")
        expected = rule | {"sourceRanges": ["198.51.100.0/24"], "priority": 900}
        assert patched == expected
        world.do("PUT", f"{RULES}/allow-web", {"name": "allow-web", "denied": [{"IPProtocol": "all"}]})
        replaced = world.call("GET", f"{RULES}/allow-web")
        assert "allowed" not in replaced and replaced["sourceRanges"] == ["0.0.0.0/0"] and replaced["id"] == rule["id"]
        world.do("DELETE", f"{RULES}/allow-web")
        world.call("GET", f"{RULES}/allow-web", status=404)
        world.call("DELETE", f"{RULES}/allow-web", status=404)

    def test_patch_replaces_allowed_by_denied(self, world: World) -> None:
        world.do("POST", RULES, RULE)
        world.do("PATCH", f"{RULES}/allow-web", {"denied": [{"IPProtocol": "tcp"}]})
        assert "allowed" not in world.call("GET", f"{RULES}/allow-web")

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "Bad"},
            {"allowed": []},
            {"denied": [{"IPProtocol": "tcp"}]},
            {"network": "global/networks/none"},
            {"allowed": [{"IPProtocol": "nonsense"}]},
            {"allowed": [{"IPProtocol": "icmp", "ports": ["1"]}]},
            {"allowed": [{"IPProtocol": "tcp", "ports": ["99999"]}]},
            {"allowed": [{"IPProtocol": "tcp", "ports": ["90-80"]}]},
            {"allowed": [{"IPProtocol": "tcp", "ports": ["ssh"]}]},
            {"sourceRanges": ["10.0.0.1/8"]},
            {"sourceRanges": ["everywhere"]},
            {"targetTags": ["Web"]},
            {"priority": 70000},
            {"direction": "EGRESS"},
        ],
    )
    def test_refused(self, world: World, changes: dict[str, Any]) -> None:
        world.call("POST", RULES, RULE | changes, status=400)
        world.call("GET", f"{RULES}/allow-web", status=404)


class TestAddresses:
    PATH = "regions/us-central1/addresses"

    def test_life_of_a_static_address(self, world: World) -> None:
        world.do("POST", self.PATH, {"name": "front", "labels": {"app": "fanops-m4"}})
        static = world.call("GET", f"{self.PATH}/front")
        assert (static["status"], static["addressType"]) == ("RESERVED", "EXTERNAL")
        interface = {"accessConfigs": [{"natIP": static["address"], "type": "ONE_TO_ONE_NAT", "name": "n"}]}
        vm = world.create(networkInterfaces=[interface])
        assert vm["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == static["address"]
        assert world.call("GET", f"{self.PATH}/front")["users"] == [vm["selfLink"]]
        taken = world.call("POST", f"zones/{ZONE}/instances", vm_body("two", networkInterfaces=[interface]), status=400)
        assert "already in-use" in taken["message"]
        assert (
            world.call("DELETE", f"{self.PATH}/front", status=400)["errors"][0]["reason"]
            == "resourceInUseByAnotherResource"
        )
        world.do("POST", f"zones/{ZONE}/instances/vm/stop")
        world.do("POST", f"zones/{ZONE}/instances/vm/start")
        assert world.vm()["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == static["address"]
        world.do("DELETE", f"zones/{ZONE}/instances/vm")
        assert world.call("GET", f"{self.PATH}/front")["status"] == "RESERVED"
        world.do("DELETE", f"{self.PATH}/front")
        world.call("GET", f"{self.PATH}/front", status=404)

    def test_lists(self, world: World) -> None:
        world.do("POST", self.PATH, {"name": "front"})
        assert [item["name"] for item in world.call("GET", self.PATH)["items"]] == ["front"]
        every = world.call("GET", "aggregated/addresses")["items"]
        assert every["regions/us-central1"]["addresses"][0]["name"] == "front"
        assert "items" not in world.call("GET", "regions/us-east1/addresses")

    def test_refused(self, world: World) -> None:
        world.do("POST", self.PATH, {"name": "front"})
        world.call("POST", self.PATH, {"name": "front"}, status=409)
        world.call("POST", self.PATH, {"name": "Front"}, status=400)
        world.call("POST", "regions/mars/addresses", {"name": "x"}, status=400)
        world.call("POST", self.PATH, {"name": "x", "addressType": "INTERNAL"}, status=405)
        world.cloud.store.put("compute.quotas", "us-central1", {"STATIC_ADDRESSES": 1})
        assert world.call("POST", self.PATH, {"name": "x"}, status=403)["errors"][0]["reason"] == "quotaExceeded"

    def test_external_addresses_go_round(self, world: World) -> None:
        with world.cloud.store.lock:
            taken = [addresses.take_external(world.cloud) for _ in range(255)]
        assert len(set(taken[:254])) == 254 and taken[254] == taken[0]
        assert all(ip_address(address) in addresses.EXTERNAL for address in taken)


class TestResourcePolicies:
    PATH = "regions/us-central1/resourcePolicies"
    SCHEDULE: dict[str, Any] = {  # noqa: RUF012
        "name": "nights",
        "instanceSchedulePolicy": {"timeZone": "Europe/Paris", "vmStopSchedule": {"schedule": "0 20 * * *"}},
    }

    def test_life_of_a_schedule(self, world: World) -> None:
        world.let_schedules_act()
        done = world.do("POST", self.PATH, self.SCHEDULE)
        assert "/regions/us-central1/operations/" in done["selfLink"]
        policy = world.call("GET", f"{self.PATH}/nights")
        assert policy["status"] == "READY"
        before = policy["resourceStatus"]["instanceSchedulePolicy"]["nextRunStartTime"]
        later = self.SCHEDULE["instanceSchedulePolicy"] | {"vmStopSchedule": {"schedule": "0 21 * * *"}}
        world.do("PATCH", f"{self.PATH}/nights", {"instanceSchedulePolicy": later, "description": "Later"})
        policy = world.call("GET", f"{self.PATH}/nights")
        assert (policy["instanceSchedulePolicy"], policy["description"]) == (later, "Later")
        assert before != policy["resourceStatus"]["instanceSchedulePolicy"]["nextRunStartTime"]
        vm = world.create(resourcePolicies=[policy["selfLink"]])
        assert vm["resourcePolicies"] == [policy["selfLink"]]
        world.call("DELETE", f"{self.PATH}/nights", status=400)
        path = f"zones/{ZONE}/instances/vm"
        world.do("POST", f"{path}/removeResourcePolicies", {"resourcePolicies": [policy["selfLink"]]})
        assert "resourcePolicies" not in world.vm()
        world.do("POST", f"{path}/addResourcePolicies", {"resourcePolicies": [f"{self.PATH}/nights"]})
        world.do("POST", self.PATH, self.SCHEDULE | {"name": "other"})
        second = {"resourcePolicies": [f"{self.PATH}/other"]}
        assert "at most one" in world.call("POST", f"{path}/addResourcePolicies", second, status=400)["message"]
        world.do("DELETE", path)
        world.do("DELETE", f"{self.PATH}/nights")
        assert [item["name"] for item in world.call("GET", self.PATH)["items"]] == ["other"]

    @pytest.mark.parametrize(
        "schedule",
        [
            {"timeZone": "Europe/Paris"},
            {"timeZone": "Mars/Olympus", "vmStopSchedule": {"schedule": "0 20 * * *"}},
            {"timeZone": "UTC", "vmStopSchedule": {"schedule": "tonight"}},
            {"timeZone": "UTC", "vmStopSchedule": {"schedule": "0 20 * * *"}, "expirationTime": "never"},
        ],
    )
    def test_refused(self, world: World, schedule: dict[str, Any]) -> None:
        world.call("POST", self.PATH, {"name": "x", "instanceSchedulePolicy": schedule}, status=400)

    def test_a_schedule_of_another_region(self, world: World) -> None:
        world.do("POST", "regions/us-east1/resourcePolicies", self.SCHEDULE)
        body = vm_body(resourcePolicies=["regions/us-east1/resourcePolicies/nights"])
        assert "region" in world.call("POST", f"zones/{ZONE}/instances", body, status=400)["message"]
        body = vm_body(resourcePolicies=["regions/us-central1/resourcePolicies/nights"])
        world.call("POST", f"zones/{ZONE}/instances", body, status=404)
