# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory this machine lets a training have, and which machine types of Google's have more."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import NamedTuple

from ml.progress import memory_bytes

_UNLIMITED = 2**60  # what a control group without a limit says, or more


class MachineType(NamedTuple):
    """A machine type; ``price`` is US dollars an hour on demand in us-central1 (November 2026)."""

    name: str
    memory: int  # bytes
    vcpus: float  # that are there all the time
    price: float


MACHINE_TYPES = (
    MachineType("e2-micro", 1 * 2**30, 0.25, 0.008376),
    MachineType("e2-small", 2 * 2**30, 0.5, 0.016753),
    MachineType("e2-medium", 4 * 2**30, 1, 0.033506),
    MachineType("e2-standard-2", 8 * 2**30, 2, 0.067011),
    MachineType("e2-standard-4", 16 * 2**30, 4, 0.134023),
    MachineType("e2-standard-8", 32 * 2**30, 8, 0.268046),
    MachineType("e2-standard-16", 64 * 2**30, 16, 0.536091),
)
SYSTEM_BYTES = 200 * 2**20  # what Debian and its services take on a VM


def suggest(memory: int = 0, vcpus: float = 0) -> str:
    """Return the cheapest machine type with that much memory (bytes, beside the system's) and CPU, in words."""
    for machine in MACHINE_TYPES:
        if machine.memory - SYSTEM_BYTES >= memory and machine.vcpus >= vcpus:
            free = " (in Always Free)" if machine.name == "e2-micro" else ""
            return f"vm_machine_type {machine.name} would do, ${machine.price:.4f} an hour{free}"
    return f"no machine type up to {MACHINE_TYPES[-1].name} would do"


def memory_budget(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that this process may have in all: what is free, and what it has already.

    Every control group that this process is in counts, and so does the machine. What others have is theirs, except for
    cached files, which the kernel gives up.
    """
    mine = memory_bytes("VmRSS")
    budget = _entry(proc / "meminfo", "MemAvailable:") * 1024 + mine
    for folder in _groups(proc, groups):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= _UNLIMITED:
            continue
        stat = folder / "memory.stat"
        cached = max(_entry(stat, "file"), _entry(stat, "total_cache"))
        budget = min(budget, limit - max(0, used - cached - mine))
    return budget


def return_freed_memory() -> None:
    """Give the kernel back what was freed. glibc keeps it, and the next step would grow the process beside it."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _groups(proc: Path, groups: Path) -> list[Path]:
    """Return the folders of this process's memory control group and of those above it (cgroup v2 and v1)."""
    found: list[Path] = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = groups / "memory" if controllers else groups
        folder = root / path.lstrip("/")
        while folder != root and root in folder.parents:
            found.append(folder)
            folder = folder.parent
        found.append(root)
    return found


def _number(*paths: Path) -> int | None:
    """Return the number in the first of ``paths`` that holds one."""
    for path in paths:
        if (text := _text(path).strip()).isdigit():
            return int(text)
    return None


def _entry(path: Path, name: str) -> int:
    """Return the number after ``name`` in a file of such pairs, 0 if there is none."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
