# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from typing import Any

import pytest

from compute_world import PROJECT, ZONE, World, vm_body

WWW = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
DISK = {"boot": True, "autoDelete": True}


def disk(**parameters: Any) -> list[dict[str, Any]]:
    given = {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"} | parameters
    return [DISK | {"initializeParams": given}]


def test_a_vm_is_made_and_runs(world: World) -> None:
    vm = world.create(
        labels={"app": "fanops-m4"},
        metadata={"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        tags={"items": ["ssh"]},
        disks=disk(diskSizeGb=30, diskType=f"{WWW}/zones/{ZONE}/diskTypes/pd-standard"),
    )
    assert vm["status"] == "RUNNING"
    assert vm["machineType"] == f"{WWW}/zones/{ZONE}/machineTypes/e2-micro"
    assert vm["selfLink"] == f"{WWW}/zones/{ZONE}/instances/vm"
    assert vm["disks"][0]["diskSizeGb"] == "30"
    assert vm["networkInterfaces"][0]["network"] == f"{WWW}/global/networks/default"
    access = vm["networkInterfaces"][0]["accessConfigs"][0]
    assert access["name"] == "external-nat"
    assert access["natIP"].startswith("198.51.100.")
    assert vm["networkInterfaces"][0]["networkIP"].startswith("10.128.")
    assert "lastStartTimestamp" in vm and "lastStopTimestamp" not in vm
    for fingerprint in (
        vm["fingerprint"],
        vm["labelFingerprint"],
        vm["metadata"]["fingerprint"],
        vm["tags"]["fingerprint"],
    ):
        assert len(base64.urlsafe_b64decode(fingerprint)) == 8
    guest = world.guest()
    assert (guest.running, guest.family, guest.memory) == (True, "debian-12", 1024**3)
    assert (guest.external, guest.internal) == (access["natIP"], vm["networkInterfaces"][0]["networkIP"])


def test_the_operation_has_what_clients_read(world: World) -> None:
    world.guests.gate.clear()
    operation = world.call("POST", f"zones/{ZONE}/instances", vm_body())
    assert operation["status"] in ("PENDING", "RUNNING")
    assert operation["operationType"] == "insert"
    assert operation["targetLink"] == f"{WWW}/zones/{ZONE}/instances/vm"
    assert operation["zone"] == f"{WWW}/zones/{ZONE}"
    assert operation["user"] == world.cloud.identity.owner
    running = world.until(lambda: _progressed(world, operation["name"]))
    assert running["statusMessage"] == "Starting the guest"
    assert world.vm()["status"] in ("PROVISIONING", "STAGING")
    world.guests.gate.set()
    done = world.finish(operation)
    assert (done["status"], done["progress"]) == ("DONE", 100)
    assert done["insertTime"] <= done["startTime"] <= done["endTime"]
    assert done["targetId"] == world.vm()["id"]
    assert world.call("GET", f"zones/{ZONE}/operations/{done['name']}") == done
    listed = world.call("GET", f"zones/{ZONE}/operations?filter=operationType%20%3D%20insert")
    assert [item["name"] for item in listed["items"]] == [done["name"]]
    world.call("GET", f"zones/us-central1-b/operations/{done['name']}", status=404)
    world.call("GET", f"global/operations/{done['name']}", status=404)


def _progressed(world: World, name: str) -> Any:
    operation = world.call("GET", f"zones/{ZONE}/operations/{name}")
    return operation if operation["progress"] == 80 else None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "Bad_Name"}, "Invalid value for field 'resource.name': 'Bad_Name'. Must be a match of regex"),
    ({"name": None}, "Invalid value for field 'resource.name'"),
    (
        {"machineType": f"zones/{ZONE}/machineTypes/e2-nano"},
        f"Machine type with name 'e2-nano' does not exist in zone '{ZONE}'.",
    ),
    ({"machineType": "e2-micro"}, "The URL is malformed."),
    ({"machineType": None}, "The URL is malformed."),
    ({"machineType": "zones/us-central1-b/machineTypes/e2-micro"}, "Cross-zone reference"),
    ({"disks": None}, "At least one disk"),
    (
        {"disks": [{"boot": False, "initializeParams": {}}]},
        "Boot disk must be the first disk attached to the instance.",
    ),
    ({"disks": disk(sourceImage="")}, "sourceImage"),
    (
        {"disks": disk(sourceImage="debian-12")},
        "Invalid value for field 'resource.disks[0].initializeParams.sourceImage': 'debian-12'. The URL is malformed.",
    ),
    ({"disks": disk(diskSizeGb="5")}, "Requested disk size cannot be smaller than the image size (10 GB)"),
    ({"disks": disk(diskType=f"zones/{ZONE}/diskTypes/pd-fast")}, "Disk type with name 'pd-fast' does not exist"),
    ({"networkInterfaces": None}, "At least one network interface"),
    (
        {"networkInterfaces": [{"network": "global/networks/other"}]},
        "Invalid value for field 'resource.networkInterfaces[0].network': 'global/networks/other'. "
        "The referenced network resource cannot be found.",
    ),
    (
        {"networkInterfaces": [{"subnetwork": "regions/us-east1/subnetworks/default"}]},
        "The referenced subnetwork resource",
    ),
    ({"networkInterfaces": [{"networkIP": "192.168.0.9"}]}, "outside the subnetwork's range"),
    ({"networkInterfaces": [{"accessConfigs": [{"natIP": "198.51.100.77"}]}]}, "was not found in region 'us-central1'"),
    ({"labels": {"App": "x"}}, "Label key 'App' violates format constraints"),
    ({"tags": {"items": ["Web"]}}, "resource.tags.items[0]"),
    ({"metadata": {"items": [{"key": "a"}, {"key": "a"}]}}, "Duplicate metadata key"),
    ({"scheduling": {"maxRunDuration": {"seconds": "5"}}}, "Must be between 30 seconds"),
    ({"serviceAccounts": [{"email": "default", "scopes": []}]}, "At least one scope"),
    ({"serviceAccounts": [{"email": "default", "scopes": ["cloud-platform"]}]}, "not an OAuth2 scope URL"),
    ({"shieldedInstanceConfig": {"enableVtpm": False}}, "virtual TPM"),
]


