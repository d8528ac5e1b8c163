# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the state of a machine, a line for each file, unit and package: run as root, with nothing but Debian's Python.

A file's line has its time of modification, a unit's its main process: what was written or restarted without being
changed shows as well.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("/etc", "/opt", "/usr/local", "/var/lib/fanops", "/home", "/root")
# What a login or an interpreter leaves behind, whatever the role does.
PASSING = {"__pycache__", ".ansible", ".cache"}


def files() -> Iterator[str]:
    """Every file and folder that a role may have made."""
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - PASSING)
            for name in sorted(names):
                path = Path(folder, name)
                status = path.lstat()
                target = f" -> {path.readlink()}" if path.is_symlink() else ""
                owner = f"{status.st_uid}:{status.st_gid}"
                yield f"file {path}{target} {oct(status.st_mode)} {owner} {status.st_size} {status.st_mtime_ns}"


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def units() -> Iterator[str]:
    """The units that are not Debian's own. One that comes and goes by a timer is told by its file only."""
    wanted = "--property=Id,FragmentPath,UnitFileState,ActiveState,MainPID,NRestarts,Type"
    for block in output("systemctl", "show", wanted, "*").strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines())
        # Every login has a scope of its own.
        ours = unit["FragmentPath"].startswith(("/etc/systemd", "/run/systemd/transient"))
        if ours and not unit["Id"].endswith(".scope"):
            passing = {"ActiveState", "MainPID", "NRestarts"} if unit.get("Type") == "oneshot" else set()
            yield "unit " + " ".join(f"{name}={value}" for name, value in sorted(unit.items()) if name not in passing)


def packages() -> Iterator[str]:
    """What dpkg has installed."""
    yield from sorted(
        output("dpkg-query", "--show", "--showformat=package ${Package} ${Version} ${Status}\n").splitlines()
    )


if __name__ == "__main__":
    for line in [*files(), *sorted(units()), *packages()]:
        print(line)
