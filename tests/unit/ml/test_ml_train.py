# SPDX-License-Identifier: GPL-3.0-or-later
"""The training command."""

from __future__ import annotations

import io
import itertools
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import pytest
from google.cloud.storage import Client

from ml import fingerprint
from ml.bucket import Bucket
from ml.core import releases
from ml.core.schema import DEFAULT
from ml.core.serving import model_of
from ml.core.spending import Rates
from ml.forest.estimate import Prediction
from ml.forest.machine_types import price_document
from ml.progress import Log, Progress, memory_bytes
from ml.publish.this_machine import Machine
from ml.report import run_report
from ml.train import main
from tests.unit.ml.model_fixtures import BUCKET

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def fewer_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.data.synthetic.held_out.__defaults__", (20_000,))


def test_a_run_says_what_it_does_saves_the_files_and_publishes_them(
    client: Client,
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    arguments = ["--samples", "1500", "--seed", "7", "--output", str(tmp_path / "run"), "--publish", f"gs://{BUCKET}"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    at = -1
    for milestone in (
        "training run: 1,500 samples, seed 7",
        "samples generated a partition at a time: 1,500 synthetic rows; features encoded (15 dimensions)",
        "predicted: about",
        "training 100 trees on 1 partition of 1,500 rows",
        "100 of 100 trees",
        "held-out rows; the best possible is",
        "files saved to",
        f"uploaded to gs://{BUCKET}/",
        "release 1 is live",
        "finished in",
    ):
        assert output.find(milestone) > at, milestone
        at = output.find(milestone)
    names = ["manifest.json", "model.joblib", "model.onnx", "model_columns.joblib", "report.html"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == names

    release = releases.load_release(Bucket(BUCKET, client).read, ("model.onnx", "model_columns.joblib"))
    model_of(release)  # its golden rows are replayed
    assert joblib.load(io.BytesIO(release.files["model_columns.joblib"])) == list(DEFAULT.columns)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["fingerprint"] == fingerprint.fingerprint(1500, 7) == release.manifest["fingerprint"]
    assert manifest["files"]["model.onnx"]["sha256"] == release.manifest["files"]["model.onnx"]["sha256"]
    assert manifest["resources"]["peak_memory_bytes"] > 50e6
    assert 0.5 < manifest["metrics"]["accuracy"] < manifest["metrics"]["ceiling"] < 0.95
    assert manifest["libraries"]["scikit-learn"].startswith("1.7.")
    assert manifest["made_by"] == f"fanops-m4 {(ROOT / 'ml/VERSION').read_text().strip()}"

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
        (["--samples", "1000", "--data", "x.csv"], 2, "give --samples or --data, not both"),
        (["--data", "/nonexistent/x.csv"], 1, "cannot read the data file /nonexistent/x.csv: No such file"),
        (["--engine", "dask"], 2, "--engine dask needs --scheduler tls://HOST:PORT"),
        (["--scheduler", "tls://127.0.0.1:1"], 2, "missing: ca.pem, cert.pem, key.pem"),
        (["--scheduler", "tls://127.0.0.1:1", "--engine", "threads"], 2, "--scheduler goes with --engine dask"),
        (["--samples", "50000000", "--time-limit", "9"], 1, "and the limit is 9 s; raise training_timeout_seconds"),
        (["--seed", "-1"], 2, "--seed must be from 0"),
        (["--jobs", "-2"], 2, "--jobs must be 0"),
        (["--output", "/proc/nothing"], 2, "cannot use --output /proc/nothing"),
        (["--publish", "models"], 2, "'models' is not a bucket URL: write gs://"),
        (["--publish", "gs://absent-bucket"], 1, "create the bucket first"),
    ],
)
def test_a_mistake_ends_in_one_line_before_any_training(
    arguments: list[str],
    code: int,
    message: str,
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    if "--output" not in arguments:
        arguments = [*arguments, "--output", str(tmp_path)]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "training 100 trees" not in captured.out


def test_a_size_that_is_none_is_said_by_the_options_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--function-memory", "half"])
    assert ended.value.code == 2
    assert "argument --function-memory: 'half' is no size such as 512Mi or 1Gi" in capsys.readouterr().err


def test_no_credentials_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert main(["--output", str(tmp_path), "--publish", "gs://some-bucket"]) == 1
    assert "set GOOGLE_APPLICATION_CREDENTIALS to a key file" in capsys.readouterr().err


def test_a_sign_of_life_while_trees_grow(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(Log(clock=lambda: now[0]), 100, 2000)
    progress.show()
    now[0] = 8.0
    progress.advance(trees=40, rows=1000)
    progress.show()
    begun, growing = capsys.readouterr().out.splitlines()
    assert "0 of 100 trees, 0 of 2,000 rows, just begun, memory" in begun
    assert re.search(
        r"8\.0 s\] .* 40 of 100 trees, 1,000 of 2,000 rows, 5\.0 trees/s, about 12 s left, memory \d+ MiB", growing
    )
    assert memory_bytes("VmRSS") <= memory_bytes("VmHWM")


def test_signs_of_life_come_by_themselves() -> None:
    seen = threading.Event()

    class Watched(Log):
        def __call__(self, message: str) -> None:
            seen.set()

    with Progress(Watched(), 100, 2000, interval=0.01):
        assert seen.wait(60)


def test_a_terminal_gets_a_bar_that_lines_replace() -> None:
    now = [0.0]
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        log = Log(terminal, lambda: now[0])
        progress = Progress(log, 100, 2000)
        progress.advance(trees=50, rows=1000)
        now[0] = 0.6
        progress.show()
        log("a milestone")
        shown = ""
        while "a milestone\r\n" not in shown:  # a read returns what the terminal has passed on by then
            shown += os.read(master, 65536).decode()
    assert f"[{'#' * 15}{'.' * 15}] 50 of 100 trees, 1,000 of 2,000 rows" in shown
    assert re.search(r"\r\x1b\[K\[ +0\.6 s\] a milestone\r\n", shown)


def test_a_killed_run_goes_on_where_it_was_and_ends_in_the_same_model(tmp_path: Path) -> None:
    arguments = [sys.executable, "-u", "-m", "ml.train", "--samples", "100000", "--jobs", "1", "--output"]
    whole = subprocess.run([*arguments, tmp_path / "whole"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "resuming" not in whole.stdout
    partitions = tmp_path / "cut" / "partitions"
    killed = subprocess.Popen([*arguments, tmp_path / "cut"], cwd=ROOT, stdout=subprocess.DEVNULL)
    while len(list(partitions.rglob("*.trees"))) < 2:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    finished = sorted(partitions.rglob("*.trees"))
    damaged = bytearray(finished[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    finished[0].write_bytes(damaged)  # it must be noticed, and its trees be grown again
    (partitions / "another-run").mkdir()

    resumed = subprocess.run([*arguments, tmp_path / "cut"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"resuming: {len(finished) - 1} of 5 partitions were finished" in resumed.stdout
    for name in ("model.onnx", "model.joblib"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not partitions.exists()


def test_the_ceiling_ends_a_run_in_order_and_another_month_goes_on(
    client: Client,
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    partitions = tmp_path / "partitions"
    begun = 1_795_780_800.0  # 2026-11-27, noon

    def clock() -> float:  # each partition takes an hour
        return begun + 3600 * len(list(partitions.rglob("*.trees")))

    machine = Machine("ml-training-vm", "e2-small", "us-central1-a", 0.0)
    monkeypatch.setattr("ml.publish.this_machine.this_machine", lambda: machine)
    monkeypatch.setattr("ml.publish.month_ceiling.MonthCeiling.__init__.__defaults__", (clock,))
    rates = Rates.of(price_document())
    hour = rates.hours["e2-small"] + rates.address_hour
    arguments = ["--samples", "100000", "--jobs", "1", "--output", str(tmp_path), "--publish", f"gs://{BUCKET}"]
    assert main([*arguments, f"--monthly-ceiling={hour * 5 / 2}"]) == 3
    printed = capsys.readouterr()
    assert (
        "error: ended in order, 2 of 5 partitions are finished and kept: ml-training-vm (e2-small) would pass"
        in printed.err
    )
    assert printed.err.count("\n") == 1 and f"come to ${hour * 2:.2f} beyond Always Free" in printed.err
    assert len(list(partitions.rglob("*.trees"))) == 2 and Bucket(BUCKET, client).read_versioned("current.json") is None

    assert main([*arguments, "--monthly-ceiling=0"]) == 3
    assert "refused before it began" in capsys.readouterr().err
    begun = 1_796_342_400.0  # in December
    monkeypatch.setattr("ml.publish.month_ceiling.MonthCeiling.__init__.__defaults__", (lambda: begun,))
    assert main([*arguments, f"--monthly-ceiling={hour * 5 / 2}"]) == 0
    assert "resuming: 2 of 5 partitions" in capsys.readouterr().out


def test_a_time_limit_is_judged_by_what_the_machine_type_has_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("ml.forest.estimate.time.process_time", lambda: next(ticks) / 1000)
    machine = Machine("ml-training-vm", "e2-micro", "us-central1-a", 60.0)
    monkeypatch.setattr("ml.publish.this_machine.this_machine", lambda: machine)
    # The work is less than three seconds of a CPU, finishing it takes four; a quarter of a CPU needs four times as long.
    arguments = ["--samples", "1000", "--jobs", "1", "--output", str(tmp_path), "--time-limit"]
    assert main([*arguments, "10"]) == 1
    assert "with 0.25 CPUs, which this machine type has all the time," in capsys.readouterr().err
    machine = Machine("ml-training-vm", "e2-standard-2", "us-central1-a", 60.0)
    assert main([*arguments, "10"]) == 0
    assert "on 1 thread" in capsys.readouterr().out


def test_a_run_that_fails_leaves_a_report_with_the_reason_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ml.forest.random_forest.grow", exhausted)
    monkeypatch.setattr("ml.forest.estimate.fit", lambda *_, **__: Prediction(1, 1, 1, 1, 1, 1))
    assert main(["--output", str(tmp_path)]) == 1
    assert "error: out of memory at" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text()
    assert "The training failed and nothing was published: out of memory at" in page
    assert "training run: 10,000 samples" in page

    # and one whose process was killed gets it from outside
    (tmp_path / "training.log").write_text("[    0.1 s] <b>training</b>\nKilled\n")
    (tmp_path / "run.json").write_text(json.dumps({"argv": ["python", "-m", "ml.train"]}))
    assert run_report.main([str(tmp_path), "--reason", "the kernel killed it"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "nothing was published: the kernel killed it" in page
    assert "&lt;b&gt;training" in page
    assert run_report.main([str(tmp_path / "absent")]) == 1
    assert "name the folder of a run" in capsys.readouterr().err
