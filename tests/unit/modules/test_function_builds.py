# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builds of functions leave in a project: tidied by Google's policies, counted in the costs, deleted with the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal import ahead
from rehearsal.services.artifactregistry import images
from rehearsal.services.functions import buckets
from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule

REPOSITORY = Path(__file__).resolve().parents[3]
REGION = "us-central1"
NUMBER = "482910376155"
OURS, THEIRS = "sponsor", "shop"


def deploy(google: Session, function: str, times: int = 1) -> None:
    """Leave what so many deployments leave."""
    for number in range(times):
        images.push(google.cloud.store, PROJECT, REGION, function, 40_000_000)
        source = buckets.sources(NUMBER, REGION)
        buckets.store(google.cloud, PROJECT, source, REGION, f"{function}/function-source.zip", b"zip")
        buckets.store(google.cloud, PROJECT, buckets.uploads(NUMBER, REGION), REGION, f"{function}{number}.zip", b"zip")


def stored(google: Session) -> list[str]:
    base = "https://storage.googleapis.com/storage/v1/b"
    names = [one["name"] for one in google.request("GET", f"{base}?project={PROJECT}").json()["items"]]
    return sorted(
        f"{name[:14]}/{one['name']}"
        for name in names
        for one in google.request("GET", f"{base}/{name}/o").json().get("items", [])
    )


def packages(google: Session) -> list[str]:
    found = images.find(google.cloud.store, PROJECT, REGION)
    return sorted(name.rpartition("__")[2] for name in found["packages"]) if found else []


def listed(run: RunModule) -> dict[str, list[dict[str, Any]]]:
    found = run("project_resources_info", labels={"app": "fanops-m4"}, functions=[OURS], function_region=REGION)
    return {"ours": found["ours"], "foreign": found["foreign"]}


def test_a_deployed_function_leaves_builds_and_a_teardown_lists_and_deletes_them(
    run: RunModule, google: Session, function_options: dict[str, Any]
) -> None:
    run("cloud_function", **function_options)
    run("cloud_function", name=OURS, region=REGION, state="absent")
    assert run("project_resources_info", labels={"app": "fanops-m4"})["ours"] == [], (
        "they carry no labels of this project"
    )
    kinds = [one["kind"] for one in listed(run)["ours"]]
    assert kinds == ["image", "image", "repository", "source", "source", "build_bucket", "build_bucket"]
    planned = run("function_builds", name=OURS, region=REGION, state="absent", check=True)
    assert planned["changed"] and packages(google) == [OURS, f"{OURS}/cache"]
    assert run("function_builds", name=OURS, region=REGION, state="absent")["changed"]
    assert listed(run)["ours"] == [] and packages(google) == [] and stored(google) == []
    assert not run("function_builds", name=OURS, region=REGION, state="absent")["changed"]


def test_what_belongs_to_another_function_stays_with_what_is_shared(run: RunModule, google: Session) -> None:
    deploy(google, OURS, 2)
    # Another function whose name begins with ours.
    deploy(google, f"{OURS}-staging")
    deploy(google, THEIRS)
    before = listed(run)
    assert {one["kind"] for one in before["ours"]} == {"image", "source"}
    assert len([one for one in before["foreign"] if one["kind"] == "build_bucket"]) == 2
    assert run("function_builds", name=OURS, region=REGION, state="absent")["changed"]
    assert packages(google) == ["shop", "shop/cache", "sponsor--staging", "sponsor--staging/cache"]
    assert [name for name in stored(google) if "/function-source" in name] == [
        "gcf-v2-sources/shop/function-source.zip",
        "gcf-v2-sources/sponsor-staging/function-source.zip",
    ]
    assert len(stored(google)) == 2 + 4, "uploads cannot be told apart"
    assert listed(run)["ours"] == []


def test_older_images_are_deleted_by_google_and_the_policies_of_others_stay(run: RunModule, google: Session) -> None:
    assert run("function_builds", name=OURS, region=REGION, check=True)["changed"], "before the first deployment"
    deploy(google, OURS, 4)
    deploy(google, THEIRS, 4)
    url = f"https://artifactregistry.googleapis.com/v1/projects/{PROJECT}/locations/{REGION}/repositories/gcf-artifacts"
    theirs = {"id": "theirs", "action": "KEEP", "mostRecentVersions": {"keepCount": 9}}
    body = {"cleanupPolicies": {"theirs": theirs}, "cleanupPolicyDryRun": True}
    google.request("PATCH", url, params={"updateMask": "cleanupPolicies,cleanupPolicyDryRun"}, json=body)
    set_up = run("function_builds", name=OURS, region=REGION, keep=2)
    assert set_up["changed"] and "theirs" in set_up["warnings"][0]
    assert not run("function_builds", name=OURS, region=REGION, keep=2)["changed"]
    assert run("function_builds", name=OURS, region=REGION, keep=1, check=True)["changed"]
    policies = google.request("GET", url).json()["cleanupPolicies"]
    assert policies["theirs"] == theirs and policies.keys() == {"theirs", "sponsor-keep", "sponsor-delete"}

    google.request("PATCH", url, params={"updateMask": "cleanupPolicies"}, json={"cleanupPolicies": {}})
    assert run("function_builds", name=OURS, region=REGION, keep=2)["changed"]
    ahead.move(google.cloud.store, 2 * images.DAY_SECONDS, with_clock=False)
    found = images.find(google.cloud.store, PROJECT, REGION)
    assert found is not None
    left = {name.rpartition("__")[2]: len(versions) for name, versions in found["packages"].items()}
    assert left == {OURS: 2, f"{OURS}/cache": 1, THEIRS: 4, f"{THEIRS}/cache": 1}


def test_a_repository_that_somebody_deleted_is_not_missed(
    run: RunModule, google: Session, function_options: dict[str, Any]
) -> None:
    run("cloud_function", **function_options)
    images.REPOSITORIES.delete(google.cloud.store, f"{PROJECT}/{REGION}")
    assert not run("function_builds", name=OURS, region=REGION)["changed"]


@pytest.mark.parametrize(
    ("deployments", "text"), [(2, "0.36 GiB, $0.00"), (3, "0.53 GiB, $0.00"), (9, "1.60 GiB, $0.11")]
)
def test_guard_and_cost_report_say_what_the_images_cost(
    run: RunModule, google: Session, deployments: int, text: str
) -> None:
    deploy(google, OURS, deployments)
    options = {
        "configuration": {"vm_name": "ml-training-vm", "zone": "us-central1-a", "bucket": "models"},
        "prices": str(REPOSITORY / "pricing/google_cloud.yml"),
    }
    guard = run("free_tier_guard", **options)
    assert any(text in note for note in guard["plan_notes"]) and guard["findings"] == []
    assert (text in guard["summary"]) == (deployments > 2)
    lines = run("gcp_costs_info", **options)["report"]["months"]["stopped"]["lines"]
    assert (
        next(line for line in lines if line["item"] == "Images of deployments")["list"]
        == {2: 0.04, 3: 0.05, 9: 0.16}[deployments]
    )
