# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging beside production in one project: neither touches the other, and a release goes from the one to the other by its digest.

In the order of the file: each test goes on where the one before it ended.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.rehearsal.conftest import Outcome, Rehearsal, recap
from tests.rehearsal.owner import PROJECT
from tests.rehearsal.test_end_to_end import NAMES, ask

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
STAGING = ("-i", "inventory/environments/staging")
PROMOTE = ("playbooks/promote_release.yml", "-e", "from_environment=staging")
BUCKETS = {"production": "fanops-m4-models", "staging": "fanops-m4-staging-models"}
# What Google knows by a name of its own in each of the two.
THINGS = {
    "production": ("ml-training-vm", "fanops-m4-models", "m4-sponsor-ai", "m4-trainer", "m4-server", "fanops-m4-allow-ssh"),
    "staging": ("ml-training-staging-vm", "fanops-m4-staging-models", "m4-sponsor-ai-staging", "m4-staging-trainer",
                "m4-staging-server", "fanops-m4-staging-allow-ssh"),
}  # fmt: skip
READ = """
import json, sys
from google.cloud import storage
print(json.dumps(json.loads(storage.Client().bucket(sys.argv[1]).blob(sys.argv[2]).download_as_bytes())))
"""


def play(cloud: Rehearsal, *arguments: str) -> Outcome:
    """Run a playbook that works; print how long it took."""
    outcome = cloud.playbook(*arguments)
    assert outcome.code == 0, outcome.output[-6000:]
    print(f"{outcome.seconds:6.1f} s  ansible-playbook {' '.join(arguments)}", flush=True)
    return outcome


def refused(cloud: Rehearsal, *arguments: str) -> str:
    """Run a playbook that ends in one line and changes nothing; return the line."""
    mark = cloud.mark()
    outcome = cloud.playbook(*arguments)
    line = outcome.output.strip().splitlines()[-1]
    assert outcome.code == 2 and line.startswith("Failed: "), outcome.output[-4000:]
    assert cloud.requests(mark, "--mutating") == []
    print(line, flush=True)
    return line


def pointer(cloud: Rehearsal, environment: str) -> dict[str, Any]:
    found = cloud.run("python", "-c", READ, BUCKETS[environment], "current.json")
    assert found.code == 0, found.output
    document: dict[str, Any] = json.loads(found.output.strip().splitlines()[-1])
    return document


def release_files(cloud: Rehearsal, live: dict[str, Any]) -> dict[str, Any]:
    """The files that production's copy of the manifest lists."""
    found = cloud.run("python", "-c", READ, BUCKETS["production"], f"manifests/{live['manifest']}.json")
    assert found.code == 0, found.output
    files: dict[str, Any] = json.loads(found.output.strip().splitlines()[-1])["files"]
    return files


def touched(cloud: Rehearsal, after: str) -> str:
    """Every path and body that changed something, as one text, without the names that begin like the other's."""
    text = json.dumps([[entry["path"], entry["body"]] for entry in cloud.requests(after, "--mutating")])
    for name in THINGS["staging"]:
        text = text.replace(name, "(staging)")
    return text


def serves(cloud: Rehearsal, function: str, digest: str) -> float:
    """Return the seconds until the function answers by this release."""
    url, began = cloud.status()["functions"][function].split()[-1], time.monotonic()
    while True:
        code, answer = ask(cloud, url, {"zone": "VIP", "event": "Goal"})
        assert code == 200 and answer["recommended_sponsor"] in NAMES, answer
        if answer["release"]["manifest"] == digest:
            return time.monotonic() - began
        assert time.monotonic() - began < 120, answer
        time.sleep(1)


@pytest.fixture(scope="module")
def both(cloud: Rehearsal) -> Rehearsal:
    """Production, made as ever, and staging beside it."""
    play(cloud, "site.yml")
    line = refused(cloud, *STAGING, "site.yml", "-e", "vm_disk_size_gb=10")
    assert "[disk-total] the project's disks come to 40 GB, and 30 GB are free" in line
    assert "vm_disk_size_gb may come to 30 in all" in line and "delete ml-training-vm" not in line
    mark = cloud.mark()
    play(
        cloud,
        *STAGING,
        "site.yml",
        "-e",
        "vm_disk_size_gb=10",
        "-e",
        "allow_billable=true",
        "-e",
        "training_samples=20000",
    )
    seen = touched(cloud, mark)
    assert not [name for name in THINGS["production"] if name in seen], "what staging did touched production"
    return cloud


def test_both_live_in_one_project_and_list_their_own_vm_only(both: Rehearsal) -> None:
    cloud = both
    state = cloud.status()
    assert set(state["functions"]) >= {"m4-sponsor-ai", "m4-sponsor-ai-staging"}
    assert set(state["buckets"]) >= {f"gs://{name}" for name in BUCKETS.values()}
    assert {name.rpartition("/")[2]: text.split()[0] for name, text in state["instances"].items()} == {
        "ml-training-vm": "TERMINATED", "ml-training-staging-vm": "TERMINATED",
    }  # fmt: skip
    assert (pointer(cloud, "production")["version"], pointer(cloud, "staging")["version"]) == (1, 1)
    # The hours of both count: production, which would start its VM, is told in plain words that staging's runs.
    play(cloud, *STAGING, "playbooks/start_vm.yml", "-e", "allow_billable=true", "-e", "vm_disk_size_gb=10")
    graphs = {name: cloud.run("ansible-inventory", *options, "--graph").output for name, options in
              {"production": (), "staging": STAGING}.items()}  # fmt: skip
    assert "ml-training-staging-vm" in graphs["staging"] and "ml-training" not in graphs["production"], graphs
    line = refused(cloud, "site.yml", "-e", "training_seed=7")
    assert (
        "ml-training-staging-vm (e2-micro, us-central1-a), the training VM of the environment labelled fanops-m4-staging, runs now"
        in line
    )
    play(cloud, *STAGING, "playbooks/stop_vm.yml")
    again = cloud.playbook("site.yml", "--check", "-e", "allow_billable=true", ANSIBLE_INVENTORY=STAGING[1])
    assert again.code == 0 and "Training is needed" in again.output, (
        "the variable chooses staging, whose release was made from 20,000 rows"
    )


