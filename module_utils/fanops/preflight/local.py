# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side: its tools, its clock, and whether a key lies where git would take it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from ansible.module_utils.fanops.preflight.findings import Finding, names

try:
    import requests
except ImportError:  # reported by fanops.options before anything here is called
    requests = None  # type: ignore[assignment]

#: What playbooks start on the controller; everything else there is Python.
TOOLS = ("ssh", "ssh-keygen")
#: Package manager -> the command that installs them.
INSTALL = {
    "apt-get": "sudo apt-get install -y openssh-client",
    "dnf": "sudo dnf install openssh-clients",
    "pacman": "sudo pacman -S openssh",
    "brew": "brew install openssh",
}
#: Google refuses assertions that are five minutes off; a minute is no longer a healthy clock.
SKEW_SECONDS = 60.0
#: Answers anybody, and so also a controller whose clock is too wrong to sign in.
CLOCK_URL = "https://oauth2.googleapis.com/tokeninfo"
KEY_BYTES = 20_000


def tools() -> list[Finding]:
    """Tools that a run needs and that are not on PATH."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not missing:
        return []
    remedy = next((command for manager, command in INSTALL.items() if shutil.which(manager)), "install OpenSSH")
    return [Finding("tools", f"not installed here: {names(missing)}", remedy)]


def clock() -> list[Finding]:
    """A clock that differs from Google's, by the Date header of any answer."""
    try:
        answer = requests.get(CLOCK_URL, timeout=(5, 10))
        google = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (requests.RequestException, KeyError, ValueError):
        return []  # no answer: the check of the credentials says why
    skew = time.time() - google
    if abs(skew) <= SKEW_SECONDS:
        return []
    word = "ahead of" if skew > 0 else "behind"
    remedy = "sudo sntp -sS time.google.com" if sys.platform == "darwin" else "sudo timedatectl set-ntp true"
    return [Finding("clock", f"this machine's clock is {abs(skew):.0f} s {word} Google's", remedy)]


def key_files(repository: str, used: str | None) -> list[Finding]:
    """Service account keys in the checkout that git has, or would take with the next 'git add'."""
    root = Path(repository)
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []  # not a checkout: there is nothing to commit to
    suspects = [root / name for name in listed.split("\0") if name.endswith(".json")]
    if used:
        key = Path(used).expanduser().resolve()
        # The one in use is a key whatever it is called.
        suspects += [root / name for name in listed.split("\0") if name and (root / name).resolve() == key]
    found = sorted({path for path in suspects if _is_key(path)})
    return [
        Finding(
            "key file",
            f"the service account key {path.relative_to(root)} lies in the repository, where git would take it",
            f"mv {path} ~/ && export GCP_SERVICE_ACCOUNT_FILE=~/{path.name}",
        )
        for path in found
    ]


def _is_key(path: Path) -> bool:
    try:
        if path.stat().st_size > KEY_BYTES:
            return False
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "private_key" in content and "client_email" in content
