# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees while a training runs: one line a milestone, and a sign of life at least every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

INTERVAL = 4.0  # seconds between signs of life; a watcher is promised 5


class Log:
    """Writes lines with the seconds since the start, flushed at once: a pipe or a journal sees each when it happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._start = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def __call__(self, message: str) -> None:
        """Write one line."""
        with self._lock:
            print(f"[{self.seconds:7.1f} s] {message}", file=self._stream, flush=True)


class Progress:
    """Counts the trees of a forest, and reports them from a thread of its own while they grow."""

    def __init__(self, log: Log, trees: int, interval: float = INTERVAL) -> None:
        self._log = log
        self._trees = trees
        self._interval = interval
        self._grown = 0
        self._rows = 0
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def advance(self, trees: int = 0, rows: int = 0) -> None:
        """Count finished trees and consumed rows."""
        self._grown += trees
        self._rows += rows

    def line(self) -> str:
        """Return the state of the work in one line."""
        elapsed = time.monotonic() - self._started
        left = (
            f"about {elapsed / self._grown * (self._trees - self._grown):.0f} s left" if self._grown else "just begun"
        )
        return (
            f"training: {self._grown} of {self._trees} trees, {self._rows:,} rows, {left}, "
            f"memory {memory_bytes('VmRSS') / 2**20:.0f} MiB"
        )

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            self._log(self.line())


def memory_bytes(entry: str = "VmHWM") -> int:
    """Return the resident memory of this process in bytes: its peak (VmHWM) or what it is now (VmRSS).

    Read from the kernel and not from getrusage, whose maximum is inherited from the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(entry + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {entry}")
