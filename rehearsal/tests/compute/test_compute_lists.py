# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from urllib.parse import quote

import pytest

from compute_world import BASE, PROJECT, ZONE, World
from rehearsal.services.compute import catalogue


@pytest.fixture
def five(world: World) -> World:
    for name in ("vm-a", "vm-b", "vm-c"):
        world.create(name, labels={"app": "fanops-m4"})
    world.create("vm-d", zone="us-west1-b")
    world.create("vm-e", zone="europe-west1-b", labels={"app": "fanops-m4"})
    world.do("POST", f"zones/{ZONE}/instances/vm-b/stop")
    return world


def names(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["name"] for item in answer.get("items", [])]


def test_list(five: World) -> None:
    answer = five.call("GET", f"zones/{ZONE}/instances")
    assert names(answer) == ["vm-a", "vm-b", "vm-c"]
    assert answer["kind"] == "compute#instanceList"
    assert answer["selfLink"] == f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances"


def test_filter(five: World) -> None:
    asked = quote("(labels.app = fanops-m4) (status = RUNNING)")
    assert names(five.call("GET", f"zones/{ZONE}/instances?filter={asked}")) == ["vm-a", "vm-c"]
    error = five.call("GET", f"zones/{ZONE}/instances?filter=status", status=400)
    assert error["message"] == "Invalid value for field 'filter': 'status'. Invalid list filter expression."


def test_pages(five: World) -> None:
    first = five.call("GET", f"zones/{ZONE}/instances?maxResults=2")
    assert names(first) == ["vm-a", "vm-b"]
    # A page token names a place, not a number: what is deleted meanwhile shifts nothing.
    five.do("DELETE", f"zones/{ZONE}/instances/vm-a")
    second = five.call("GET", f"zones/{ZONE}/instances?maxResults=2&pageToken={quote(first['nextPageToken'])}")
    assert names(second) == ["vm-c"] and "nextPageToken" not in second
    five.call("GET", f"zones/{ZONE}/instances?pageToken=x", status=400)
    five.call("GET", f"zones/{ZONE}/instances?maxResults=501", status=400)


def test_order(five: World) -> None:
    newest = five.call("GET", f"zones/{ZONE}/instances?orderBy=creationTimestamp%20desc&maxResults=2")
    assert names(newest) == ["vm-c", "vm-b"]
    token = quote(newest["nextPageToken"])
    rest = five.call("GET", f"zones/{ZONE}/instances?orderBy=creationTimestamp%20desc&maxResults=2&pageToken={token}")
    assert names(rest) == ["vm-a"]
    five.call("GET", f"zones/{ZONE}/instances?orderBy=status", status=400)


def test_aggregated(five: World) -> None:
    answer = five.call("GET", "aggregated/instances?includeAllScopes=True&maxResults=500&returnPartialSuccess=True")
    assert set(answer["items"]) == {f"zones/{zone}" for zone in catalogue.ZONES}
    found = {
        scope: [vm["name"] for vm in part["instances"]]
        for scope, part in answer["items"].items()
        if "instances" in part
    }
    assert found == {
        f"zones/{ZONE}": ["vm-a", "vm-b", "vm-c"],
        "zones/us-west1-b": ["vm-d"],
        "zones/europe-west1-b": ["vm-e"],
    }
    warning = answer["items"]["zones/us-central1-f"]["warning"]
    assert warning["code"] == "NO_RESULTS_ON_PAGE"
    assert warning["message"] == "There are no results for scope 'zones/us-central1-f' on this page."


def test_aggregated_pages(five: World) -> None:
    seen, token = [], ""
    for _ in range(3):
        answer = five.call(
            "GET",
            f"aggregated/instances?maxResults=2&pageToken={quote(token)}"
            if token
            else "aggregated/instances?maxResults=2",
        )
        seen += [vm["name"] for part in answer["items"].values() for vm in part.get("instances", [])]
        token = answer.get("nextPageToken", "")
    assert sorted(seen) == ["vm-a", "vm-b", "vm-c", "vm-d", "vm-e"] and not token


