# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rehearsal is known to differ from Google: a test that fails here says that rehearsal/docs/fidelity.md is out of date."""

from __future__ import annotations

import json
from typing import Any

import pytest

API = "https://storage.googleapis.com/storage/v1"
UPLOAD = "https://storage.googleapis.com/upload/storage/v1"
IAM = "https://iam.googleapis.com/v1/projects/fanops-rehearsal"
PROJECT = "https://cloudresourcemanager.googleapis.com/v1/projects/fanops-rehearsal"
COMPUTE = "https://compute.googleapis.com/compute/v1/projects/fanops-rehearsal"


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


def put(ask: Any, name: str, data: bytes) -> Any:
    return ask("POST", f"{UPLOAD}/b/models-1/o?uploadType=media&name={name}", data).get_json()


@pytest.fixture
def bucket(ask: Any, storage_server: Any) -> str:
    """A bucket that is to keep old generations, and everything for a while, with two objects."""
    wanted = body(
        name="models-1", location="us-central1", versioning={"enabled": True}, retentionPolicy={"retentionPeriod": "99"}
    )
    assert ask("POST", f"{API}/b?project=fanops-rehearsal", wanted).status_code == 200
    put(ask, "a", b"A")
    put(ask, "b", b"B")
    return f"{API}/b/models-1"


def test_preconditions_on_the_sources_of_a_copy_are_not_looked_at(ask: Any, bucket: str) -> None:
    assert ask("POST", f"{bucket}/o/a/rewriteTo/b/models-1/o/c?ifSourceGenerationMatch=7", b"{}").status_code == 200
    sources = [{"name": "a", "objectPreconditions": {"ifGenerationMatch": "7"}}, {"name": "b", "generation": "7"}]
    assert ask("POST", f"{bucket}/o/d/compose", body(sourceObjects=sources)).status_code == 200


def test_a_checksum_sent_with_an_upload_is_not_compared(ask: Any, control_plane: Any, bucket: str) -> None:
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/related; boundary=cut"}
    parts = b"--cut\r\nContent-Type: application/json\r\n\r\n" + body(name="m", crc32c="AAAAAA==")
    parts += b"\r\n--cut\r\nContent-Type: text/plain\r\n\r\nx\r\n--cut--\r\n"
    written = ask("POST", f"{UPLOAD}/b/models-1/o?uploadType=multipart", parts, headers)
    assert written.status_code == 200 and written.get_json()["crc32c"] == "qTxfkw=="  # what the content really has


def test_versioning_and_retention_are_kept_and_not_carried_out(ask: Any, bucket: str) -> None:
    before = ask("GET", f"{bucket}/o/a").get_json()["generation"]
    put(ask, "a", b"another")
    assert ask("GET", f"{bucket}/o/a?generation={before}").status_code == 404
    assert ask("DELETE", f"{bucket}/o/b").status_code == 204
    assert ask("GET", bucket).get_json()["versioning"] == {"enabled": True}


def test_a_deleted_object_cannot_be_restored(ask: Any, bucket: str) -> None:
    assert ask("GET", bucket).get_json()["softDeletePolicy"]["retentionDurationSeconds"] == "604800"
    generation = ask("GET", f"{bucket}/o/b").get_json()["generation"]
    assert ask("DELETE", f"{bucket}/o/b").status_code == 204
    assert ask("POST", f"{bucket}/o/b/restore?generation={generation}").status_code == 405


def test_nobody_reads_a_public_object_without_credentials(ask: Any, control_plane: Any, bucket: str) -> None:
    everybody = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}
    control_plane.identity.set_policy("buckets/models-1", everybody)
    assert ask("GET", f"{bucket}/o/a?alt=media", headers={}).status_code == 401


def test_objects_have_no_access_lists(ask: Any, bucket: str) -> None:
    assert ask("GET", f"{bucket}/o/a/acl").status_code == 405
    assert "acl" not in ask("GET", f"{bucket}/o/a?projection=full").get_json()


def test_partial_answers_and_unknown_parameters_are_ignored(ask: Any) -> None:
    whole = ask("GET", PROJECT).get_json()
    assert ask("GET", f"{PROJECT}?fields=projectId&nonsense=1").get_json() == whole


def test_lists_outside_compute_are_one_page(ask: Any) -> None:
    for number in range(3):
        ask("POST", f"{IAM}/serviceAccounts", body(accountId=f"trainer-{number}"))
    answer = ask("GET", f"{IAM}/serviceAccounts?pageSize=1").get_json()
    assert len(answer["accounts"]) > 3 and "nextPageToken" not in answer


def test_audit_configuration_is_not_kept(ask: Any) -> None:
    policy = ask("POST", f"{PROJECT}:getIamPolicy", b"{}").get_json() | {"auditConfigs": [{"service": "allServices"}]}
    assert ask("POST", f"{PROJECT}:setIamPolicy", body(policy=policy)).status_code == 200
    assert "auditConfigs" not in ask("POST", f"{PROJECT}:getIamPolicy", b"{}").get_json()


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("POST", "https://cloudfunctions.googleapis.com/google.cloud.functions.v2.FunctionService/ListFunctions"),
        ("GET", "https://storage.googleapis.com/storage/v2/b"),
        ("GET", "https://monitoring.googleapis.com/v3/projects/fanops-rehearsal/timeSeries"),
        ("GET", "https://us-central1-cloudbuild.googleapis.com/v1/projects/fanops-rehearsal/builds"),
    ],
)
def test_hosts_and_protocols_without_a_document_are_unknown(ask: Any, verb: str, url: str) -> None:
    assert ask(verb, url).status_code == 404


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "global/networks"),
        ("POST", "regions/us-central1/subnetworks"),
        ("POST", "global/routes"),
        ("POST", "zones/us-central1-a/disks"),
        ("POST", "zones/us-central1-a/disks/vm/createSnapshot"),
        ("POST", "global/instanceTemplates"),
        ("POST", "zones/us-central1-a/instanceGroupManagers"),
        ("POST", "zones/us-central1-a/instances/vm/suspend"),
        ("POST", "zones/us-central1-a/instances/vm/attachDisk"),
        ("GET", "zones/us-central1-a/instances/vm/screenshot"),
        ("POST", "global/images"),
    ],
)
def test_what_compute_lacks_answers_405(ask: Any, verb: str, path: str) -> None:
    assert ask(verb, f"{COMPUTE}/{path}").status_code == 405


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("POST", "https://logging.googleapis.com/v2/entries:write"),
        ("GET", "https://cloudbuild.googleapis.com/v1/projects/fanops-rehearsal/builds/b"),
        ("GET", "https://cloudbilling.googleapis.com/v1/billingAccounts"),
        ("GET", "https://run.googleapis.com/v2/projects/fanops-rehearsal/locations/us-central1/services/s/revisions"),
        ("POST", f"{IAM.replace('/projects/fanops-rehearsal', '')}/roles:queryGrantableRoles"),
    ],
)
def test_what_the_other_services_lack_answers_405(ask: Any, verb: str, url: str) -> None:
    assert ask(verb, url).status_code == 405
