# SPDX-License-Identifier: GPL-3.0-or-later
"""Serving measured: the function beside a function that does nothing (the limit) and beside the plain way.

    make bench-serving

Everything is measured in one run, in turns, against servers on this machine with the same framework and the same
worker settings, each in an environment of its own; releases come from a storage server on this machine. Under load a
server has one CPU, as an instance of the function has at most, and wrk has another. Each figure is
the median over the turns, and a ratio is the median of the ratios of each turn, so that a machine that is slow for a
while does no harm. Exits 0 only if every row of the table holds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from benchmarks.serving.contenders import ROOT, SAMPLES, Kind, environment, prepare
from ml.core.features import context_at
from ml.core.releases import Candidate
from ml.core.schema import DEFAULT
from ml.data import synthetic
from tests.faulty_storage import storage_server
from tests.running_function import Server, lay_out, running_function

HERE = Path(__file__).parent
RESULT = ROOT / "benchmarks" / "results" / "serving.json"
ROWS = 10_000
CONTEXT = json.dumps({"zone": "VIP", "event": "Goal", "match_minute": 78, "temperature": 31}).encode()


@contextmanager
def on_cpu(place: int) -> Iterator[None]:
    """Start processes on one CPU only, the first (0) or the last (-1) of those that there are."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def wrk(server: Server, connections: int, seconds: float) -> dict[str, float]:
    """Load a server from ``connections`` connections; return what wrk measured."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "post.lua"), f"{server.url}/"]
    with on_cpu(-1):
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"^JSON (.*)$", output, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"wrk said nothing:\n{output}")
    found: dict[str, float] = json.loads(match.group(1))
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{found['failed']} of {found['requests']} requests failed at {server.url}")
    return {"rps": found["requests"] / found["seconds"], "p50": found["p50"], "p95": found["p95"], "p99": found["p99"]}


def post(port: int, body: bytes) -> bytes:
    """Post ``body``; raise OSError while nobody answers, RuntimeError on anything but a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}: {content[:300]!r}")
    return content


def cold_start(kind: Kind, storage: str) -> float:
    """Return the seconds from the start of the process to the first prediction."""
    begun = time.perf_counter()
    with running_function(kind.source, storage, python=kind.python, wait=False) as server:
        while True:
            try:
                post(server.port, CONTEXT)
                return time.perf_counter() - begun
            except OSError:
                if server.process.poll() is not None:
                    raise RuntimeError(server.output.read_text()[-3000:]) from None
                time.sleep(0.005)


