# SPDX-License-Identifier: GPL-3.0-or-later
"""A transcript has shapes and no values, and every way to differ from another one is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from tests.google import __main__ as program
from tests.google.transcript import Transcript, differences, read

COMPUTE = "https://compute.googleapis.com/compute/v1/projects/some-project/zones/us-central1-a"
VM = {
    "id": "4711", "name": "canary", "status": "RUNNING", "labels": {"canary": "canary"}, "selfLink": f"{COMPUTE}/instances/canary",
    "disks": [{"index": 0, "boot": True}],
}  # fmt: skip


def test_a_transcript_has_shapes_and_no_values(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.add("GET", f"{COMPUTE}/instances/canary", 200, VM, 0.25)
    transcript.add("GET", f"{COMPUTE}/instances/canary", 200, {"name": "canary"}, 0.75)
    transcript.add("POST", "https://canary-abc.a.run.app/?zone=canary", 200, None, 0.1)
    transcript.add("GET", "https://unheard.googleapis.com/canary", 404, {"error": {"code": 404}}, 0.1)
    transcript.save(tmp_path / "it.json")
    text = (tmp_path / "it.json").read_text(encoding="utf-8")
    assert "canary" not in text and "some-project" not in text and "4711" not in text
    found = read(tmp_path / "it.json")
    assert sorted(found) == ["GET unheard.googleapis.com 404", "compute.instances.get 200", "function.call 200"]
    vm = found["compute.instances.get 200"]
    assert (vm["answers"], vm["seconds"]) == (2, [0.5, 0.75])
    assert (vm["fields"]["labels.*"], vm["fields"]["disks[].index"]) == (["str"], ["int"])


def test_each_of_twelve_planted_differences_is_named() -> None:
    ours = read(program.EXPECTED)
    google = copy.deepcopy(ours)
    assert differences(google, ours) == []
    vm, bucket = google["compute.instances.get 200"]["fields"], google["storage.buckets.get 200"]["fields"]
    operation = google["compute.zoneOperations.wait 200"]["fields"]
    del vm["cpuPlatform"], vm["disks[].mode"], bucket["etag"], operation["user"]
    vm["resourceStatus.effectiveTerminationNotice"] = ["str"]
    vm["satisfiesPzs"] = ["bool"]
    bucket["owner"], bucket["owner.entity"] = ["obj"], ["str"]
    vm["id"], vm["creationTimestamp"], bucket["metageneration"] = ["int"], ["str:timeZ0"], ["null", "str:int"]
    google["compute.instances.get 503"] = {"fields": {"error": ["obj"]}}
    del google["function.call 200"]
    found = differences(google, ours)
    assert len(found) == 12 == len(set(found))
    for words in (
        "compute.instances.get 200: cpuPlatform (str) is returned by the rehearsal only",
        "compute.instances.get 200: satisfiesPzs (bool) is returned by Google only",
        "storage.buckets.get 200: owner (obj) is returned by Google only",
        "compute.instances.get 200: id is int at Google, str:int in the rehearsal",
        "compute.instances.get 503: only Google answered this",
        "function.call 200: only the rehearsal answered this",
    ):
        assert words in found, json.dumps(found, indent=1)
    # Where the run ended early, what is missing at Google says nothing.
    assert len(differences(google, ours, whole=False)) == 7


def test_the_environment_has_names_of_its_own() -> None:
    folder = program.make_environment("some-project")
    names = (folder / "group_vars/all/names.yml").read_text(encoding="utf-8")
    assert "staging" not in names and "model_bucket: some-project-m4-trial\n" in names and "/trial" in names
    assert list((folder / "group_vars/all/00_common").glob("*.yml")) and (folder / "localhost.yml").exists()
