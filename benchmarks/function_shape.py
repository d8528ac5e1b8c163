# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed function under load, through the rehearsal's front door, in two shapes: ``make bench-shape``.

A site is made on a rehearsal of its own, then its function is loaded by wrk, in turns with the shape that is deployed
by default and with the one that Google gives to 512 MiB where nobody asks for more: a third of a CPU and one request at
a time. Both may have three instances. Their instances have the CPUs of their shape, as containers.

What a million predictions cost is counted as Google bills requests: an instance's CPUs and memory for as long as it has
a request, at the list prices, free quantities not taken off, plus the price of the requests. Under a load without
pauses every instance that runs is billed all the time.

Prints the table, writes ``benchmarks/results/shape.json``, and exits 0 only if every row holds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import yaml

from benchmarks.rehearsed import rehearsed
from rehearsal.cli.ask import local_url
from rehearsal.machine.podman import Podman
from rehearsal.settings import load

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "shape.json"
SCRIPT = Path(__file__).parent / "front_door.lua"
SHAPES = {
    "1 CPU, 40 at a time": ("function_cpu=1", "function_concurrency=40"),
    "0.333 CPU, 1 at a time": ("function_cpu=0.333", "function_concurrency=1"),
}
CPUS = dict(zip(SHAPES, (Decimal(1), Decimal("0.333")), strict=True))
GIB = Decimal("0.5")
CONNECTIONS = (8, 32, 100)
TURNS, SECONDS = 3, 12


def instances() -> int:
    """Return how many instances of the function run."""
    environment = Podman(load().home / "containers").environment()
    command = ["podman", "ps", "--quiet", "--filter", "name=^fn-"]
    return len(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


def loaded(url: str, connections: int, seconds: int) -> dict[str, float]:
    """Load the function; return requests answered, seconds, failures and 429s, milliseconds of p50 and p99, and instances."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output.partition("JSON ")[2].splitlines()[0])
    served = found["requests"] - found["refused"]
    return {
        "rps": served / found["seconds"], "refused": found["refused"], "failed": found["failed"] - found["refused"],
        "p50": found["p50"] / 1000, "p99": found["p99"] / 1000, "instances": instances(),
    }  # fmt: skip


def dollars_a_million(shape: str, found: dict[str, float]) -> float:
    """Return the list price of a million answered requests, as the module's docstring says."""
    prices = yaml.safe_load((ROOT / "pricing/google_cloud.yml").read_text(encoding="utf-8"))["function"]
    second = CPUS[shape] * Decimal(str(prices["vcpu_second"])) + GIB * Decimal(str(prices["gib_second"]))
    busy = Decimal(found["instances"]) / Decimal(found["rps"]) * 1_000_000
    return float(busy * second + Decimal(str(prices["request_million"])))


def main() -> int:
    """Measure, print and write; return the exit code."""
    samples: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with rehearsed("debian-12", "python313") as play:
        play("site.yml")
        url = local_url(load(), "fanops-rehearsal/us-central1/m4-sponsor-ai")
        for turn in range(TURNS):
            for shape, variables in SHAPES.items():
                play("playbooks/deploy_function.yml", *(part for given in variables for part in ("-e", given)))
                loaded(url, max(CONNECTIONS), 15)  # until all instances are there
                for connections in CONNECTIONS:
                    samples[shape, connections].append(loaded(url, connections, SECONDS))
                    print(f"turn {turn + 1}: {shape}, {connections}: {samples[shape, connections][-1]}", flush=True)

    rows = []
    for connections in CONNECTIONS:
        middle = {}
        for shape in SHAPES:
            turns = [turn | {"dollars": dollars_a_million(shape, turn)} for turn in samples[shape, connections]]
            middle[shape] = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        ours, narrow = middle.values()
        ratio = ours["rps"] / narrow["rps"]
        said = {
            shape: f"{found['rps']:,.0f}/s, p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms, {found['refused']:.0f} refused, "
            f"{found['failed']:.0f} failed, {found['instances']:.0f} instances, ${found['dollars']:.2f} a million"
            for shape, found in middle.items()
        }
        holds = ratio >= 10 and ours["failed"] + ours["refused"] == 0 and ours["dollars"] <= narrow["dollars"]
        bar = ">= 10, none failed, no dearer"
        rows.append(
            {"measure": f"{connections} connections", **said, "ratio": round(ratio, 2), "bar": bar, "holds": holds}
        )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for entry in rows:
        print("  ".join(map(str, entry.values())))
    return 0 if all(entry["holds"] for entry in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
