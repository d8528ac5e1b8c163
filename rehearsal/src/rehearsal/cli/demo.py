# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of `make demo`: ask the deployed function one question with curl, and show the line that did it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

from rehearsal.settings import load
from rehearsal.store import Store

QUESTION = {
    "zone": "VIP",
    "event": "Goal",
    "match_minute": 78,
    "score_diff": 1,
    "temperature": 31,
    "crowd_density": 0.95,
}


def main() -> int:
    """Print the function's URL, a curl line, and the answer that the line got; return curl's exit code."""
    settings = load()
    functions = [document for _, document in Store(settings.home / "state.sqlite").list("functions")]
    urls = [function.get("resource", function).get("serviceConfig", {}).get("uri") for function in functions]
    if not urls or not urls[0]:
        sys.stderr.write("demo: no function is deployed; run `ansible-playbook site.yml` first\n")
        return 1
    command = [
        "curl", "--silent", "--show-error", "--fail-with-body",
        "--proxy", settings.proxy_url, "--cacert", str(settings.ca_bundle),
        "--header", "Content-Type: application/json", "--data", json.dumps(QUESTION, separators=(",", ":")), urls[0],
    ]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    print("", f"The function answers at {urls[0]}", "", f"  {shlex.join(command)}", "", sep="\n")
    print(answer.stdout.strip() + answer.stderr.strip())
    return answer.returncode


if __name__ == "__main__":
    sys.exit(main())
