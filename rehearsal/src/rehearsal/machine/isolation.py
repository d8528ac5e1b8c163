# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of its own for a second rehearsal on the same machine.

A rehearsal owns a bridge, the metadata server's address and some ports of the network that it runs in. A command that runs in a network
namespace of its own has all of these free, so it can have a rehearsal of its own beside the first. Images, which depend on none of it,
are shared; so is the front door's authority, which they trust.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rehearsal.machine.network import NETNS_DIRECTORY, run_tool
from rehearsal.settings import Settings

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# What it was before the first of several commands in networks of their own.
FORWARDED_BEFORE = Path("/run/rehearsal-forwarded-before")


def run(settings: Settings, name: str, command: Sequence[str]) -> int:
    """Run `command` in the network `name`, where `rehearsal` means one of its own; return its exit code.

    Network and rehearsal are removed afterwards. Raises NetworkError where the network cannot be made.
    """
    home = settings.home / "isolated" / name
    home.mkdir(parents=True, exist_ok=True)
    authority = settings.home / "ca"
    if authority.is_dir():
        shutil.copytree(authority, home / "ca", dirs_exist_ok=True)
    variables = {"REHEARSAL_HOME": home, "REHEARSAL_CACHE": settings.cache, "REHEARSAL_BRIDGE": _bridge(name)}
    with network(name) as namespace:
        environment = os.environ | {key: str(value) for key, value in variables.items()}
        inside = ["nsenter", f"--net={NETNS_DIRECTORY / namespace}", "--"]
        try:
            return subprocess.run([*inside, *command], env=environment, check=False).returncode
        finally:
            down = [sys.executable, "-m", "rehearsal.cli", "down", "--purge"]
            subprocess.run([*inside, *down], env=environment, check=False, stdout=subprocess.DEVNULL)
            shutil.rmtree(home, ignore_errors=True)


def _bridge(name: str) -> str:
    # The kernel allows 15 characters for an interface's name.
    return f"rehearsal-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def names(name: str) -> tuple[str, str, str]:
    """Return the network's namespace, its link on this machine, and the first three numbers of its addresses."""
    digest = hashlib.sha256(name.encode())
    # Link-local addresses: no real network is hidden by them, nor the metadata server.
    return f"isolated-{name}", f"iso-{digest.hexdigest()[:8]}", f"169.254.{digest.digest()[0] % 100}"


@contextmanager
def network(name: str) -> Iterator[str]:
    """Make a namespace that reaches what this machine reaches, by address translation; remove it at the end."""
    namespace, link, subnet = names(name)
    outer, inner = f"{subnet}.1", f"{subnet}.2"
    rules = (
        ("nat", "POSTROUTING", "--source", f"{inner}/32", "--jump", "MASQUERADE"),
        ("filter", "FORWARD", "--source", f"{inner}/32", "--jump", "ACCEPT"),
        ("filter", "FORWARD", "--destination", f"{inner}/32", "--jump", "ACCEPT"),
    )
    _remove(namespace, link, rules)
    try:
        run_tool("ip", "netns", "add", namespace)
        run_tool("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run_tool("ip", "address", "add", f"{outer}/30", "dev", link)
        run_tool("ip", "link", "set", link, "up")
        for line in (
            "link set lo up",
            f"address add {inner}/30 dev eth0",
            "link set eth0 up",
            f"route add default via {outer}",
        ):
            run_tool("ip", "-n", namespace, *line.split())
        for table, chain, *rule in rules:
            run_tool("iptables", "--wait", "--table", table, "--insert", chain, *rule)
        if not FORWARDED_BEFORE.exists():
            FORWARDED_BEFORE.write_text(FORWARDING.read_text())
        FORWARDING.write_text("1\n")
        yield namespace
    finally:
        _remove(namespace, link, rules)
        # Another command in a network of its own may still need it.
        if not any(NETNS_DIRECTORY.glob("isolated-*")) and FORWARDED_BEFORE.exists():
            FORWARDING.write_text(FORWARDED_BEFORE.read_text())
            FORWARDED_BEFORE.unlink()


def _remove(namespace: str, link: str, rules: Sequence[Sequence[str]]) -> None:
    for table, chain, *rule in rules:
        run_tool("iptables", "--wait", "--table", table, "--delete", chain, *rule, check=False)
    run_tool("ip", "netns", "delete", namespace, check=False)
    run_tool("ip", "link", "delete", link, check=False)
