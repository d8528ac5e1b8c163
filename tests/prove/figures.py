# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures go from a proof straight into docs/reliability.md, each part under its own heading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reliability.md"
OPENING = """# Reliability

What was measured, on the rehearsal cloud of this repository, and the command that measures it again. `make prove` writes this page.
"""


def record(heading: str, command: str, text: str) -> None:
    """Replace the part under `heading` (without its `## `), or append it; `command` is how to reproduce it."""
    page = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else OPENING
    part = f"## {heading}\n\nReproduce with `{command}`.\n\n{text.strip()}\n"
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    page = page[: found.start()] + part + "\n" + page[found.end() :] if found else f"{page.rstrip()}\n\n{part}"
    DOCUMENT.write_text(page.rstrip() + "\n", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; a bar in a cell is no border."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines)
