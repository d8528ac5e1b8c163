# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of what the rehearsal answers against what the real Google answered, as public recordings show it.

`data/google_shapes.json` has the field paths and types of 1,886 recorded answers by method and status. Every method is asked here for the
same things, and each field that Google's server returned must be returned, with a type that it has there.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from compute_world import World, vm_body
from rehearsal.testing.client import settle
from rehearsal.testing.shapes import Shape, add_shape, recorded
from rehearsal.wire.faults import Fault

GOOGLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("data").joinpath("google_shapes.json").read_text(encoding="utf-8")
)
P = "fanops-rehearsal"
COMPUTE = f"https://compute.googleapis.com/compute/v1/projects/{P}"
STORAGE = "https://storage.googleapis.com/storage/v1"
UPLOAD = "https://storage.googleapis.com/upload/storage/v1/b/goldens/o"
IAM = f"https://iam.googleapis.com/v1/projects/{P}"
CRM = "https://cloudresourcemanager.googleapis.com"
FUNCTIONS = f"https://cloudfunctions.googleapis.com/v2/projects/{P}/locations/us-central1/functions"
RUN = f"https://run.googleapis.com/v1/projects/{P}/locations/-/services"
USAGE = f"https://serviceusage.googleapis.com/v1/projects/{P}/services"


#: What the recordings' clients had asked for, or set up; it is not asked for here. By method, status and path, with why.
NOT_OF_THE_SERVER = {
    "storage.buckets.* *acl*": "access lists of a bucket: projection=full, without uniform access",
    "storage.buckets.* *defaultObjectAcl*": "the same",
    "storage.* *owner*": "the same",
    "compute.networks.* *peerings*": "networks that were peered",
    "compute.subnetworks.* *secondaryIpRanges*": "ranges that were given",
    "compute.subnetworks.get 200 state": "subnetworks of a load balancer",
    "compute.* *sourceSnapshot*": "disks and images made of a snapshot",
    "compute.images.* *sourceDisk*": "images made of a disk",
    "compute.images.* *labels*": "images of one's own",
    "compute.images.* *deprecated*": "images of one's own that were deprecated",
    "compute.disks.* *description": "a disk's description",
    "compute.instances.* *lastSuspendedTimestamp": "a VM that was suspended",
    "compute.instances.* *confidentialInstanceConfig*": "a confidential VM",
    "compute.addresses.* *.network": "an internal address",
    "compute.addresses.* *.purpose": "the same",
    "compute.addresses.* *.prefixLength": "the same",
    "cloudresourcemanager.* *auditConfigs*": "audit configuration",
    "cloudresourcemanager.* *labels*": "labels of a project",
    "cloudresourcemanager.* *parent*": "a project of an organisation",
    "compute.globalOperations.get 200 *rror*": "an operation that failed",
}
#: Server fields that the rehearsal does not return, or with another type, with why.
DIFFERENCES = {
    "compute.*Operations.* *Time": "the tool that recorded writes every time of an operation in one form of its own",
    "compute.*Operations.* targetId": "the same tool blanks ids",
    "storage.buckets.insert 200 *": "the same tool blanks times, ids and the project's number",
    "storage.buckets.* autoclass.*Time": "the same",
    "storage.buckets.list 200 items[].satisfiesPZS": "of one bucket of a hundred",
    "cloudresourcemanager.projects.get 200 state": "a recording over gRPC, where enumerations are numbers",
    "cloudresourcemanager.projects.get 200 updateTime": "the same, with microseconds",
    "iam.projects.serviceAccounts.getIamPolicy 200 etag": "made up: digits in all recordings",
    "serviceusage.services.* done": "what is enabled or disabled already is done in the answer; here it is made anew",
    "serviceusage.services.enable 200 metadata.value": "the tool's own",
    "serviceusage.services.get 200 config.apis*": "the methods of every API: nobody asks for them",
    "serviceusage.services.get 200 config.quota.limits*": "the limits of every API: nobody asks for them",
    "serviceusage.services.get 200 config.authentication.*": "the scopes of every API: nobody asks for them",
}
#: The share of Google's server fields that may not be fallen short of.
LEAST_SHARE = 0.969
FIDELITY = Path(__file__).parent.parent / "docs/fidelity.md"


