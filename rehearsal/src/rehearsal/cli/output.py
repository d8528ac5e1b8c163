# SPDX-License-Identifier: GPL-3.0-or-later
"""How commands speak."""

from __future__ import annotations


def say(line: str) -> None:
    """Print one line of progress at once."""
    print(line, flush=True)