@pytest.mark.parametrize(("changes", "text"), REFUSED)
def test_wrong_requests_are_refused_before_anything_happens(world: World, changes: dict[str, Any], text: str) -> None:
    error = world.call("POST", f"zones/{ZONE}/instances", vm_body(**changes), status=400)
    assert text in error["message"]
    assert error["errors"][0]["reason"] == "invalid"
    assert "items" not in world.call("GET", f"zones/{ZONE}/instances")
    assert "items" not in world.call("GET", f"zones/{ZONE}/disks")
    assert world.guests.table == {}


def test_unknown_zone(world: World) -> None:
    error = world.call("POST", "zones/us-central1-z/instances", vm_body(), status=400)
    assert error["message"] == "Invalid value for field 'zone': 'us-central1-z'. Unknown zone."


def test_unknown_image(world: World) -> None:
    for image, path in {
        "projects/debian-cloud/global/images/family/debian-8": "projects/debian-cloud/global/images/family/debian-8",
        "https://compute.googleapis.com/compute/v1/projects/debian-cloud/zones/-/imageFamilyViews/debian-8": (
            "projects/debian-cloud/global/images/family/debian-8"
        ),
        "projects/debian-cloud/global/images/nothing": "projects/debian-cloud/global/images/nothing",
        "global/images/family/debian-12": f"projects/{PROJECT}/global/images/family/debian-12",
    }.items():
        error = world.call("POST", f"zones/{ZONE}/instances", vm_body(disks=disk(sourceImage=image)), status=404)
        assert error["message"] == f"The resource '{path}' was not found"
        assert error["errors"][0]["reason"] == "notFound"


@pytest.mark.parametrize(
    "image",
    [
        "https://www.googleapis.com/compute/v1/projects/debian-cloud/zones/-/imageFamilyViews/debian-12",
        "projects/debian-cloud/global/images/debian-12-bookworm-v20260915",
        "https://compute.googleapis.com/compute/v1/projects/debian-cloud/global/images/family/debian-12",
    ],
)
def test_every_form_of_an_image(world: World, image: str) -> None:
    world.create(disks=disk(sourceImage=image))
    made = world.call("GET", f"zones/{ZONE}/disks/vm")
    assert made["sourceImage"].endswith("/projects/debian-cloud/global/images/debian-12-bookworm-v20260915")
    assert made["users"] == [f"{WWW}/zones/{ZONE}/instances/vm"]


