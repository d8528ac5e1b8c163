# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine-wide lock: one rehearsal a network, since it owns a bridge, the metadata server's address and two ports."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from rehearsal.errors import RehearsalError
from rehearsal.settings import Settings

LOCKS = Path("/run/lock")


def hold(settings: Settings) -> int:
    """Take the lock for the life of this process; return its file descriptor. RehearsalError when another has it."""
    descriptor = os.open(_path(settings), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RehearsalError("another rehearsal runs on this machine") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(settings.home).encode(), 0)
    return descriptor


def owner(settings: Settings) -> str:
    """Return the home of the rehearsal that holds the lock, "" when none does."""
    try:
        with _path(settings).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return file.read().strip()
    except FileNotFoundError:
        pass
    return ""


def _path(settings: Settings) -> Path:
    return LOCKS / f"google-cloud-{settings.bridge}"
