# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory this machine lets a training have."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

from ml.progress import memory_bytes

_UNLIMITED = 2**60  # what a control group without a limit says, or more


def memory_budget(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that this process may use in total: what is free, and what it already has.

    The machine and every control group of this process set a limit. Memory of other processes is not available, except
    for cached files, which the kernel gives up.
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