def test_a_withdrawn_family_is_gone_everywhere(world: World) -> None:
    world.cloud.images.withdrawn = {"debian-11"}
    path = "https://compute.googleapis.com/compute/v1/projects/debian-cloud"
    family = "projects/debian-cloud/global/images/family/debian-11"
    body = vm_body(disks=disk(sourceImage=family))
    assert (
        world.call("POST", f"zones/{ZONE}/instances", body, status=404)["message"]
        == f"The resource '{family}' was not found"
    )
    world.call("GET", f"{path}/global/images/family/debian-11", status=404)
    world.call("GET", f"{path}/zones/-/imageFamilyViews/debian-11", status=404)
    assert [image["family"] for image in world.call("GET", f"{path}/global/images")["items"]] == ["debian-12"]
    assert world.call("GET", f"{path}/global/images/family/debian-12")["name"] == "debian-12-bookworm-v20260915"


def test_a_family_that_could_not_be_built_says_why(world: World) -> None:
    world.cloud.images.failures = {"debian-11": "no mirror answers"}
    body = vm_body(disks=disk(sourceImage="projects/debian-cloud/global/images/family/debian-11"))
    error = world.call("POST", f"zones/{ZONE}/instances", body, status=404)
    assert "no mirror answers" in error["message"]


def test_a_second_vm_of_the_same_name(world: World) -> None:
    world.create()
    error = world.call("POST", f"zones/{ZONE}/instances", vm_body(), status=409)
    assert error["message"] == f"The resource 'projects/{PROJECT}/zones/{ZONE}/instances/vm' already exists"
    assert error["errors"][0]["reason"] == "alreadyExists"
    world.create(zone="us-west1-a")


def test_what_cannot_be_done_here_says_so(world: World) -> None:
    for changes in ({"disks": disk() + disk()}, {"guestAccelerators": [{"acceleratorCount": 1}]}):
        error = world.call("POST", f"zones/{ZONE}/instances", vm_body(**changes), status=405)
        assert "rehearsal cloud cannot" in error["message"]


