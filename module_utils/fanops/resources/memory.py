# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of memory as Google's APIs write them."""

from __future__ import annotations

import re

UNITS = {"": 1, "k": 10**3, "Ki": 2**10, "M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}


def memory_bytes(text: str) -> int:
    """An amount such as ``512Mi``, ``512M``, ``1Gi`` (without a unit: bytes) in bytes, as Cloud Functions reads it.

    ValueError for anything else.
    """
    match = re.fullmatch(r"([1-9]\d*)(k|Ki|[MG]i?)?", text)
    if not match:
        raise ValueError(f"{text!r} is no amount of memory such as 512Mi or 1Gi")
    return int(match[1]) * UNITS[match[2] or ""]
