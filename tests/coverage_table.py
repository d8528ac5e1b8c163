# SPDX-License-Identifier: GPL-3.0-or-later
"""What of our Python the unit and the end-to-end tests execute, by folder, and the functions that nothing executes.

Reads what ``coverage json`` writes; prints both and puts them into docs/reliability.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.prove.figures import record, table


def folders(files: dict[str, Any]) -> list[tuple[str, int, int, str]]:
    """Return name, statements, executed ones and their share of every top folder, and of all together."""
    counts: dict[str, list[int]] = {}
    for name, file in files.items():
        for key in (name.partition("/")[0], "together"):
            total = counts.setdefault(key, [0, 0])
            total[0] += file["summary"]["num_statements"]
            total[1] += file["summary"]["covered_lines"]
    order = sorted(counts, key=lambda key: (key == "together", key))
    totals = [(key, counts[key]) for key in order]
    return [(key, there, run, f"{run / max(1, there):.1%}") for key, (there, run) in totals]


def unexecuted(files: dict[str, Any]) -> list[str]:
    """Return ``file: function`` of every function of which no line was executed."""
    return [
        f"`{name}`: `{function}`"
        for name, file in sorted(files.items())
        for function, part in file.get("functions", {}).items()
        if function and part["summary"]["num_statements"] and not part["summary"]["covered_lines"]
    ]


def main() -> int:
    """Print and record; return the exit code."""
    files = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"]
    idle = unexecuted(files)
    text = table(("folder", "statements", "executed", "share"), folders(files))
    text += f"\n\nFunctions of which nothing was executed: {len(idle)}.\n\n" + "\n".join(f"- {line}" for line in idle)
    text += (
        "\n\nWhat runs on a guest (the training, the watchdog, the guest's agent), in the proofs, or only where an image has to be "
        "built counts here as far as unit tests execute it. Those of `Resource` are abstract."
    )
    record("Coverage", "make coverage", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