class TestServiceAccounts:
    SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

    def test_default_becomes_the_address(self, world: World) -> None:
        vm = world.create(serviceAccounts=[{"email": "default", "scopes": list(self.SCOPES)}])
        email = world.call("GET", "")["defaultServiceAccount"]
        assert vm["serviceAccounts"] == [{"email": email, "scopes": list(self.SCOPES)}]
        view = next(iter(world.cloud.metadata.views.values()))
        assert view.service_account["email"] == email

    def test_none(self, world: World) -> None:
        assert "serviceAccounts" not in world.create()
        assert next(iter(world.cloud.metadata.views.values())).service_account is None

    def test_one_that_does_not_exist(self, world: World) -> None:
        accounts = [{"email": f"nobody@{PROJECT}.iam.gserviceaccount.com", "scopes": list(self.SCOPES)}]
        error = world.call("POST", f"zones/{ZONE}/instances", vm_body(serviceAccounts=accounts), status=404)
        assert "of type 'serviceAccount' was not found" in error["message"]

    def test_one_that_the_caller_may_not_use(self, world: World) -> None:
        identity = world.cloud.identity
        email = f"operator@{PROJECT}.iam.gserviceaccount.com"
        identity.accounts.create(PROJECT, email)
        policy = identity.get_policy(f"projects/{PROJECT}")
        policy["bindings"].append({"role": "roles/compute.instanceAdmin.v1", "members": [f"serviceAccount:{email}"]})
        identity.set_policy(f"projects/{PROJECT}", policy)
        token = identity.access_token(email)["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        accounts = [{"email": "default", "scopes": list(self.SCOPES)}]
        ask = world.ask
        world.ask = lambda verb, url, body: ask(verb, url, body, headers=headers)
        error = world.call("POST", f"zones/{ZONE}/instances", vm_body(serviceAccounts=accounts), status=400)
        assert error["errors"][0]["reason"] == "SERVICE_ACCOUNT_ACCESS_DENIED"
        assert world.create()["status"] == "RUNNING"


class TestRequestId:
    ID = "3f0a2f0e-1111-4c2b-8f00-1234567890ab"

    def test_a_retry_gets_the_first_operation(self, world: World) -> None:
        first = world.call("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body())
        again = world.call("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body())
        assert first["name"] == again["name"]
        world.finish(first)
        assert len(world.guests.table) == 1

    def test_another_request_is_another_operation(self, world: World) -> None:
        first = world.call("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body())
        other = world.call("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body("other"))
        assert first["name"] != other["name"]
        world.finish(first)
        world.finish(other)

    def test_a_failed_call_may_be_repeated(self, world: World) -> None:
        world.call("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body(labels={"A": ""}), status=400)
        world.do("POST", f"zones/{ZONE}/instances?requestId={self.ID}", vm_body())

    @pytest.mark.parametrize("request_id", ["abc", "00000000-0000-0000-0000-000000000000"])
    def test_it_must_be_a_uuid(self, world: World, request_id: str) -> None:
        world.call("POST", f"zones/{ZONE}/instances?requestId={request_id}", vm_body(), status=400)


class TestFailures:
    def failed(self, world: World, **changes: Any) -> Any:
        done = world.finish(world.call("POST", f"zones/{ZONE}/instances", vm_body(**changes)))
        world.call("GET", f"zones/{ZONE}/instances/vm", status=404)
        world.call("GET", f"zones/{ZONE}/disks/vm", status=404)
        assert world.guests.table == {} and world.cloud.metadata.views == {}
        return done

    def test_quota(self, world: World) -> None:
        world.cloud.store.put("compute.quotas", "us-central1", {"CPUS": 1.0})
        done = self.failed(world)
        assert (done["httpErrorStatusCode"], done["httpErrorMessage"]) == (403, "FORBIDDEN")
        error = done["error"]["errors"][0]
        assert error["code"] == "QUOTA_EXCEEDED"
        assert error["message"] == "Quota 'CPUS' exceeded.  Limit: 1.0 in region us-central1."
        assert error["errorDetails"][0]["quotaInfo"]["limitName"] == "CPUS-per-project-region"
        world.create(zone="us-west1-a")

    def test_stock_out(self, world: World) -> None:
        world.cloud.store.put("compute.stockouts", ZONE, {"machineTypes": ["e2-micro"], "remaining": 1})
        done = self.failed(world)
        assert done["httpErrorStatusCode"] == 503
        error = done["error"]["errors"][0]
        assert error["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        assert (
            error["errorDetails"][0]["errorInfo"]["metadatas"]["zonesAvailable"]
            == "us-central1-b,us-central1-c,us-central1-f"
        )
        world.create()

    def test_a_stock_out_of_another_type_does_not_matter(self, world: World) -> None:
        world.cloud.store.put("compute.stockouts", ZONE, {"machineTypes": ["e2-standard-8"]})
        world.create()

    def test_a_guest_that_does_not_start(self, world: World) -> None:
        world.guests.broken = "no space left on device"
        done = self.failed(world)
        assert done["error"]["errors"][0]["code"] == "INTERNAL_ERROR"
        assert "no space left on device" in done["error"]["errors"][0]["message"]

    def test_the_region_shows_what_is_used(self, world: World) -> None:
        world.create()
        quotas = {quota["metric"]: quota["usage"] for quota in world.call("GET", "regions/us-central1")["quotas"]}
        assert quotas == {"CPUS": 2, "INSTANCES": 1, "IN_USE_ADDRESSES": 1, "STATIC_ADDRESSES": 0, "DISKS_TOTAL_GB": 10}


def test_without_external_address(world: World) -> None:
    vm = world.create(networkInterfaces=[{"network": "global/networks/default"}])
    assert "accessConfigs" not in vm["networkInterfaces"][0]
    assert world.guest().external is None


def test_internal_addresses_are_unique_and_reused(world: World) -> None:
    first, second = (world.create(name)["networkInterfaces"][0]["networkIP"] for name in ("one", "two"))
    assert first != second
    chosen = world.create("three", networkInterfaces=[{"networkIP": "10.128.1.9"}])
    assert chosen["networkInterfaces"][0]["networkIP"] == "10.128.1.9"
    taken = vm_body("four", networkInterfaces=[{"networkIP": "10.128.1.9"}])
    assert "already being used" in world.call("POST", f"zones/{ZONE}/instances", taken, status=400)["message"]
    world.do("DELETE", f"zones/{ZONE}/instances/one")
    assert world.create("five")["networkInterfaces"][0]["networkIP"] == first