def test_an_empty_project(world: World) -> None:
    answer = world.call("GET", "aggregated/instances?filter=")
    assert answer["items"] and all("warning" in part for part in answer["items"].values())
    assert "items" not in world.call("GET", f"zones/{ZONE}/instances")


def test_another_project_sees_nothing(five: World) -> None:
    error = five.call("GET", f"{BASE}/foreign-project/aggregated/instances", status=403)
    assert error["code"] == 403


def test_both_hosts(five: World) -> None:
    www = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances/vm-a"
    assert five.call("GET", www) == five.vm("vm-a")


class TestCatalogue:
    def test_zones(self, world: World) -> None:
        listed = world.call("GET", "zones")
        assert sorted(names(listed)) == sorted(catalogue.ZONES)
        zone = world.call("GET", f"zones/{ZONE}")
        assert zone in listed["items"]
        assert zone["region"].endswith("/regions/us-central1")
        error = world.call("GET", "zones/us-central1-z", status=404)
        assert error["message"] == f"The resource 'projects/{PROJECT}/zones/us-central1-z' was not found"

    def test_regions(self, world: World) -> None:
        region = world.call("GET", "regions/us-west1")
        assert [link.rpartition("/")[2] for link in region["zones"]] == ["us-west1-a", "us-west1-b", "us-west1-c"]
        assert sorted(names(world.call("GET", "regions"))) == sorted(catalogue.REGIONS)
        world.call("GET", "regions/mars", status=404)

    def test_machine_types(self, world: World) -> None:
        micro = world.call("GET", f"zones/{ZONE}/machineTypes/e2-micro")
        assert (micro["guestCpus"], micro["memoryMb"], micro["isSharedCpu"]) == (2, 1024, True)
        assert micro in world.call("GET", f"zones/{ZONE}/machineTypes")["items"]
        world.call("GET", f"zones/{ZONE}/machineTypes/e2-nano", status=404)
        everywhere = world.call("GET", "aggregated/machineTypes?filter=name%20%3D%20e2-micro")
        assert all(part["machineTypes"][0]["name"] == "e2-micro" for part in everywhere["items"].values())

    def test_disk_types(self, world: World) -> None:
        assert names(world.call("GET", f"zones/{ZONE}/diskTypes")) == ["pd-balanced", "pd-ssd", "pd-standard"]
        assert world.call("GET", f"zones/{ZONE}/diskTypes/pd-ssd")["name"] == "pd-ssd"
        world.call("GET", f"zones/{ZONE}/diskTypes/none", status=404)

    def test_networks(self, world: World) -> None:
        network = world.call("GET", "global/networks/default")
        assert len(network["subnetworks"]) == len(catalogue.REGIONS)
        assert names(world.call("GET", "global/networks")) == ["default"]
        subnetwork = world.call("GET", "regions/us-central1/subnetworks/default")
        assert subnetwork["selfLink"] in network["subnetworks"]
        assert world.call("GET", "regions/us-central1/subnetworks")["items"] == [subnetwork]
        every = world.call("GET", "aggregated/subnetworks")["items"]
        assert every["regions/us-central1"]["subnetworks"] == [subnetwork]
        world.call("GET", "global/networks/none", status=404)
        world.call("GET", "regions/us-central1/subnetworks/none", status=404)

    def test_disks(self, five: World) -> None:
        assert names(five.call("GET", f"zones/{ZONE}/disks")) == ["vm-a", "vm-b", "vm-c"]
        every = five.call("GET", "aggregated/disks?maxResults=500&filter=")["items"]
        assert every["zones/us-west1-b"]["disks"][0]["name"] == "vm-d"

    def test_operations_of_all_scopes(self, five: World) -> None:
        every = five.call("GET", "aggregated/operations")["items"]
        assert len(every[f"zones/{ZONE}"]["operations"]) == 4
        assert "warning" in every["global"]


def test_an_image_has_its_family(world: World) -> None:
    images = "https://compute.googleapis.com/compute/v1/projects/debian-cloud/global/images"
    newest = world.call("GET", f"{images}/family/debian-12")
    assert world.call("GET", f"{images}/{newest['name']}") == newest
    assert newest["family"] == "debian-12"
    world.call("GET", f"{images}/debian-12-of-yesterday", status=404)
