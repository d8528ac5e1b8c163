# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training is said to take, and what is refused because of it."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from ml.data.sources import Synthetic
from ml.forest.estimate import FINISH_SECONDS, UnfitError, fit, predict
from ml.forest.machine_types import machine_types, suggest, sustained_vcpus
from ml.forest.memory_budget import memory_budget
from ml.progress import memory_bytes

ROOT = Path(__file__).parents[3]
MIB = 2**20


def test_the_prediction_is_near_what_is_then_taken(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ml.train", "--samples", "200000", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    used, predicted = manifest["resources"], manifest["resources"]["predicted"]
    assert 0.85 < predicted["peak_memory_bytes"] / used["peak_memory_bytes"] < 1.25
    for name, key in (("model.onnx", "onnx_bytes"), ("model.joblib", "joblib_bytes")):
        assert 0.6 < predicted[key] / manifest["files"][name]["size"] < 1.6
    assert predicted["seconds"] > 0


def test_memory_does_not_grow_with_the_rows_and_time_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each look at the clock is a tenth of a second after the last one, however busy the machine is.
    ticks = itertools.count()
    monkeypatch.setattr("ml.forest.estimate.time.process_time", lambda: next(ticks) / 10)
    ten, hundred = (predict(Synthetic(rows, 1), 1, 2) for rows in (1_000_000, 10_000_000))
    assert hundred.memory < 1.15 * ten.memory
    assert hundred.seconds > 3 * ten.seconds
    # Beyond 17.5 million rows there are more partitions, and no more trees.
    assert predict(Synthetic(100_000_000, 1), 1, 2).onnx == hundred.onnx < 8_000_000


def test_seconds_are_those_of_the_cpus_that_a_shared_core_has_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("ml.forest.estimate.time.process_time", lambda: next(ticks) / 10)
    source = Synthetic(10_000_000, 1)
    full, micro, small, cluster = (
        predict(source, 1, 2, workers, vcpus or math.inf)
        for workers, vcpus in ((0, 2), (0, sustained_vcpus("e2-micro")), (0, sustained_vcpus("e2-small")), (3, 0.25))
    )
    work = (full.seconds - FINISH_SECONDS) * 2
    assert (full.cpus, micro.cpus, small.cpus, cluster.cpus) == (2, 0.25, 0.5, 0.75)
    for prediction, finish in ((micro, 4), (small, 2), (cluster, 4)):
        assert prediction.seconds == pytest.approx(work / prediction.cpus + FINISH_SECONDS * finish)
    # More CPUs than threads are of no use; a machine of which nothing is known has its threads.
    assert predict(source, 1, 2, vcpus=16).cpus == predict(source, 1, 2).cpus == 2

    limit = (full.seconds + micro.seconds) / 2
    assert fit(source, 1, 2, time_limit=limit, vcpus=2).jobs == 2
    with pytest.raises(
        UnfitError, match=r"with 0\.25 CPUs, which this machine type has all the time, .*e2-(small|medium) would do"
    ):
        fit(source, 1, 2, time_limit=limit, vcpus=0.25)
    assert sustained_vcpus("n9-standard-1") is None


def test_what_does_not_fit_is_refused_with_the_machine_that_would_do() -> None:
    source = Synthetic(100_000_000, 1)
    needed = predict(source, 1, 1).memory
    assert fit(source, 1, 1, budget=needed + 20 * MIB).jobs == 1
    with pytest.raises(
        UnfitError, match=r"MiB of memory and 300 MiB are free; vm_machine_type e2-(micro|small) would do, \$"
    ):
        fit(source, 1, 2, budget=300 * MIB)
    with pytest.raises(
        UnfitError, match=r"the limit is 60 s; raise training_timeout_seconds, or: .*e2-standard-\d+ would do"
    ):
        fit(source, 1, 2, time_limit=60)
    assert suggest(memory=500 * MIB).startswith("vm_machine_type e2-micro would do, $0.0084 an hour (in Always Free)")
    assert suggest(memory=3000 * MIB).startswith("vm_machine_type e2-medium")
    assert suggest(memory=10**13) == "no machine type up to e2-standard-16 would do"
    assert [(machine.name, machine.memory, machine.vcpus) for machine in machine_types()[:2]] == [
        ("e2-micro", 2**30, 0.25),
        ("e2-small", 2 * 2**30, 0.5),
    ]


def test_threads_are_given_up_before_a_training_is_refused() -> None:
    source = Synthetic(17_000_000, 1)
    one, eight = predict(source, 1, 1).memory, predict(source, 1, 8).memory
    assert eight > one + 50 * MIB
    assert 1 <= fit(source, 1, 8, budget=(one + eight) // 2).jobs < 8


def group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def machine(folder: Path, cgroup: str, available: int) -> dict[str, Path]:
    group(folder / "proc" / "self", {"cgroup": cgroup})
    (folder / "proc" / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {available // 1024} kB\n")
    return {"proc": folder / "proc", "groups": folder / "groups"}


def test_the_budget_is_the_tightest_control_group_less_what_others_use(tmp_path: Path) -> None:
    mine = memory_bytes("VmRSS")
    two = machine(tmp_path / "v2", "0::/system.slice/fanops-train-x.service\n", 8000 * MIB)
    group(two["groups"] / "system.slice", {"memory.max": "max\n", "memory.current": "1\n"})
    limits = {
        "memory.max": f"{1024 * MIB}",
        "memory.current": f"{mine + 300 * MIB}",
        "memory.stat": f"file {100 * MIB}\n",
    }
    group(two["groups"] / "system.slice" / "fanops-train-x.service", limits)
    assert abs(memory_budget(**two) - 824 * MIB) < 20 * MIB

    one = machine(tmp_path / "v1", "9:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x\n", 8000 * MIB)
    unlimited = {"memory.limit_in_bytes": f"{2**63 - 4096}", "memory.usage_in_bytes": "5"}
    group(one["groups"] / "memory" / "x", unlimited)
    outer = {"memory.limit_in_bytes": f"{512 * MIB}", "memory.usage_in_bytes": f"{mine}", "memory.stat": ""}
    for name, text in outer.items():
        (one["groups"] / "memory" / name).write_text(text)
    assert abs(memory_budget(**one) - 512 * MIB) < 20 * MIB

    none = machine(tmp_path / "none", "0::/\n", 700 * MIB)
    assert abs(memory_budget(**none) - mine - 700 * MIB) < 20 * MIB
    assert memory_budget() > 100 * MIB  # this machine
