# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of memory as Google's APIs write them."""

from __future__ import annotations

import re

UNITS = {"M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}


def memory_bytes(text: str) -> int:
    """A function's memory (``512Mi``, ``512M``, ``1Gi``) in bytes, as Cloud Functions reads it; ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d*)(M|Mi|G|Gi)", text)
    if not match:
        raise ValueError(f"{text!r} is no amount of memory such as 512Mi or 1Gi")
    return int(match[1]) * UNITS[match[2]]
