# SPDX-License-Identifier: GPL-3.0-or-later
"""The knobs of `rehearsal trouble`, set on the command line and met by the control plane."""

from __future__ import annotations

import io
import json
import tarfile
import time
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from compute_world import BASE, PROJECT, ZONE, World, vm_body
from rehearsal import cli
from rehearsal.services.serviceusage import services

USAGE = f"https://serviceusage.googleapis.com/v1/projects/{PROJECT}/services"
VM = f"zones/{ZONE}/instances/vm"


@pytest.fixture
def trouble(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `rehearsal trouble …` on the world's own state; returns what it printed."""
    monkeypatch.setattr(cli, "load", lambda: world.cloud.settings)

    def run(*arguments: str) -> str:
        assert cli.main(["trouble", *arguments]) == 0
        return capsys.readouterr().out

    return run


def error_of(world: World, zone: str = ZONE) -> str:
    ended = world.finish(world.call("POST", f"zones/{zone}/instances", vm_body("vm", zone)))
    return str(ended["error"]["errors"][0]["code"]) if "error" in ended else ""


def test_a_stockout_lasts_as_often_as_asked_and_only_for_its_type(world: World, trouble: Any) -> None:
    trouble("set", "stockout", ZONE, "--machine-type", "e2-micro", "--times", "2")
    assert [error_of(world)[:12] for _ in range(3)] == ["ZONE_RESOURC", "ZONE_RESOURC", ""]
    assert json.loads(trouble("list", "--output", "json")) == {"stockout": {"set": {}, "met": 2}}
    trouble("set", "stockout", "us-central1-b", "--machine-type", "e2-small")
    assert error_of(world, "us-central1-b") == ""


def test_quotas_add_up_and_are_cleared(world: World, trouble: Any) -> None:
    trouble("set", "quota", "CPUS", "0")
    trouble("set", "quota", "DISKS_TOTAL_GB", "5")
    shown = {quota["metric"]: quota["limit"] for quota in world.call("GET", "regions/us-central1")["quotas"]}
    assert (shown["CPUS"], shown["DISKS_TOTAL_GB"], shown["INSTANCES"]) == (0, 5, 240)
    assert error_of(world) == "QUOTA_EXCEEDED"
    trouble("clear", "quota")
    assert error_of(world) == ""


def test_an_api_just_enabled_is_refused_for_a_while(
    world: World, trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(services, "time", SimpleNamespace(time=lambda: now[0]))
    url = "https://cloudfunctions.googleapis.com/v2/projects/fanops-rehearsal/locations/us-central1/runtimes"
    trouble("set", "api-delay", "30")
    world.call("POST", f"{USAGE}/cloudfunctions.googleapis.com:enable", {})
    assert world.call("GET", f"{USAGE}/cloudfunctions.googleapis.com")["state"] == "ENABLED"
    assert "SERVICE_DISABLED" in json.dumps(world.call("GET", url, status=403))
    now[0] += 31
    assert "SERVICE_DISABLED" not in json.dumps(json.loads(world.ask("GET", url).get_data()))
    # Enabling what is enabled already does not begin the delay anew.
    world.call("POST", f"{USAGE}/cloudfunctions.googleapis.com:enable", {})
    assert "SERVICE_DISABLED" not in json.dumps(json.loads(world.ask("GET", url).get_data()))


def test_without_billing_nothing_is_served_or_enabled(world: World, trouble: Any) -> None:
    trouble("set", "billing")
    info = world.call("GET", f"https://cloudbilling.googleapis.com/v1/projects/{PROJECT}/billingInfo")
    assert not info.get("billingEnabled")
    assert "requires billing to be enabled" in world.call("GET", VM, status=403)["message"]
    body = {"serviceIds": ["compute.googleapis.com", "run.googleapis.com"]}
    refused = world.call("POST", f"{USAGE}:batchEnable", body, status=400)
    assert "'run.googleapis.com' to proceed" in refused["message"]
    trouble("clear", "billing")
    assert world.call("GET", VM, status=404)


def test_os_login_by_metadata_and_by_policy(world: World, trouble: Any) -> None:
    off = {"items": [{"key": "enable-oslogin", "value": "FALSE"}]}
    policy = f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}:getEffectiveOrgPolicy"
    constraint = {"constraint": "constraints/compute.requireOsLogin"}
    trouble("set", "oslogin")
    items = world.call("GET", "")["commonInstanceMetadata"]["items"]
    assert items == [{"key": "enable-oslogin", "value": "TRUE"}]
    assert not world.call("POST", policy, constraint)["booleanPolicy"]
    world.create("first", metadata=off)
    trouble("set", "orgpolicy", "compute.requireOsLogin")
    assert world.call("POST", policy, constraint)["booleanPolicy"] == {"enforced": True}
    refused = world.call("POST", f"zones/{ZONE}/instances", vm_body(metadata=off), status=412)
    assert "constraints/compute.requireOsLogin violated" in refused["message"]
    trouble("clear")
    assert "items" not in world.call("GET", "")["commonInstanceMetadata"]
    world.create(metadata=off)


def test_a_troublesome_boot_is_one_boot_and_leaves_nothing(world: World, trouble: Any) -> None:
    trouble("set", "dpkg-lock", "60")
    trouble("set", "nologin", "20", "--boots", "2")
    trouble("set", "late-ssh", "7")
    world.create()
    with tarfile.open(fileobj=io.BytesIO(world.guest().unpacked)) as archive:
        texts = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
        contents = {name.rpartition("/")[2]: file.read().decode() for name, file in texts.items() if file}
        links = {entry.name: entry.linkname for entry in archive if entry.issym()}
    assert "time.sleep(60)" in contents["trouble-dpkg-lock.service"]
    assert "sleep 20" in contents["trouble-nologin.service"] and "sleep 7" in contents["90-late.conf"]
    for wanted, unit in links.items():
        assert f"rm -f /{wanted} {unit}" in contents[unit.rpartition("/")[2]]
    assert json.loads(trouble("list", "--output", "json"))["nologin"] == {
        "set": {"": {"seconds": 20.0, "boots": 1}},
        "met": 1,
    }
    for boots_left in (True, False):
        world.guest().unpacked = b""
        world.do("POST", f"{VM}/stop")
        world.do("POST", f"{VM}/start")
        assert bool(world.guest().unpacked) == boots_left


def test_googles_clock_can_be_elsewhere(world: World, trouble: Any) -> None:
    trouble("set", "clock", "-600")
    before = time.time()
    answer = world.ask("GET", f"{BASE}/{PROJECT}/zones")
    assert before - 601 <= parsedate_to_datetime(answer.headers["Date"]).timestamp() <= time.time() - 600
    trouble("clear", "clock")
    assert "Date" not in world.ask("GET", f"{BASE}/{PROJECT}/zones").headers


@pytest.mark.parametrize(
    "arguments",
    [("set", "stockout", "us-nowhere1-a"), ("set", "iam-delay", "-1"), ("set", "nonsense"), ("clear", "nonsense")],
)
def test_what_cannot_be_is_refused(
    trouble: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        trouble(*arguments)
    assert ended.value.code == 2 and "error:" in capsys.readouterr().err
