# SPDX-License-Identifier: GPL-3.0-or-later
"""Training on real guests: a million rows in 1 GiB, and three million on three guests of which one is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.core.schema import DEFAULT
from ml.core.serving import Model
from ml.data import synthetic
from tests.prove.figures import record, table
from tests.prove.guests import Guest
from tests.rehearsal.conftest import REPOSITORY, Controller, Rehearsal, vm_states

pytestmark = pytest.mark.timeout(1500)
SEED, UNSEEN = 42, 4711
ROWS: list[list[object]] = []

READ = """
import json, sys
from google.cloud import storage
bucket = storage.Client().bucket("fanops-m4-models")
pointer = json.loads(bucket.blob("current.json").download_as_bytes())
manifest = json.loads(bucket.blob(f"manifests/{pointer['manifest']}.json").download_as_bytes())
for name in ("model.onnx", "report.html"):
    bucket.blob(f"blobs/sha256/{manifest['files'][name]['sha256']}/{name}").download_to_filename(f"{sys.argv[1]}/{name}")
print(json.dumps(manifest))
"""


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    head = ("what", "machines", "rows", "peak memory", "training", "accuracy (best possible)", "what happened")
    record("Training on the VM", "make prove-training", table(head, ROWS))


def live(cloud: Rehearsal, folder: Path) -> dict[str, Any]:
    """Fetch the live release's model and report into `folder`; return its manifest."""
    outcome = cloud.run(sys.executable, "-W", "ignore", "-c", READ, str(folder))
    assert outcome.code == 0, outcome.output
    manifest: dict[str, Any] = json.loads(outcome.output.splitlines()[-1])
    return manifest


def add(what: str, machines: str, manifest: dict[str, Any], happened: str) -> None:
    used, metrics = manifest["resources"], manifest["metrics"]
    memory = f"{used['peak_memory_bytes'] / 2**20:.0f} MiB"
    accuracy = f"{metrics['accuracy']:.2%} ({metrics['ceiling']:.2%})"
    ROWS.append([what, machines, f"{manifest['samples']:,}", memory, f"{used['seconds']:.0f} s", accuracy, happened])


def test_a_million_rows_fit_into_one_gibibyte(cloud: Rehearsal, tmp_path: Path) -> None:
    controller = Controller(cloud, tmp_path / "site.log", "site.yml", "-e", "training_samples=1000000")
    while controller.process.poll() is None:
        time.sleep(1)
    assert controller.process.returncode == 0, controller.output[-5000:]
    manifest = live(cloud, tmp_path)
    assert manifest["samples"] == 1_000_000
    assert manifest["resources"]["peak_memory_bytes"] < 400e6
    assert "out of memory" not in controller.output
    assert set(vm_states(cloud)) == {"TERMINATED"}
    fetched = max((REPOSITORY / ".cache" / "reports").glob("*.html"), key=lambda path: path.stat().st_mtime)
    assert "Training run" in fetched.read_text(encoding="utf-8")
    assert (tmp_path / "report.html").stat().st_size > 20_000
    # The forest's settings were chosen on the held-out rows; rows that nobody has seen say whether that flatters it.
    features, labels = synthetic.partition(DEFAULT, UNSEEN, 0, 200_000)
    model = Model((tmp_path / "model.onnx").read_bytes(), DEFAULT, DEFAULT.classes)
    unseen = float((model.probabilities(features).argmax(axis=1) == labels).mean())
    assert abs(unseen - manifest["metrics"]["accuracy"]) < 0.003
    add("one guest", "1 x 1 GiB", manifest, f"no OOM kill; {unseen:.2%} on 200,000 rows of another seed")


def test_a_killed_worker_costs_time_and_the_model_is_that_of_one_machine(cloud: Rehearsal, tmp_path: Path) -> None:
    arguments = ["training_samples=3000000", "training_workers=2", "allow_billable=true", "monthly_ceiling_usd=100"]
    options = [part for argument in arguments for part in ("-e", argument)]
    controller = Controller(cloud, tmp_path / "site.log", "site.yml", *options)
    controller.wait_for("Dask cluster of 2 workers", 700)
    controller.wait_for(" trees/s", 120)  # the first partitions have come back
    Guest("ml-training-worker-1").switch_off()
    while controller.process.poll() is None:
        time.sleep(1)
    assert controller.process.returncode == 0, controller.output[-5000:]
    # The training VM is stopped, and nothing of the workers is there to be billed.
    assert list(cloud.status()["instances"].values()) == ["TERMINATED e2-micro"]
    manifest = live(cloud, tmp_path)
    assert manifest["engine"] == "Dask cluster of 2 workers"

    command = [
        sys.executable,
        "-m",
        "ml.train",
        "--samples",
        "3000000",
        "--seed",
        str(SEED),
        "--output",
        str(tmp_path / "one"),
    ]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    models = [
        Model((folder / "model.onnx").read_bytes(), DEFAULT, DEFAULT.classes) for folder in (tmp_path, tmp_path / "one")
    ]
    for features, _, _ in synthetic.held_out(DEFAULT):
        cluster, single = (model.probabilities(features).tobytes() for model in models)
        assert cluster == single
    add(
        "Dask, 200,000 predictions equal bit for bit to one machine's",
        "3 x 1 GiB",
        manifest,
        "one of two workers killed",
    )