class Recorder:
    """Sends requests, and keeps the shapes of the answers by method and status."""

    def __init__(self, cloud: Any, ask: Any) -> None:
        self.cloud, self.ask = cloud, ask
        self.shapes: dict[str, Shape] = {}

    def __call__(self, verb: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.ask(verb, url, data, headers) if headers is not None else self.ask(verb, url, data)
        *_, entry = self.cloud.log.entries(self.cloud.log.last_number() - 1)
        key = f"{entry.method} {answer.status_code}"
        shape = self.shapes.setdefault(key, {})
        if answer.mimetype == "application/json" and "alt=media" not in url and answer.get_data():
            maps = {path[:-2] for path in recorded(GOOGLE.get(key) or {}) if path.endswith(".*")}
            add_shape(shape, answer.get_json(), maps)
        return answer


def compute_scene(world: World, say: Recorder) -> None:
    zone, vm = f"{COMPUTE}/zones/us-central1-a", f"{COMPUTE}/zones/us-central1-a/instances/vm"
    labelled = {"app": "goldens"}

    def done(operation: Any) -> Any:
        settle(world.cloud)
        return say("GET", operation.get_json()["selfLink"].replace("www.", "compute.")).get_json()

    address = {"name": "ip", "labels": labelled, "description": "d"}
    done(say("POST", f"{COMPUTE}/regions/us-central1/addresses", address))
    reserved = say("GET", f"{COMPUTE}/regions/us-central1/addresses/ip").get_json()["address"]
    disk = vm_body()["disks"][0]
    disk["initializeParams"] |= {"labels": labelled, "diskType": "zones/us-central1-a/diskTypes/pd-standard"}
    body = vm_body(
        disks=[disk],
        labels=labelled,
        tags={"items": ["web"]},
        metadata={"items": [{"key": "a", "value": "b"}]},
        description="d",
        keyRevocationActionType="NONE",
        reservationAffinity={"consumeReservationType": "ANY_RESERVATION"},
        displayDevice={"enableDisplay": False},
        serviceAccounts=[{"email": "default", "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"]}],
    )
    body["networkInterfaces"][0]["accessConfigs"][0]["natIP"] = reserved
    made = say("POST", f"{zone}/instances", body)
    say("POST", f"{zone}/operations/{made.get_json()['name']}/wait")
    done(made)
    for path in ("instances/vm", "disks/vm", "instances", "disks", "operations", "machineTypes/e2-micro"):
        say("GET", f"{zone}/{path}")
    found = say("GET", vm).get_json()
    done(say("POST", f"{vm}/setLabels", {"labels": {"a": "b"}, "labelFingerprint": found["labelFingerprint"]}))
    done(
        say(
            "POST",
            f"{vm}/setMetadata",
            {"items": [{"key": "a", "value": "c"}], "fingerprint": found["metadata"]["fingerprint"]},
        )
    )
    done(say("POST", f"{vm}/stop"))
    say("GET", vm)
    done(say("POST", f"{vm}/start"))
    done(say("POST", f"{zone}/instances", vm_body("other", disks=[vm_body()["disks"][0] | {"autoDelete": False}])))
    done(say("DELETE", f"{zone}/instances/other"))
    for path in ("instances", "disks", "addresses", "machineTypes", "subnetworks"):
        say("GET", f"{COMPUTE}/aggregated/{path}")
    say("GET", f"{COMPUTE}/aggregated/machineTypes?maxResults=1&filter=name=e2-micro")
    done(say("DELETE", vm))
    rules, rule = f"{COMPUTE}/global/firewalls", {"name": "in", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
    targets = {"targetTags": ["web"], "description": "d"}
    done(say("POST", rules, rule | targets))
    robot = rule | {"name": "robot", "targetServiceAccounts": [f"m4-server@{P}.iam.gserviceaccount.com"]}
    done(say("POST", rules, robot))
    for path in ("", "/in", "/robot", "/none"):
        say("GET", rules + path)
    done(say("PATCH", f"{rules}/in", {"priority": 900}))
    done(say("DELETE", f"{rules}/in"))
    project = say("GET", COMPUTE).get_json()
    common = {"items": [{"key": "a", "value": "b"}], "fingerprint": project["commonInstanceMetadata"]["fingerprint"]}
    done(say("POST", f"{COMPUTE}/setCommonInstanceMetadata", common))
    debian = f"{COMPUTE.replace(P, 'debian-cloud')}/global/images"
    say("GET", f"{debian}/{say('GET', f'{debian}?maxResults=1').get_json()['items'][0]['name']}")
    for path in ("", "zones", "global/networks", "global/networks/default", "global/networks/none"):
        say("GET", f"{COMPUTE}/{path}".rstrip("/"))
    for name in ("default", "none"):
        say("GET", f"{COMPUTE}/regions/us-central1/subnetworks/{name}")


def storage_scene(say: Recorder) -> None:
    bucket = f"{STORAGE}/b/goldens"
    lifecycle = {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 9}}]}
    chosen: dict[str, Any] = {
        "labels": {"a": "b"},
        "lifecycle": lifecycle,
        "versioning": {"enabled": True},
        "autoclass": {"enabled": True},
        "cors": [{"method": ["GET"], "origin": ["*"]}],
        "defaultEventBasedHold": False,
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
    }
    say("POST", f"{STORAGE}/b?project={P}", {"name": "goldens", "location": "US", **chosen})
    say("POST", f"{STORAGE}/b?project={P}", {"name": "kept-1", "retentionPolicy": {"retentionPeriod": "9"}})
    say("GET", bucket)
    say("GET", f"{STORAGE}/b/none")
    say("PATCH", bucket, {"labels": {"c": "d"}})
    policy = say("GET", f"{bucket}/iam").get_json()
    reader = {
        "role": "roles/storage.objectViewer",
        "members": [f"serviceAccount:m4-server@{P}.iam.gserviceaccount.com"],
    }
    say("PUT", f"{bucket}/iam", policy | {"bindings": [*policy.get("bindings", []), reader]})
    say("GET", f"{bucket}/iam")
    say("GET", f"{STORAGE}/b?project={P}")
    described = {
        "name": "d/a",
        "metadata": {"foo": "bar"},
        "contentType": "text/plain",
        "cacheControl": "no-cache",
        "contentEncoding": "identity",
        "contentLanguage": "en",
        "contentDisposition": "inline",
    }
    token = say.cloud.identity.access_token(say.cloud.identity.owner)["access_token"]
    parts = b"--cut\r\nContent-Type: application/json\r\n\r\n" + json.dumps(described).encode()
    parts += b"\r\n--cut\r\nContent-Type: text/plain\r\n\r\nx\r\n--cut--\r\n"
    headers = {"Authorization": f"Bearer {token}"}
    say("POST", f"{UPLOAD}?uploadType=multipart", parts, headers | {"Content-Type": "multipart/related; boundary=cut"})
    for name in ("b", "c"):
        say("POST", f"{UPLOAD}?uploadType=media&name={name}", b"y")
    say("POST", f"{UPLOAD}?uploadType=media&name=b&ifGenerationMatch=0", b"y")
    say("POST", f"{UPLOAD}?uploadType=media&name=", b"y")
    say("POST", f"{UPLOAD.replace('goldens', 'none')}?uploadType=media&name=b", b"y")
    begun = say("POST", f"{UPLOAD}?uploadType=resumable&name=big", {})
    say("PUT", begun.headers["Location"], b"z" * 262144, {"Content-Range": "bytes 0-262143/*"})
    objects = f"{bucket}/o"
    say("GET", f"{objects}/d%2Fa")
    say("GET", f"{objects}/none")
    say("PATCH", f"{objects}/d%2Fa", {"metadata": {"foo": "baz"}})
    say("GET", f"{objects}?delimiter=/&maxResults=1")
    say("GET", objects)
    say("POST", f"{objects}/d%2Fa/rewriteTo/b/goldens/o/e", {})
    say("POST", f"{objects}/none/rewriteTo/b/goldens/o/e", {})
    say("POST", f"{objects}/d%2Fa/rewriteTo/b/goldens/o/e?ifGenerationMatch=0", {})
    say("POST", f"{objects}/f/compose", {"sourceObjects": [{"name": "b"}, {"name": "c"}]})
    say("GET", f"{objects}/f")
    say("DELETE", bucket)
    for name in ("b", "none"):
        say("DELETE", f"{objects}/{name}")
    say("DELETE", f"{STORAGE}/b/none")
    say("DELETE", f"{STORAGE}/b/kept-1")
    deployer = say.cloud.identity.access_token(f"m4-server@{P}.iam.gserviceaccount.com")["access_token"]
    stranger = {"Authorization": f"Bearer {deployer}", "Content-Type": "application/json"}
    say("DELETE", bucket, None, stranger)
    say("PUT", f"{bucket}/iam", {"bindings": []})
    say("GET", objects, None, stranger)


