# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module that changes something, through the life of its resource, against the rehearsal: as a module is proven.

What is missing, what check mode would do, create, again, update, what the diff says, delete, again, and Google's refusal.
The modules run in this process (a playbook would take most of its time to start them); the clients are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.module_call import call_module
from tests.rehearsal.conftest import REPOSITORY, Rehearsal
from tests.rehearsal.owner import PROJECT, Owner

pytestmark = pytest.mark.timeout(600)
Run = Callable[..., dict[str, Any]]
ZONE, REGION = "us-central1-a", "us-central1"
MEMBER = f"serviceAccount:module-test@{PROJECT}.iam.gserviceaccount.com"


@dataclass
class Life:
    """What a resource is made with, what it becomes, and a request that Google refuses with its words."""

    place: dict[str, Any]
    first: dict[str, Any]
    then: dict[str, Any]
    refused: dict[str, Any]
    words: str
    missing: str
    needs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


ACCOUNT = ("gcp_service_account", {"name": "module-test"})
BUCKET = ("gcs_bucket", {"name": "module-test-models"})
LIVES = {
    "gcs_bucket": Life(
        place={"name": "module-test-bucket"},
        first={"labels": {"app": "one"}, "soft_delete_seconds": 0},
        then={"labels": {"app": "two"}, "soft_delete_seconds": 604800},
        refused={"name": "taken-by-another-project"},
        words="taken-by-another-project",
        missing="name",
    ),
    "gce_firewall_rule": Life(
        place={"name": "module-test-ssh"},
        first={"source_ranges": ["203.0.113.0/24"], "allowed": [{"protocol": "tcp", "ports": ["22"]}]},
        then={"source_ranges": ["198.51.100.0/24"], "allowed": [{"protocol": "tcp", "ports": ["22"]}]},
        refused={"name": "module-test-ssh", "network": "nowhere", "source_ranges": ["203.0.113.0/24"]}
        | {"allowed": [{"protocol": "tcp"}]},
        words="nowhere",
        missing="name",
    ),
    "gcp_service_account": Life(
        place={"name": "module-life"},
        first={"display_name": "One"},
        then={"display_name": "Two"},
        refused={"name": "no", "display_name": "Too short a name"},
        words="no",
        missing="name",
    ),
    "gcp_iam_role": Life(
        place={"name": "module_test_role"},
        first={"title": "One", "permissions": ["storage.objects.get"]},
        then={"title": "Two", "permissions": ["storage.objects.get", "storage.objects.list"]},
        refused={"name": "module_test_refused", "permissions": ["storage.objects.fly"]},
        words="storage.objects.fly",
        missing="name",
    ),
    "gcp_iam_member": Life(
        place={"resource_type": "bucket", "resource": "module-test-models", "member": MEMBER}
        | {"role": "roles/storage.objectViewer"},
        first={},
        then={},  # a grant is there or not
        # An account that does not exist is refused as well, but waited for: a new one may not be visible yet.
        refused={"resource_type": "bucket", "resource": "module-test-nowhere", "role": "roles/storage.objectViewer"}
        | {"member": MEMBER},
        words="module-test-nowhere",
        missing="resource_type",
        needs=[ACCOUNT, BUCKET],
    ),
    "gce_instance": Life(
        place={"name": "module-test-vm", "zone": ZONE},
        first={"machine_type": "e2-micro", "image_families": ["debian-11"], "labels": {"app": "one"}},
        then={"machine_type": "e2-micro", "image_families": ["debian-11"], "labels": {"app": "two"}},
        refused={"name": "module-test-vm", "zone": ZONE, "machine_type": "e9-huge", "image_families": ["debian-11"]},
        words="e9-huge",
        missing="name",
    ),
    "cloud_function": Life(
        place={"name": "module-test", "region": REGION, "entry_point": "hello", "runtime": "python313"},
        first={"labels": {"app": "one"}, "public": False},
        then={"labels": {"app": "two"}, "public": True},
        refused={"name": "module-test", "region": "nowhere1", "entry_point": "hello", "runtime": "python313"},
        words="nowhere1",
        missing="name",
    ),
}


@pytest.fixture(scope="module")
def identity(cloud: Rehearsal) -> dict[str, str]:
    """The owner's environment: the deployer may not delete all of this."""
    owner = Owner(cloud)
    owner.enable_apis()
    environment: dict[str, str] = owner.environment
    return environment


