# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a training: what is live decides whether there is anything to train, and how the run is called."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.training.plan import FingerprintError, TrainingPlan, plan_training

from ml.core.schema import DEFAULT
from ml.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime.datetime(2026, 11, 27, 9, 30, 5, tzinfo=datetime.timezone.utc)
WANTED = fingerprint(10000, 42)["fingerprint"]


def run_command(command: list[str], cwd: str) -> tuple[int, str, str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def plan(live: dict[str, Any] | GoogleApiError | None, **options: Any) -> TrainingPlan:
    def read_live() -> dict[str, Any] | None:
        if isinstance(live, GoogleApiError):
            raise live
        return live

    given = {
        "bucket": "models",
        "source": str(ROOT),
        "python": None,
        "samples": 10000,
        "seed": 42,
        "data": "",
        "data_days": 0,
        "model_schema": "",
        "sponsor_catalogue": "",
        "accept_schema_change": False,
    }
    return plan_training(
        read_live, run_command, {**given, "force": False, "accept_source_change": False, **options}, sys.executable, NOW
    )


def test_without_a_release_there_is_everything_to_train() -> None:
    assert plan(None) == {
        "needed": True,
        "reason": "there is no release yet",
        "fingerprint": WANTED,
        "run_id": f"{WANTED[:12]}-first",
        "release": None,
        "plan": [{"resource": "release in gs://models", "change": "create", "actions": ["train on 10000 samples"]}],
        "failure": None,
    }


def test_a_release_of_the_same_fingerprint_leaves_nothing_to_train() -> None:
    live = {"fingerprint": WANTED, "manifest_sha256": "ab" * 32}
    found = plan(live)
    assert (found["needed"], found["release"]) == (False, live)
    assert found["reason"] == "the live release was made from the same code, data and parameters"
    assert found["plan"] == [{"resource": "release in gs://models", "change": "none", "actions": []}]


def test_a_run_is_named_by_what_it_is_made_of_and_by_the_release_that_it_replaces() -> None:
    found = plan({"fingerprint": "other", "manifest_sha256": "ab" * 32})
    assert (found["needed"], found["run_id"]) == (True, f"{WANTED[:12]}-abababab")
    assert found["reason"] == "the live release was made from other code, data or parameters"
    assert plan(None, seed=43)["run_id"] != plan(None)["run_id"]


def test_force_trains_what_is_live_already_under_a_name_of_its_own() -> None:
    found = plan({"fingerprint": WANTED, "manifest_sha256": "ab" * 32}, force=True)
    assert (found["needed"], found["reason"]) == (True, "a training is forced")
    assert found["run_id"] == f"{WANTED[:12]}-20261127t093005"


def test_a_release_that_cannot_be_read_is_reported_and_does_not_end_the_plan() -> None:
    found = plan(GoogleApiError("read gs://models/current.json", "it is not JSON", "Publish again."))
    assert (found["needed"], found["release"]) == (True, None)
    assert found["failure"] == "Could not read gs://models/current.json: it is not JSON. Publish again."


def test_a_data_file_is_named_in_the_plan_and_one_that_is_missing_ends_it(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n", encoding="utf-8")
    assert plan(None, data=str(rows))["plan"][0]["actions"] == [f"train on {rows}"]
    with pytest.raises(FingerprintError, match=r"cannot read the data file .*gone\.csv: No such file"):
        plan(None, data=str(tmp_path / "gone.csv"))


def test_synthetic_rows_never_replace_own_data_without_a_word() -> None:
    own = {"fingerprint": "x", "source": "2,700 rows of matches.csv", "manifest_sha256": "0" * 64}
    with pytest.raises(
        FingerprintError, match=r"learned 2,700 rows of matches\.csv; .* training_accept_source_change=true"
    ):
        plan(own)
    assert plan(own, accept_source_change=True)["needed"]
    assert plan({**own, "fingerprint": WANTED})["needed"] is False
    assert plan({**own, "source": "10,000 synthetic rows"})["needed"]


def test_what_callers_could_not_send_any_more_is_refused_before_a_vm_is_started(tmp_path: Path) -> None:
    document = json.loads((ROOT / "ml/core/schema.json").read_text(encoding="utf-8"))
    zone = next(field for field in document["fields"] if field["name"] == "zone")
    zone["values"] = [value for value in zone["values"] if value["name"] != "West"] + ["Skybox"]
    own = tmp_path / "stadium.json"
    own.write_text(json.dumps(document), encoding="utf-8")
    live = {"fingerprint": "other", "manifest_sha256": "ab" * 32, "model_schema": DEFAULT.document}
    given: dict[str, Any] = {"model_schema": str(own), "data": str(ROOT / "pyproject.toml")}
    with pytest.raises(FingerprintError) as refused:
        plan(live, **given)
    assert str(refused.value) == (
        "Callers could not send what the live release accepts: zone without West. Correct model_schema, or accept it with "
        "-e accept_schema_change=true."
    )
    accepted = plan(live, accept_schema_change=True, **given)
    assert accepted["needed"] and accepted["fingerprint"] != plan(live, data=given["data"])["fingerprint"]
    own.write_text("{", encoding="utf-8")
    with pytest.raises(FingerprintError, match=r"stadium.json, line 1: .*; correct the JSON"):
        plan(live, **given)