def identity_scene(say: Recorder) -> None:
    account = f"{IAM}/serviceAccounts/goldens@{P}.iam.gserviceaccount.com"
    wanted = {"accountId": "goldens", "serviceAccount": {"displayName": "d", "description": "d"}}
    for _ in range(2):
        say("POST", f"{IAM}/serviceAccounts", wanted)
    say("POST", f"{account}:disable", {})
    say("GET", account)
    say("GET", f"{IAM}/serviceAccounts")
    say("POST", f"{account}:enable", {})
    actor = {"role": "roles/iam.serviceAccountUser", "members": [f"serviceAccount:goldens@{P}.iam.gserviceaccount.com"]}
    say("POST", f"{account}:setIamPolicy", {"policy": {"bindings": [actor]}})
    say("POST", f"{account}:getIamPolicy", {})
    key = say("POST", f"{account}/keys", {}).get_json()["name"].rpartition("/")[2]
    for verb, path in (("GET", ""), ("GET", f"/{key}"), ("DELETE", f"/{key}"), ("GET", f"/{key}")):
        say(verb, f"{account}/keys{path}")
    for _ in range(2):
        say("DELETE", account)
    say("GET", account)
    role = {"title": "t", "description": "d", "includedPermissions": ["storage.objects.get"]}
    say("POST", f"{IAM}/roles", {"roleId": "goldens", "role": role})
    say("GET", f"{IAM}/roles/goldens")
    say.cloud.faults.plan(Fault("cloudresourcemanager.projects.get", "429"))
    for name in (P, P, "another-project"):
        say("GET", f"{CRM}/v1/projects/{name}")
        say("GET", f"{CRM}/v3/projects/{name}")
    say("GET", f"{CRM}/v1/projects")
    say("POST", f"{CRM}/v1/projects/{P}:getAncestry", {})
    policy = say("POST", f"{CRM}/v1/projects/{P}:getIamPolicy", {}).get_json()
    say("POST", f"{CRM}/v1/projects/{P}:setIamPolicy", {"policy": policy})
    say("GET", f"https://cloudbilling.googleapis.com/v1/projects/{P}/billingInfo")
    say("GET", f"{USAGE}/compute.googleapis.com")
    say("GET", USAGE)
    say("POST", f"{USAGE}/eventarc.googleapis.com:enable", {})
    say("POST", f"{USAGE}/eventarc.googleapis.com:disable", {})


