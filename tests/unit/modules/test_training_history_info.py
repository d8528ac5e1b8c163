# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bucket and Google's schedule say of the runs, and the log of a start that trained nothing."""

from __future__ import annotations

from rehearsal.testing.client import Session
from tests.unit.modules.conftest import PROJECT, RunModule, act

BUCKET = "history"


def put(google: Session, run: str, **outcome: object) -> None:
    url = f"storage.googleapis.com/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=runs/{run}/outcome.json"
    times = {"started": "2026-11-23T06:00:00Z", "ended": "2026-11-23T06:01:00Z"}
    act(google, "POST", url, {"run": run, **times, **outcome})


def test_a_project_without_anything_has_no_history(run: RunModule) -> None:
    found = run("training_history_info", bucket=BUCKET, schedule="weekly")
    assert (found["outcomes"], found["schedule"], found["missed"]) == ([], None, [])


def test_the_last_outcomes_and_the_schedule(run: RunModule, google: Session) -> None:
    run("gcs_bucket", name=BUCKET, location="us-central1")
    for name in ("one", "two", "schedule-3"):
        put(google, name, result="nothing new")
    policy = {"vmStartSchedule": {"schedule": "30 3 * * 1"}, "timeZone": "UTC"}
    url = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/regions/us-east1/resourcePolicies"
    act(google, "POST", url, {"name": "weekly", "instanceSchedulePolicy": policy})
    google.forget()
    found = run("training_history_info", bucket=BUCKET, schedule="weekly", limit=2)
    assert [outcome["run"] for outcome in found["outcomes"]] == ["two", "schedule-3"]
    assert (found["schedule"]["cron"], found["schedule"]["timezone"], found["missed"]) == ("30 3 * * 1", "UTC", [])
    assert found["schedule"]["next"] and google.mutations == []
    log = run("training_log_info", bucket=BUCKET, run_id="schedule-3")
    assert "nothing new" in " ".join(log["lines"]) and log["run"]["status"]["result"] == "success"
    assert run("training_log_info", bucket=BUCKET, run_id="four")["failed"]
