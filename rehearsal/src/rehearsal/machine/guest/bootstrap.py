# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian from this machine's own package mirror: where it is, and debootstrap with progress."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

APT = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STAGES = (
    ("I: Retrieving InRelease", "looking at the mirror"),
    ("I: Resolving dependencies", "choosing packages"),
    ("I: Validating", "downloading packages"),
    ("I: Extracting", "unpacking the base"),
    ("I: Installing core packages", "installing the core"),
    ("I: Configuring required packages", "configuring the core"),
    ("I: Installing the base system", "installing the packages"),
    ("I: Configuring", "configuring the packages"),
)
"""What debootstrap says, and what we say for it; a stage is announced once."""


class BootstrapError(RuntimeError):
    """debootstrap failed; the message is one line with its own reason."""


def apt_sources(folder: Path = APT) -> list[tuple[str, tuple[str, ...]]]:
    """Return (address, suites) of each http(s) package source of this machine, in apt's order."""
    found: list[tuple[str, tuple[str, ...]]] = []
    paths = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for path in (path for path in paths if path.is_file()):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            found += _deb822(text)
        elif path.suffix == ".list":
            found += _one_line(text)
    return [(address.rstrip("/"), suites) for address, suites in found if address.startswith(("http://", "https://"))]


def _one_line(text: str) -> list[tuple[str, tuple[str, ...]]]:
    lines = (re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line) for line in text.splitlines())
    return [(line[1], (line[2],)) for line in lines if line]


def _deb822(text: str) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.lstrip().startswith("#")]
        fields = {
            key.strip().lower(): value for key, _, value in (line.partition(":") for line in lines if ":" in line)
        }
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").strip().lower() != "no":
            found += [(uri, tuple(fields.get("suites", "").split())) for uri in fields.get("uris", "").split()]
    return found


def mirrors(sources: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[list[str], list[str]]:
    """Return (main archives, security archives) of Debian among this machine's sources, without doubles."""
    release = re.compile(r"^(bullseye|bookworm|trixie|forky|sid|stable|oldstable|testing)(-updates)?$")
    main = [address for address, suites in sources if any(release.match(suite) for suite in suites)]
    security = [address for address, suites in sources if any(suite.endswith("-security") for suite in suites)]
    return list(dict.fromkeys(main)), list(dict.fromkeys(security))


def has_suite(mirror: str, suite: str) -> bool:
    """Tell whether a mirror publishes a suite."""
    return answers(f"{mirror}/dists/{suite}/InRelease")


def answers(url: str, timeout: float = 5.0) -> bool:
    """Tell whether this machine can read an http(s) address; `timeout` in seconds."""
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - of this machine's own settings
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return bool(response.status < 400)
    except (OSError, ValueError):
        return False


def sources_list(main: str, security: Sequence[str], suite: str) -> str:
    """Return the sources.list of a guest; the updates and security suites only where the mirrors still have them."""
    lines = [f"deb {main} {suite} main"]
    lines += [f"deb {main} {suite}-updates main"] if has_suite(main, f"{suite}-updates") else []
    lines += [f"deb {mirror} {suite}-security main" for mirror in security if has_suite(mirror, f"{suite}-security")][
        :1
    ]
    return "\n".join(lines) + "\n"


def debootstrap(
    suite: str,
    target: Path,
    packages: Sequence[str],
    mirror: str,
    debs: Path,
    log: Path,
    progress: Callable[[str], None],
) -> None:
    """Install a minimal Debian with `packages` into `target`; raises BootstrapError.

    `mirror` may be empty (debootstrap's own default). `debs` keeps downloaded packages for the next build, `log` gets
    everything debootstrap says.
    """
    debs.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", f"--cache-dir={debs.resolve()}"]
    command += [f"--keyring={KEYRING}"] if KEYRING.exists() else []
    command += [suite, str(target), *([mirror] if mirror else [])]
    remaining, last = list(STAGES), ""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            text=True,
        )
    except FileNotFoundError:
        raise BootstrapError(
            "debootstrap is missing on this machine; install it with: apt-get install debootstrap"
        ) from None
    with process, log.open("w", encoding="utf-8") as record:
        for line in process.stdout or ():
            record.write(line)
            last = line.strip() or last
            stage = next((entry for entry in remaining if line.startswith(entry[0])), None)
            if stage:
                remaining = remaining[remaining.index(stage) + 1 :]
                progress(stage[1])
    if process.returncode:
        raise BootstrapError(
            f"debootstrap of {suite} from {mirror or 'its default mirror'} failed: {last} (full log: {log})"
        )


def _environment() -> dict[str, str]:
    # wget, which debootstrap uses, does not know a proxy that is set for apt only.
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    variables["PATH"] = variables.get("PATH", "") + ":/usr/sbin:/sbin"
    if "http_proxy" not in variables:
        try:
            shown = subprocess.run(
                ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"],
                capture_output=True,
                text=True,
            ).stdout
        except FileNotFoundError:
            shown = ""
        found = re.match(r"PROXY='(https?://[^']+)'", shown)
        if found:
            variables["http_proxy"] = found[1]
    return variables