def functions_scene(say: Recorder) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("main.py", "requirements.txt"):
            archive.writestr(name, "")
    upload = say("POST", f"{FUNCTIONS}:generateUploadUrl", {}).get_json()
    say("PUT", upload["uploadUrl"], data.getvalue(), {"Content-Type": "application/zip"})
    build = {"runtime": "python313", "entryPoint": "f", "source": {"storageSource": upload["storageSource"]}}
    service = {"environmentVariables": {"A": "b"}, "maxInstanceCount": 3}
    wanted = {"labels": {"a": "b"}, "buildConfig": build, "serviceConfig": service}
    began = say("POST", f"{FUNCTIONS}?functionId=goldens", wanted).get_json()
    operation = f"https://cloudfunctions.googleapis.com/v2/{began['name']}"
    say("GET", operation)
    settle(say.cloud)
    ended = say("GET", operation).get_json()
    assert "response" in ended, ended
    say("GET", f"{FUNCTIONS}/goldens")
    say("GET", RUN)


@pytest.fixture
def answers(control_plane: Any, ask: Any, storage_server: Any, instant_functions: Any) -> Iterator[dict[str, Shape]]:
    for service in ("compute", "cloudfunctions", "run", "cloudbuild", "artifactregistry"):
        control_plane.identity.services.enable(P, f"{service}.googleapis.com")
    control_plane.identity.accounts.create(P, f"m4-server@{P}.iam.gserviceaccount.com")
    say, world = Recorder(control_plane, ask), World(control_plane, ask)
    world.start()
    compute_scene(world, say)
    storage_scene(say)
    identity_scene(say)
    functions_scene(say)
    yield say.shapes
    world.stop()


def why(table: dict[str, str], key: str, path: str) -> str | None:
    return next((pattern for pattern in table if fnmatchcase(f"{key} {path}", pattern.replace("[", "[[]"))), None)


def test_answers_have_the_fields_and_types_of_googles(answers: dict[str, Shape]) -> None:
    assert GOOGLE.keys() <= answers.keys()
    asked = {
        (key, path): types
        for key, tree in GOOGLE.items()
        if tree is not None
        for path, types in recorded(tree).items()
        if why(NOT_OF_THE_SERVER, key, path) is None
    }
    other = {(key, path): types for (key, path), types in asked.items() if not types & answers[key].get(path, set())}
    unexpected = {
        f"{key} {path}": (types, answers[key].get(path))
        for (key, path), types in other.items()
        if why(DIFFERENCES, key, path) is None
    }
    assert unexpected == {}
    found = {why(DIFFERENCES, *field) for field in other}
    assert found == set(DIFFERENCES), "a difference is gone: take it out of the table"
    share = (
        f"{len(asked) - len(other):,} of {len(asked):,} fields ({100 * (len(asked) - len(other)) / len(asked):.1f} %)"
    )
    assert share in FIDELITY.read_text(encoding="utf-8"), f"rehearsal/docs/fidelity.md is to say: {share}"
    assert (len(asked) - len(other)) / len(asked) >= LEAST_SHARE