@pytest.fixture
def run(identity: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call a module: ``run("gcs_bucket", check=True, name="b")`` returns what Ansible would get."""
    for name, value in identity.items():
        monkeypatch.setenv(name, value)

    def run_module(module_name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        return call_module(module_name, capsys, options, check=check)

    return run_module


@pytest.fixture
def source(tmp_path: Path) -> list[dict[str, Any]]:
    """The smallest function there is."""
    framework = next(
        line.partition(" ")[0]
        for line in (REPOSITORY / "ml/function/requirements.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith("functions-framework==")
    )
    (tmp_path / "requirements.txt").write_text(f"{framework}\n", encoding="utf-8")
    lines = ["import functions_framework", "@functions_framework.http", "def hello(request):", "    return 'hello'"]
    (tmp_path / "main.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [{"src": str(tmp_path)}]


# Two builds take a minute, and the end-to-end tests have others.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name == "cloud_function" else []) for name in LIVES]
)
def test_the_life_of_a_resource(run: Run, source: list[dict[str, Any]], name: str) -> None:
    life = LIVES[name]
    for module, options in life.needs:
        run(module, **options)
    more = {"source": source} if name == "cloud_function" else {}
    first, then = ({**life.place, **more, **options} for options in (life.first, life.then))
    gone = {**life.place, "state": "absent"}

    assert life.missing in run(name, **{key: value for key, value in first.items() if key != life.missing})["msg"]

    for _ in range(2):  # the second time says the same: the first made nothing
        planned = run(name, check=True, **first)
        assert planned["changed"] and planned["plan"][0]["change"] == "create", planned
    made = run(name, **first)
    assert made["changed"] and made["plan"] == planned["plan"] and made["actions"], made
    assert not run(name, **first)["changed"]

    if life.then:
        planned = run(name, check=True, **then)
        assert planned["changed"] and planned["plan"][0]["change"] == "update", planned
        assert not run(name, check=True, **first)["changed"]
        updated = run(name, **then)
        assert updated["changed"] and updated["diff"] == planned["diff"], updated
        assert updated["diff"]["before"] != updated["diff"]["after"]
        assert not run(name, **then)["changed"]

    refusal = run(name, **{**more, **life.refused})
    assert refusal["failed"] and life.words in refusal["msg"] and len(refusal["msg"].splitlines()) == 1, refusal

    planned = run(name, check=True, **gone)
    assert planned["changed"] and planned["plan"][0]["change"] == "delete", planned
    assert run(name, **gone)["changed"]
    for check in (True, False):
        assert not run(name, check=check, **gone)["changed"]
    for module, options in reversed(life.needs):
        run(module, **options, state="absent")


def test_apis_are_switched_on_once(run: Run) -> None:
    services = ["secretmanager.googleapis.com", "compute.googleapis.com"]
    assert "services" in run("gcp_project_services")["msg"]
    planned = run("gcp_project_services", check=True, services=services)
    assert planned["changed"]
    assert run("gcp_project_services", services=services)["changed"]
    assert not run("gcp_project_services", services=services)["changed"]
    refusal = run("gcp_project_services", services=["no-such-thing.googleapis.com"])
    assert refusal["failed"] and "no-such-thing" in refusal["msg"]


def test_what_a_vm_left_behind_is_deleted_once(run: Run, cloud: Rehearsal) -> None:
    owner = Owner(cloud)
    base = f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}"
    vm = {"name": "module-left", "zone": ZONE}
    run("gce_instance", **vm, machine_type="e2-micro", image_families=["debian-11"])
    url = f"{base}/zones/{ZONE}/instances/module-left"
    owner.call("POST", f"{url}/setDiskAutoDelete?autoDelete=false&deviceName=persistent-disk-0")
    run("gce_instance", **vm, state="absent")
    owner.call("POST", f"{base}/regions/{REGION}/addresses", {"name": "module-left"})
    for kind, place in (("disk", ZONE), ("address", REGION)):
        left = {"kind": kind, "name": "module-left", "place": place}
        assert "place" in run("gce_leftover", kind=kind, name="module-left")["msg"]
        assert run("gce_leftover", check=True, **left)["changed"]
        assert run("gce_leftover", **left)["changed"]
        assert not run("gce_leftover", **left)["changed"]
    assert "nowhere" in run("gce_leftover", kind="disk", name="module-left", place="nowhere")["msg"]


def test_every_module_that_changes_something_is_here() -> None:
    changing = {
        path.stem for path in (REPOSITORY / "library").glob("*.py") if '"state": {' in path.read_text(encoding="utf-8")
    }
    # The others live in tests/unit/modules, on the same gateway.
    elsewhere = {"function_builds", "gce_instance_schedule", "secret_manager_secret", "site_lock"}
    assert changing == {*LIVES, "gcp_project_services", "gce_leftover", *elsewhere}
