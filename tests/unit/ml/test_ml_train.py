# SPDX-License-Identifier: GPL-3.0-or-later
"""The training command."""

from __future__ import annotations

import io
import json
import time

import joblib
import pytest
from model_fixtures import BUCKET

from ml import fingerprint, releases
from ml.bucket import Bucket
from ml.features import COLUMNS
from ml.progress import Log, Progress, memory_bytes
from ml.serving import model_of
from ml.train import main


@pytest.fixture(autouse=True)
def fewer_held_out_rows(monkeypatch):
    monkeypatch.setattr("ml.dataset.held_out.__defaults__", (20_000,))


def test_a_run_says_what_it_does_saves_the_files_and_publishes_them(client, storage_url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    arguments = ["--samples", "1500", "--seed", "7", "--output", str(tmp_path / "run"), "--publish", f"gs://{BUCKET}"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    at = -1
    for milestone in (
        "training run: 1,500 samples, seed 7",
        "samples generated: 1,500 rows",
        "features encoded (15 dimensions)",
        "training 100 trees",
        "100 of 100 trees",
        "held-out rows; the best possible is",
        "files saved to",
        f"uploaded to gs://{BUCKET}/",
        "release 1 is live",
        "finished in",
    ):
        assert output.find(milestone) > at, milestone
        at = output.find(milestone)
    names = ["manifest.json", "model.joblib", "model.onnx", "model_columns.joblib"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == names

    release = releases.load_release(Bucket(BUCKET, client).read, ("model.onnx", "model_columns.joblib"))
    model_of(release)  # its golden rows are replayed
    assert joblib.load(io.BytesIO(release.files["model_columns.joblib"])) == list(COLUMNS)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["fingerprint"] == fingerprint.fingerprint(1500, 7) == release.manifest["fingerprint"]
    assert manifest["files"]["model.onnx"]["sha256"] == release.manifest["files"]["model.onnx"]["sha256"]
    assert manifest["resources"]["peak_memory_bytes"] > 50e6
    assert 0.5 < manifest["metrics"]["accuracy"] < manifest["metrics"]["ceiling"] < 0.95
    assert manifest["libraries"]["scikit-learn"].startswith("1.7.")

    assert main([*arguments, "--force"]) == 0
    assert "nothing uploaded" in capsys.readouterr().out

    worse = ["--samples", "100", "--output", str(tmp_path / "worse"), "--publish", f"gs://{BUCKET}"]
    assert main(worse) == 1
    error = capsys.readouterr().err
    assert "error: not published: the candidate's accuracy" in error
    assert error.count("\n") == 1
    assert releases.read_pointer(Bucket(BUCKET, client).read).version == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--samples", "99"], 2, "--samples must be at least 100, got 99"),
        (["--samples", "10000001"], 2, "at most 10,000,000 samples"),
        (["--seed", "-1"], 2, "--seed must be from 0"),
        (["--jobs", "-2"], 2, "--jobs must be 0"),
        (["--output", "/proc/nothing"], 2, "cannot use --output /proc/nothing"),
        (["--publish", "models"], 2, "'models' is not a bucket URL: write gs://"),
        (["--publish", "gs://absent-bucket"], 1, "create the bucket first"),
    ],
)
def test_a_mistake_ends_in_one_line_before_any_training(
    arguments, code, message, storage_url, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    if "--output" not in arguments:
        arguments = [*arguments, "--output", str(tmp_path)]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "training 100 trees" not in captured.out


def test_no_credentials_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert main(["--output", str(tmp_path), "--publish", "gs://some-bucket"]) == 1
    assert "set GOOGLE_APPLICATION_CREDENTIALS to a key file" in capsys.readouterr().err


def test_a_sign_of_life_while_trees_grow(capsys):
    with Progress(Log(), 100, interval=0.05) as progress:
        time.sleep(0.12)
        progress.advance(trees=40, rows=1000)
        time.sleep(0.12)
    lines = capsys.readouterr().out.splitlines()
    assert "0 of 100 trees, 0 rows, just begun" in lines[0]
    assert "40 of 100 trees, 1,000 rows, about" in lines[-1]
    assert memory_bytes("VmRSS") <= memory_bytes("VmHWM")
