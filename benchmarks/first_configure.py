# SPDX-License-Identifier: GPL-3.0-or-later
"""What a first configure writes to the disk of a VM: ``make bench-configure``.

Runs the stages up to a running VM and configures it, on a rehearsal of its own that begins with an empty project. Then
the files in the guest whose inode changed since are counted, a file with several names once. What was written and
removed again is not in it, nor the bytecode that the first training leaves. Prints the table, writes
``benchmarks/results/configure.json``, and exits 0 only if every row holds.

Google's standard disk of 30 GB gives 3.6 MiB/s and 45 writes/s: what that makes of the figures is in the table as
arithmetic, not as a measurement.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rehearsed import rehearsed
from rehearsal.machine.podman import Podman
from rehearsal.settings import load

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "configure.json"
DISK_BYTES_A_SECOND, DISK_WRITES_A_SECOND = 3.6 * 2**20, 45
MOST_BYTES, MOST_FILES = 380e6, 9_000
COUNT = """
import collections, json, os, sys
since, seen = float(sys.argv[1]), set()
places = collections.defaultdict(lambda: [0, 0])
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
    for name in files:
        path = os.path.join(folder, name)
        found = os.lstat(path)
        if found.st_ctime >= since and (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            place = places["/".join(path.split("/")[:4])]
            place[0] += found.st_size
            place[1] += 1
print(json.dumps(places))
"""


def in_guest(*command: str) -> str:
    """Run a command in the one guest that is on, as root; return its output."""
    environment = Podman(load().home / "containers").environment()

    def podman(*arguments: str) -> str:
        return subprocess.run(
            ["podman", *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    name = next(n for n in podman("ps", "--quiet").split() if podman("exec", n, "hostname").strip() == "ml-training-vm")
    return podman("exec", name, *command)


def written(since: float) -> dict[str, list[int]]:
    """Return bytes and files that the guest has written since, by folder (three levels)."""
    found: dict[str, list[int]] = json.loads(in_guest("python3", "-c", COUNT, str(since)))
    return found


def row(measure: str, places: dict[str, list[int]]) -> dict[str, Any]:
    """Return a row of the table."""
    size, files = (sum(place[n] for place in places.values()) for n in (0, 1))
    text = f"{size / 1e6:.0f} MB in {files:,} files"
    paper = f"{size / DISK_BYTES_A_SECOND:.0f} s of bytes, {files / DISK_WRITES_A_SECOND:.0f} s of writes if each file is synced"
    words = f"<= {MOST_BYTES / 1e6:.0f} MB, <= {MOST_FILES:,} files"
    holds = size <= MOST_BYTES and files <= MOST_FILES
    return {"measure": measure, "ours": text, "on a pd-standard of 30 GB": paper, "bar": words, "holds": holds}


def main() -> int:
    """Measure, print and write; return the exit code."""
    with rehearsed("debian-12") as play:
        play("playbooks/validate_inputs.yml", "playbooks/provision_resources.yml")
        began = time.time()
        play("playbooks/configure_vm.yml")
        places = written(began)
    for name, (size, files) in sorted(places.items(), key=lambda place: -place[1][0])[:30]:
        print(f"  {size / 1e6:8.1f} MB {files:7,} {name}")
    rows = [row("first configure of a VM", places)]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for entry in rows:
        print("  ".join(map(str, entry.values())))
    return 0 if all(entry["holds"] for entry in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