def test_a_release_is_promoted_by_its_digest(both: Rehearsal) -> None:
    cloud = both
    before, there = pointer(cloud, "production"), pointer(cloud, "staging")
    mark = cloud.mark()
    planned = play(cloud, *PROMOTE, "--check", "--diff")
    assert cloud.requests(mark, "--mutating") == [] and there["manifest"][:12] in planned.output
    # Production's site lock holds for a promotion, too.
    lock = f"project={PROJECT} bucket={BUCKETS['production']} purpose=training keep=false"
    assert cloud.run("ansible", "localhost", "-m", "site_lock", "-a", lock).code == 0
    assert "Could not change this site" in refused(cloud, *PROMOTE)
    assert cloud.run("ansible", "localhost", "-m", "site_lock", "-a", f"{lock} state=broken").code == 0
    play(cloud, *PROMOTE, "-e", "reason=rehearsed")
    live = pointer(cloud, "production")
    assert (live["manifest"], live["previous"], live["version"]) == (there["manifest"], before["manifest"], 2)
    assert live["reason"].startswith(
        f"copied from staging, version {there['version']} of gs://{BUCKETS['staging']}; rehearsed; passed"
    )
    assert pointer(cloud, "staging") == there
    copied = [entry["path"] for entry in cloud.requests(mark, "--method", "storage.objects.rewrite")]
    assert len([path for path in copied if f"/{BUCKETS['staging']}/" in path]) == len(release_files(cloud, live)) + 1
    print(f"{serves(cloud, 'm4-sponsor-ai', there['manifest']):6.1f} s  until the function served it", flush=True)
    assert "copied from staging" in play(cloud, "playbooks/list_releases.yml").output
    mark = cloud.mark()
    again = play(cloud, *PROMOTE)
    assert recap(again.output)["localhost"]["changed"] == 0 and cloud.requests(mark, "--mutating") == []


def test_a_worse_one_is_refused_in_one_line(both: Rehearsal) -> None:
    cloud = both
    live = pointer(cloud, "production")
    trained = cloud.run(
        "python", "-m", "ml.train", "--samples", "1500", "--output", "build/worse", "--publish", f"gs://{BUCKETS['staging']}", "--force"
    )  # fmt: skip
    assert trained.code == 0, trained.output
    line = refused(cloud, *PROMOTE)
    assert "the candidate's accuracy 78." in line and "of live release 2" in line
    assert line == refused(cloud, *PROMOTE, "--check")
    assert pointer(cloud, "production") == live


def test_rollback_works_on_what_was_promoted(both: Rehearsal) -> None:
    cloud = both
    live = pointer(cloud, "production")
    play(cloud, "playbooks/rollback_release.yml")
    back = pointer(cloud, "production")
    assert (back["manifest"], back["version"]) == (live["previous"], 3)
    assert any("copied from staging" in entry["reason"] for entry in back["history"])
    serves(cloud, "m4-sponsor-ai", back["manifest"])
    # By the version that it had over there: what was copied is used as it is.
    play(cloud, *PROMOTE, "-e", "release=1")
    assert pointer(cloud, "production")["manifest"] == live["manifest"]


def test_a_teardown_of_staging_leaves_production(both: Rehearsal) -> None:
    cloud = both
    live = pointer(cloud, "production")
    assert "is staging" in refused(cloud, *STAGING, "playbooks/teardown.yml", "-e", f"confirm={PROJECT}")
    assert "is production" in refused(cloud, "playbooks/teardown.yml", "-e", f"confirm={PROJECT}/staging")
    mark = cloud.mark()
    gone = play(cloud, *STAGING, "playbooks/teardown.yml", "-e", f"confirm={PROJECT}/staging")
    assert "Nothing that staging made is left" in gone.output
    seen = touched(cloud, mark)
    assert not [name for name in THINGS["production"] if name in seen], "the teardown of staging touched production"
    state = cloud.status()
    assert [name.rpartition("/")[2] for name in state["instances"]] == ["ml-training-vm"]
    assert "m4-sponsor-ai" in state["functions"] and "m4-sponsor-ai-staging" not in state["functions"]
    assert f"gs://{BUCKETS['production']}" in state["buckets"] and f"gs://{BUCKETS['staging']}" not in state["buckets"]
    assert pointer(cloud, "production") == live
    serves(cloud, "m4-sponsor-ai", live["manifest"])
    mark = cloud.mark()
    # What is live was trained with 20,000 rows: asked for the same, production has nothing to do, and nothing is missing.
    same = play(cloud, "site.yml", "-e", "training_samples=20000")
    assert recap(same.output)["localhost"]["changed"] == 0 and cloud.requests(mark, "--mutating") == []