def memory(server: Server) -> int:
    """Return the resident bytes of the worker: the largest process of the server."""
    sizes = []
    for process in [server.process.pid, *_children(server.process.pid)]:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        sizes.append(int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024)  # type: ignore[union-attr]
    return max(sizes)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything; return the samples by measure and server."""
    python = arguments.python
    function = environment("function", ROOT / "ml/function/requirements.txt", python)
    plain_python = environment("plain", HERE / "plain/requirements.txt", python)
    samples: dict[str, Any] = {"python": subprocess.check_output([function, "-V"], text=True).split()[1]}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-")))
        storage = f"http://127.0.0.1:{stack.enter_context(storage_server())}"
        client = Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": storage})
        kinds = {}
        for name, interpreter in (("noop", function), ("plain", plain_python), ("ours", function)):
            source = folder / name
            source.mkdir()
            kinds[name] = Kind(name, source, interpreter)
            if name != "ours":
                (source / "main.py").write_bytes((HERE / name / "main.py").read_bytes())
        lay_out(kinds["ours"].source)
        candidate = prepare(folder, client, kinds["plain"])
        with on_cpu(0):
            servers = {
                name: stack.enter_context(running_function(kind.source, storage, python=kind.python))
                for name, kind in kinds.items()
            }
        load(servers, arguments, samples)
        samples["batch"] = batch(folder, kinds["ours"], servers["ours"], candidate)
        samples["cold"] = {"plain": [], "ours": []}
        for turn in range(arguments.starts):
            for name in ("plain", "ours"):
                samples["cold"][name].append(cold_start(kinds[name], storage))
            say(f"start {turn + 1} of {arguments.starts}: ours {samples['cold']['ours'][-1]:.2f} s, "
                f"plain {samples['cold']['plain'][-1]:.2f} s")  # fmt: skip
    return samples


def load(servers: dict[str, Server], arguments: argparse.Namespace, samples: dict[str, Any]) -> None:
    """Load the three servers in turns, and look at their memory after 1,000 requests."""
    for server in servers.values():
        for _ in range(1000):
            post(server.port, CONTEXT)
    samples["rss"] = {name: memory(server) for name, server in servers.items()}
    samples["c8"], samples["c1"] = {name: [] for name in servers}, {name: [] for name in servers}
    for turn in range(arguments.turns):
        order = list(servers)[turn % 3 :] + list(servers)[: turn % 3]
        for key, connections in (("c8", 8), ("c1", 1)):
            for name in order:
                samples[key][name].append(wrk(servers[name], connections, arguments.seconds))
        say(f"turn {turn + 1} of {arguments.turns}: " + ", ".join(
            f"{name} {samples['c8'][name][-1]['rps']:.0f}/s at c=8, p99 {samples['c1'][name][-1]['p99']:.0f} µs at c=1"
            for name in servers))  # fmt: skip


def batch(folder: Path, ours: Kind, server: Server, candidate: Candidate) -> dict[str, list[float]]:
    """Return predictions a second for a batch of 10,000 different rows: the model, the function, and over HTTP."""
    drawn = synthetic.draw_contexts(DEFAULT, ROWS, np.random.default_rng(7))
    body = json.dumps({"instances": [context_at(DEFAULT, drawn.arrays, row) for row in range(ROWS)]}).encode()
    (folder / "batch.json").write_bytes(body)
    (folder / "model.onnx").write_bytes(candidate.files["model.onnx"])
    (ours.source / "batch.py").write_bytes((HERE / "batch.py").read_bytes())
    command: list[str | Path] = [ours.python, "batch.py", folder / "model.onnx", folder / "batch.json"]
    found: dict[str, list[float]] = json.loads(subprocess.check_output(command, cwd=ours.source))
    found["http"] = []
    for _ in range(15):
        begun = time.perf_counter()
        post(server.port, body)
        found["http"].append(ROWS / (time.perf_counter() - begun))
    return found


def ratios(samples: dict[str, Any], key: str, figure: str, over: str) -> float:
    """Return the median over the turns of ours / ``over``."""
    pairs = zip(samples[key]["ours"], samples[key][over], strict=True)
    return float(statistics.median(ours[figure] / other[figure] for ours, other in pairs))


def table(samples: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows, in the form of the training benchmark's with a column for the no-op handler."""

    def middle(key: str, name: str, figure: str) -> float:
        return float(statistics.median(turn[figure] for turn in samples[key][name]))

    names = ("noop", "plain", "ours")
    speeds = [f"{middle('c8', name, 'rps'):,.0f}/s" for name in names]
    tails = [f"{middle('c1', name, 'p99') / 1000:.2f} ms" for name in names]
    rss = [f"{samples['rss'][name] / 2**20:.0f} MiB" for name in names]
    starts = {name: statistics.median(samples["cold"][name]) for name in ("plain", "ours")}
    started = ["-", *(f"{starts[name]:.2f} s" for name in ("plain", "ours"))]
    batches = {name: statistics.median(values) for name, values in samples["batch"].items()}
    limit, times = ratios(samples, "c8", "rps", "noop"), ratios(samples, "c8", "rps", "plain")
    tail, faster = ratios(samples, "c1", "p99", "noop"), starts["ours"] / starts["plain"]
    memory_share = samples["rss"]["ours"] / samples["rss"]["plain"]
    around = f"{batches['function']:,.0f}/s with validation and answers, {batches['http']:,.0f}/s over HTTP"
    return [
        row("requests/s, c = 8, against no-op", speeds, limit, ">= 0.85", limit >= 0.85),
        row("requests/s, c = 8, against plain", speeds, times, ">= 8", times >= 8),
        row("p99 at c = 1, against no-op", tails, tail, "<= 1.3", tail <= 1.3),
        row("start to first prediction, against plain", started, faster, "<= 1/3", faster <= 1 / 3),
        row("start to first prediction, p50", started, None, "< 1.2 s", starts["ours"] < 1.2),
        row("RSS after 1,000 requests, against plain", rss, memory_share, "<= 0.45", memory_share <= 0.45),
        row("10,000-row batch, predictions/s", ["-", "-", f"{batches['model']:,.0f}/s"], None, ">= 200,000",
            batches["model"] >= 200_000),
        row("the same batch", ["-", "-", around], None, "reported", None),
        row("settings", ["-", "-", samples["settings"]], None, "reported", None),
    ]  # fmt: skip


def row(measure: str, cells: list[str], ratio: float | None, bar: str, holds: bool | None) -> dict[str, Any]:
    """Return a row of the table; ``holds`` is None where nothing is asked."""
    rounded = None if ratio is None else round(ratio, 3)
    figures = dict(zip(("noop", "plain", "ours"), cells, strict=True))
    return {"measure": measure, **figures, "ratio": rounded, "bar": bar, "holds": holds is not False}


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print the table, write the result; return 0 only if every row holds."""
    parser = argparse.ArgumentParser(
        prog="make bench-serving", description="Measure the function beside the plain way."
    )
    parser.add_argument("--python", default=sys.executable, help="the Python of the servers (default: this one)")
    parser.add_argument("--turns", type=int, default=7, help="turns of load (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="of load in a turn (default %(default)s)")
    parser.add_argument("--starts", type=int, default=30, help="fresh processes (default %(default)s)")
    arguments = parser.parse_args()
    with suppress(PermissionError):  # not root: then others of this machine are in the way
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    load_before = os.getloadavg()[0]
    samples = measure(arguments)
    samples["settings"] = (
        f"1 worker, 8 threads, 1 CPU, {arguments.turns} turns of {arguments.seconds:g} s, {arguments.starts} starts, forest of "
        f"{SAMPLES:,} rows, Python {samples['python']}, {os.cpu_count()} CPUs, load {load_before:.1f} before"
    )
    rows = table(samples)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shown = [dict(zip(rows[0], rows[0], strict=True)), *rows]
    widths = [min(60, max(len(str(entry[name])) for entry in shown)) for name in rows[0]]
    for entry in shown:
        print("  ".join(str(value).ljust(width) for value, width in zip(entry.values(), widths, strict=True)).rstrip())
    return 0 if all(found["holds"] for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
