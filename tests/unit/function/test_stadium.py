# SPDX-License-Identifier: GPL-3.0-or-later
"""A stadium of one's own: trained and served without touching the code or the running function, and taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.cloud.storage import Client

from ml.bucket import Bucket
from ml.core.releases import read_manifest, read_pointer
from ml.core.schema import DEFAULT
from tests.rollbacks import roll_back
from tests.running_function import lay_out, running_function
from tests.stadium import GOAL, GONE, Description, OldClient, train, write_stadium
from tests.unit.ml.model_fixtures import BUCKET, Candidates, publish_unproven

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def served(client: Client, candidates: Candidates, storage_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of the function, which serves a release that an older version of this project made."""
    old = {name: fact for name, fact in candidates[0].facts.items() if name != "model_schema"}
    publish_unproven(Bucket(BUCKET, client), type(candidates[0])(candidates[0].files, old))
    with running_function(lay_out(tmp_path / "function"), storage_url, MODEL_REFRESH_SECONDS="0") as server:
        yield server.url


@pytest.fixture
def stadium(tmp_path: Path) -> Description:
    return write_stadium(tmp_path / "site")


def ask(url: str, **context: Any) -> requests.Response:
    return requests.post(url, json=context, timeout=60)


def until(url: str, version: int) -> None:
    """Ask until a release answers: a look that takes longer than a request may goes on beside the next ones."""
    for _ in range(2000):
        if ask(url, **GOAL).json()["release"]["version"] == version:
            return
    raise AssertionError(f"release {version} never answered")


def test_new_zones_and_sponsors_are_live_after_a_training_and_gone_after_a_rollback(
    served: str, stadium: Description, client: Client, storage_url: str, tmp_path: Path
) -> None:
    bucket = Bucket(BUCKET, client)
    crowd = OldClient(served)
    crowd.start()
    refused = ask(served, zone="Skybox")
    assert refused.status_code == 400 and "one of VIP, North, South, East, West" in refused.json()["detail"]
    assert set(ask(f"{served}/?probabilities=true", **GOAL).json()["probabilities"]) == set(DEFAULT.classes)

    ended = train(storage_url, BUCKET, stadium, tmp_path / "run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    until(served, 2)
    answer = ask(f"{served}/?probabilities=true", zone="Skybox", event="Penalty").json()
    assert (answer["recommended_sponsor"], answer["category"]) == ("Nike", "Apparel")
    assert answer["campaign_message"].endswith("Nike.") and answer["release"]["version"] == 2
    assert not set(GONE) & set(answer["probabilities"]) and "Nike" in answer["probabilities"]
    described = requests.get(f"{served}/schema", timeout=60).json()
    assert [v["fr"] for v in described["fields"][4]["values"]][-2:] == ["Nord-ouest", "Loge"]
    zones = requests.get(f"{served}/openapi.json", timeout=60).json()["components"]["schemas"]["Context"]["properties"][
        "zone"
    ]
    assert zones["enum"][-2:] == ["Northwest", "Skybox"]
    manifest = read_manifest(bucket.read, read_pointer(bucket.read).manifest)
    assert len(manifest["columns"]) == 18 and manifest["classes"] == sorted(manifest["classes"])

    roll_back(storage_url, "previous")
    until(served, 3)
    assert ask(served, zone="Skybox").status_code == 400
    answers = crowd.end()
    assert {status for status, _ in answers} == {200}, answers
    assert {version for _, version in answers} >= {1, 2}, answers


def test_what_would_take_something_from_callers_is_refused_before_it_is_trained(
    stadium: Description, client: Client, candidates: Candidates, storage_url: str, tmp_path: Path
) -> None:
    publish_unproven(Bucket(BUCKET, client), candidates[0])
    document = json.loads(stadium.schema.read_text(encoding="utf-8"))
    document["fields"][0]["maximum"] = 129
    del document["fields"][4]["values"][0]
    document["fields"][4]["example"] = "West"
    stadium.schema.write_text(json.dumps(document), encoding="utf-8")
    ended = train(storage_url, BUCKET, stadium, tmp_path / "run", "--force")
    assert ended.returncode == 1 and "partitions" not in ended.stdout
    assert ended.stderr.splitlines() == [
        "error: callers could not send what the live release accepts: match_minute from 0 to 129 instead of 0 to 130; zone "
        "without VIP; correct the schema, or accept that: --accept-schema-change, accept_schema_change=true for a playbook"
    ]
    rows = [row for row in stadium.data.read_text(encoding="utf-8").splitlines() if ",VIP," not in row]
    stadium.data.write_text("\n".join(rows), encoding="utf-8")
    ended = train(storage_url, BUCKET, stadium, tmp_path / "run", "--accept-schema-change", "--force")
    assert ended.returncode == 0, ended.stderr
    reason = read_pointer(Bucket(BUCKET, client).read).reason
    assert "zone without VIP" in reason


def test_synthetic_rows_for_what_no_rule_knows_end_in_one_line(
    stadium: Description, storage_url: str, tmp_path: Path
) -> None:
    from tests.stadium import command

    ended = command(
        storage_url,
        "ml.train",
        f"--schema={stadium.schema}",
        f"--sponsors={stadium.sponsors}",
        f"--output={tmp_path / 'x'}",
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "error: no rule draws synthetic rows for zone Northwest, zone Skybox, event Penalty, sponsor Nike: bring training_data "
        "(--data) with rows that show them"
    ]
