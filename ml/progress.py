# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees while a training runs: one line a milestone, and trees, rate, time left and memory in between.

On a terminal that is a bar; in a pipe or a journal it is a line every few seconds.
"""

from __future__ import annotations

import collections
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO

INTERVAL = 4.0  # seconds between signs of life; a watcher is promised 5
_BAR_INTERVAL = 0.25
_BAR_WIDTH = 30
_TAIL_LINES = 200


class Log:
    """Writes lines with the seconds since the start, flushed at once: a pipe or a journal sees each when it happens."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self.clock = clock
        self._start = clock()
        self._lock = threading.Lock()
        self.tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)  # the last lines, for the report
        self.terminal = self._stream.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._start

    def __call__(self, message: str) -> None:
        """Write one line."""
        line = f"[{self.seconds:7.1f} s] {message}"
        with self._lock:
            self.tail.append(line)
            print(f"\r\x1b[K{line}" if self.terminal else line, file=self._stream, flush=True)

    def bar(self, text: str) -> None:
        """Replace the last line of a terminal; the next line takes its place."""
        with self._lock:
            print(f"\r\x1b[K{text}", end="", file=self._stream, flush=True)


class Progress:
    """Counts the trees of a forest and the rows they grew on, and reports them from a thread of its own."""

    def __init__(self, log: Log, trees: int, rows: int, interval: float = INTERVAL) -> None:
        self._log = log
        self._trees, self._rows = trees, rows
        self._interval = _BAR_INTERVAL if log.terminal else interval
        self._grown = self._used = self._resumed = 0
        self._started = log.clock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._started = self._log.clock()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._log(self.line())

    def advance(self, trees: int = 0, rows: int = 0, *, resumed: bool = False) -> None:
        """Count finished trees and used rows; those that an earlier attempt did say nothing about the rate."""
        self._grown += trees
        self._used += rows
        if resumed:
            self._resumed += trees

    def line(self) -> str:
        """Return the state of the work in one line."""
        elapsed = self._log.clock() - self._started
        done = self._grown - self._resumed
        if self._grown >= self._trees:
            left = f"{elapsed:.0f} s"
        elif done:
            left = f"{done / elapsed:.1f} trees/s, about {elapsed / done * (self._trees - self._grown):.0f} s left"
        else:
            left = "just begun"
        return (
            f"training: {self._grown} of {self._trees} trees, {self._used:,} of {self._rows:,} rows, {left}, "
            f"memory {memory_bytes('VmRSS') / 2**20:.0f} MiB"
        )

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            self.show()

    def show(self) -> None:
        """Give one sign of life."""
        if self._log.terminal:
            filled = _BAR_WIDTH * self._grown // self._trees
            self._log.bar(f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {self.line().removeprefix('training: ')}")
        else:
            self._log(self.line())


def memory_bytes(entry: str = "VmHWM") -> int:
    """Return the resident memory of this process in bytes: its peak (VmHWM) or what it is now (VmRSS).

    Read from the kernel and not from getrusage, whose maximum is inherited from the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(entry + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {entry}")
