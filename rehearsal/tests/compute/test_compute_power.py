# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from compute_world import BASE, PROJECT, ZONE, World, vm_body
from rehearsal.services.compute import clock, operations, timers

VM = f"zones/{ZONE}/instances/vm"


def operation_types(world: World) -> list[str]:
    listed = world.call("GET", f"zones/{ZONE}/operations").get("items", [])
    return sorted(item["operationType"] for item in listed)


def nat(vm: Any) -> str | None:
    found: str | None = vm["networkInterfaces"][0]["accessConfigs"][0].get("natIP")
    return found


class TestStopAndStart:
    def test_stop(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        vm = world.vm()
        assert vm["status"] == "TERMINATED"
        assert nat(vm) is None
        assert clock.parse(vm["lastStopTimestamp"]) >= clock.parse(vm["lastStartTimestamp"])
        assert not world.guest().running
        assert world.cloud.metadata.views == {}

    def test_start_gives_another_external_address_and_keeps_the_internal_one(self, world: World) -> None:
        before = world.create()
        world.do("POST", f"{VM}/stop")
        world.do("POST", f"{VM}/start")
        after = world.vm()
        assert after["status"] == "RUNNING"
        assert nat(after) not in (None, nat(before))
        assert after["networkInterfaces"][0]["networkIP"] == before["networkInterfaces"][0]["networkIP"]
        assert world.guest().external == nat(after)
        assert after["id"] == before["id"]

    def test_both_are_harmless_when_there_is_nothing_to_do(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/start")
        assert world.guest().boots == 1
        world.do("POST", f"{VM}/stop")
        world.do("POST", f"{VM}/stop")
        assert world.guest().boots == 1

    def test_a_vm_on_its_way_is_not_ready(self, world: World) -> None:
        world.create()
        world.guests.gate.clear()
        stopping = world.call("POST", f"{VM}/stop")
        assert world.vm()["status"] == "STOPPING"
        for verb in ("start", "reset"):
            error = world.call("POST", f"{VM}/{verb}", status=400)
            assert error["message"] == f"The resource 'projects/{PROJECT}/{VM}' is not ready"
            assert error["errors"][0]["reason"] == "resourceNotReady"
        world.guests.gate.set()
        world.finish(stopping)

    def test_a_stop_waits_for_the_insert(self, world: World) -> None:
        world.guests.gate.clear()
        inserting = world.call("POST", f"zones/{ZONE}/instances", vm_body())
        stopping = world.call("POST", f"{VM}/stop")
        world.guests.gate.set()
        assert "error" not in world.finish(inserting)
        assert "error" not in world.finish(stopping)
        assert world.vm()["status"] == "TERMINATED"
        assert not world.guest().running

    def test_a_stop_that_fails_does_not_show_a_stopped_vm(self, world: World) -> None:
        world.create()
        world.guests.stubborn = True
        done = world.finish(world.call("POST", f"{VM}/stop"))
        assert "it will not go" in done["error"]["errors"][0]["message"]
        assert world.vm()["status"] == "RUNNING"

    def test_a_start_that_fails_leaves_a_stopped_vm(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        stopped = world.vm()
        world.guests.broken = "no memory"
        done = world.finish(world.call("POST", f"{VM}/start"))
        assert "no memory" in done["error"]["errors"][0]["message"]
        vm = world.vm()
        assert (vm["status"], nat(vm), vm["lastStopTimestamp"]) == ("TERMINATED", None, stopped["lastStopTimestamp"])

    def test_a_stock_out_at_start(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/stop")
        world.cloud.store.put("compute.stockouts", ZONE, {})
        done = world.finish(world.call("POST", f"{VM}/start"))
        assert done["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        assert world.vm()["status"] == "TERMINATED"

    def test_reset(self, world: World) -> None:
        before = world.create()
        world.do("POST", f"{VM}/reset")
        assert world.guest().boots == 2
        after = world.vm()
        assert (after["status"], nat(after)) == ("RUNNING", nat(before))

    def test_an_unknown_vm(self, world: World) -> None:
        for verb in ("start", "stop", "reset"):
            error = world.call("POST", f"zones/{ZONE}/instances/none/{verb}", status=404)
            assert error["message"] == f"The resource 'projects/{PROJECT}/zones/{ZONE}/instances/none' was not found"


class TestDelete:
    def test_nothing_is_left(self, world: World) -> None:
        world.create()
        done = world.do("DELETE", VM)
        assert done["operationType"] == "delete"
        world.call("GET", VM, status=404)
        world.call("GET", f"zones/{ZONE}/disks/vm", status=404)
        assert world.guests.table == {} and world.cloud.metadata.views == {}
        world.create()

    def test_a_disk_without_auto_delete_stays(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/setDiskAutoDelete?autoDelete=False&deviceName=persistent-disk-0")
        error = world.call("DELETE", f"zones/{ZONE}/disks/vm", status=400)
        assert error["errors"][0]["reason"] == "resourceInUseByAnotherResource"
        world.do("DELETE", VM)
        left = world.call("GET", f"zones/{ZONE}/disks/vm")
        assert "users" not in left
        assert len(world.guests.table) == 1 and not world.guest().running
        assert "already exists" in world.call("POST", f"zones/{ZONE}/instances", vm_body(), status=409)["message"]
        world.do("DELETE", f"zones/{ZONE}/disks/vm")
        assert world.guests.table == {}

    def test_protection(self, world: World) -> None:
        world.create()
        world.do("POST", f"{VM}/setDeletionProtection?deletionProtection=True")
        error = world.call("DELETE", VM, status=400)
        expected = "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'."
        assert error["message"] == expected
        assert error["errors"][0]["reason"] == "invalidResourceUsage"
        world.do("POST", f"{VM}/stop")
        world.call("POST", f"{VM}/setDeletionProtection?deletionProtection=None", status=400)
        world.do("POST", f"{VM}/setDeletionProtection?deletionProtection=false")
        world.do("DELETE", VM)

    def test_deleting_twice_at_the_same_time(self, world: World) -> None:
        world.create()
        world.guests.gate.clear()
        first, second = world.call("DELETE", VM), world.call("DELETE", VM)
        world.guests.gate.set()
        assert "error" not in world.finish(first)
        assert world.finish(second)["error"]["errors"][0]["code"] == "RESOURCE_NOT_FOUND"

    def test_a_delete_waits_for_the_insert(self, world: World) -> None:
        world.guests.gate.clear()
        world.call("POST", f"zones/{ZONE}/instances", vm_body())
        deleting = world.call("DELETE", VM)
        world.guests.gate.set()
        assert "error" not in world.finish(deleting)
        assert world.guests.table == {}


class TestGuestEnds:
    def test_power_off_inside_the_guest(self, world: World) -> None:
        world.create()
        world.guests.power_off(world.guest_id())
        world.until(lambda: world.vm()["status"] == "TERMINATED")
        vm = world.vm()
        assert nat(vm) is None and "lastStopTimestamp" in vm
        assert "compute.instances.guestTerminate" in operation_types(world)
        listed = world.call("GET", f"zones/{ZONE}/operations")["items"]
        event = next(item for item in listed if item["operationType"] == "compute.instances.guestTerminate")
        assert event["user"] == "system" and event["name"].startswith("systemevent-")
        world.do("POST", f"{VM}/start")
        assert world.vm()["status"] == "RUNNING"

    def test_a_guest_that_ends_while_it_starts(self, world: World) -> None:
        start = world.guests.start

        def flash(guest_id: str, external_ip: str | None = None) -> None:
            start(guest_id, external_ip)
            world.guests.power_off(guest_id)

        world.guests.start = flash  # type: ignore[method-assign]
        world.do("POST", f"zones/{ZONE}/instances", vm_body())
        world.until(lambda: world.vm()["status"] == "TERMINATED")

    def test_an_unknown_guest(self, world: World) -> None:
        world.guests.on_power_off("vm-nobody-knows")


class TestRunDuration:
    @pytest.fixture
    def time_machine(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        offset = [0.0]
        monkeypatch.setattr(clock, "now", lambda: time.time() + offset[0])

        def travel(world: World, seconds: float) -> None:
            offset[0] += seconds
            operations.notify(world.cloud)

        return travel

    def test_the_run_ends(self, world: World, time_machine: Any) -> None:
        scheduling = {"maxRunDuration": {"seconds": "3600"}, "instanceTerminationAction": "STOP"}
        vm = world.create(scheduling=scheduling)
        ends = clock.parse(vm["resourceStatus"]["scheduling"]["terminationTimestamp"])
        assert abs(ends - clock.parse(vm["lastStartTimestamp"]) - 3600) < 0.01
        time_machine(world, 3590)
        timers.Timers(world.cloud).act()
        assert world.vm()["status"] == "RUNNING"
        time_machine(world, 20)
        world.until(lambda: world.vm()["status"] == "TERMINATED")
        vm = world.vm()
        assert "scheduling" not in vm["resourceStatus"]
        assert not world.guest().running
        # Per run, not once: the next start has a deadline of its own.
        world.do("POST", f"{VM}/start")
        vm = world.vm()
        assert clock.parse(vm["resourceStatus"]["scheduling"]["terminationTimestamp"]) > clock.now() + 3500

    def test_with_action_delete(self, world: World, time_machine: Any) -> None:
        world.create(scheduling={"maxRunDuration": {"seconds": 60}, "instanceTerminationAction": "DELETE"})
        time_machine(world, 61)
        world.until(lambda: not world.guests.table)
        world.until(lambda: "items" not in world.call("GET", f"zones/{ZONE}/instances"))

    def test_a_restart_of_the_cloud_does_not_extend_the_run(self, world: World, time_machine: Any) -> None:
        before = world.create(scheduling={"maxRunDuration": {"seconds": 60}})
        time_machine(world, 30)
        world.restart()
        assert world.vm()["resourceStatus"] == before["resourceStatus"]
        world.stop()
        time_machine(world, 31)
        world.start()
        world.until(lambda: world.vm()["status"] == "TERMINATED")

    def test_a_stopped_vm_has_no_deadline(self, world: World, time_machine: Any) -> None:
        world.create(scheduling={"maxRunDuration": {"seconds": 60}})
        world.do("POST", f"{VM}/stop")
        time_machine(world, 3600)
        timers.Timers(world.cloud).act()
        assert operation_types(world) == ["insert", "stop"]

    def test_a_time_that_has_passed(self, world: World, time_machine: Any) -> None:
        world.create(scheduling={"terminationTime": clock.timestamp(clock.now() + 100)})
        world.do("POST", f"{VM}/stop")
        time_machine(world, 200)
        assert "has passed" in world.call("POST", f"{VM}/start", status=400)["message"]


class TestRestart:
    def die_and_come_back(self, world: World) -> None:
        """The old control plane's thread stays parked at its gate, as good as dead; a new one comes up."""
        world.until(lambda: world.guests.parked)
        world.cloud.guests = type(world.guests)(table=world.guests.table)
        world.start()

    def test_who_ran_runs_again_as_before(self, world: World) -> None:
        before = world.create()
        world.create("off")
        world.do("POST", f"zones/{ZONE}/instances/off/stop")
        world.stop()
        assert not world.guest().running
        world.cloud.metadata.views.clear()
        world.start()
        assert world.vm() == before
        assert world.guest().running and world.guest().external == nat(before)
        assert not world.guest("off").running
        assert list(world.cloud.metadata.views) == [world.guest().internal]
        assert "compute.instances.guestTerminate" not in operation_types(world)

    def test_a_guest_that_survived_is_left_alone(self, world: World) -> None:
        world.create()
        world.start()
        assert world.guest().boots == 1

    def test_a_guest_that_does_not_come_back(self, world: World) -> None:
        world.create()
        world.stop()
        world.guests.broken = "lost"
        world.start()
        assert world.vm()["status"] == "TERMINATED"
        assert "compute.instances.hostError" in operation_types(world)

    def test_an_interrupted_insert_leaves_nothing(self, world: World) -> None:
        world.guests.gate.clear()
        operation = world.call("POST", f"zones/{ZONE}/instances", vm_body())
        world.until(lambda: world.vm()["status"] == "STAGING")
        self.die_and_come_back(world)
        ended = world.finish(operation)
        assert ended["status"] == "DONE"
        assert "restarted" in ended["error"]["errors"][0]["message"]
        world.call("GET", VM, status=404)
        assert world.guests.table == {}

    @pytest.mark.parametrize("verb", ["stop", "start"])
    def test_an_interrupted_change_settles(self, world: World, verb: str) -> None:
        world.create()
        if verb == "start":
            world.do("POST", f"{VM}/stop")
        world.guests.gate.clear()
        operation = world.call("POST", f"{VM}/{verb}")
        self.die_and_come_back(world)
        assert "error" in world.finish(operation)
        assert world.vm()["status"] == "TERMINATED"
        world.do("POST", f"{VM}/start")

    def test_an_interrupted_delete_is_finished(self, world: World) -> None:
        world.create()
        world.guests.gate.clear()
        world.call("DELETE", VM)
        self.die_and_come_back(world)
        world.call("GET", VM, status=404)
        assert world.guests.table == {}


def test_wait_returns_when_it_is_done(world: World) -> None:
    world.guests.gate.clear()
    operation = world.call("POST", f"zones/{ZONE}/instances", vm_body())
    assert operations.wait(world.cloud, PROJECT, f"zones/{ZONE}", operation["name"], 0.05)["status"] != "DONE"
    threading.Timer(0.05, world.guests.gate.set).start()
    # Longer than any test may take: it returns because of the end, not of the time.
    assert operations.wait(world.cloud, PROJECT, f"zones/{ZONE}", operation["name"], 10_000)["status"] == "DONE"
    assert world.call("POST", f"{BASE}/{PROJECT}/zones/{ZONE}/operations/{operation['name']}/wait")["status"] == "DONE"
