# SPDX-License-Identifier: GPL-3.0-or-later
"""Training on somebody's own rows: from the controller's disk, and from a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.matches import write
from tests.rehearsal.conftest import Rehearsal, vm_states

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]
READ = """
import json, sys
from google.cloud import storage
print(json.dumps(json.loads(storage.Client().bucket("fanops-m4-models").blob(sys.argv[1]).download_as_bytes())))
"""


def read(cloud: Rehearsal, name: str) -> str:
    """Return a JSON object of the bucket in one line, or nothing if there is none."""
    outcome = cloud.run("python", "-W", "ignore", "-c", READ, name)
    return outcome.output.strip().splitlines()[-1] if outcome.code == 0 else ""


def test_a_bad_row_publishes_nothing_and_a_good_file_is_trained_on(cloud: Rehearsal, tmp_path: Path) -> None:
    before = read(cloud, "current.json")
    write(tmp_path / "matches.csv", 2000, '31,0,21.5,0.5,"Nord","Goal","Visa"')
    outcome = cloud.playbook("site.yml", "-e", f"training_data={tmp_path}/matches.csv")
    line = outcome.output.strip().splitlines()[-1]
    assert outcome.code != 0 and all(word in line for word in ("line 2,002", "zone", "Nord")), outcome.output[-3000:]
    assert read(cloud, "current.json") == before and "RUNNING" not in vm_states(cloud)
    assert cloud.playbook("playbooks/provision_resources.yml").code == 0

    write(tmp_path / "matches.parquet", 12_000)
    upload = (
        "import sys\nfrom google.cloud import storage\n"
        "storage.Client().bucket('fanops-m4-models').blob('data/matches.parquet').upload_from_filename(sys.argv[1])"
    )
    uploaded = cloud.run("python", "-W", "ignore", "-c", upload, str(tmp_path / "matches.parquet"))
    assert uploaded.code == 0, uploaded.output
    outcome = cloud.playbook("site.yml", "-e", "training_data=gs://fanops-m4-models/data/matches.parquet")
    assert outcome.code == 0, outcome.output[-4000:]
    pointer = json.loads(read(cloud, "current.json"))
    manifest = json.loads(read(cloud, f"manifests/{pointer['manifest']}.json"))
    assert manifest["samples"] < 12_000 and "matches.parquet" in manifest["source"], manifest["source"]
    assert set(vm_states(cloud)) == {"TERMINATED"}
