# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal's network: one bridge on this machine, and one network namespace per guest or function.

There is no address translation and no firewall rule: the only way out of a guest is the front door's proxy on the bridge.
Nothing here touches an interface, a route or a namespace that does not carry this bridge's name or prefix.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rehearsal.errors import RehearsalError
from rehearsal.settings import Settings

EXTERNAL_RANGES = ("198.51.100.0/24",)
"""Where external addresses of guests come from: a documentation range of RFC 5737, which no real host answers on. Only this one:
closed networks do use the others, for their package mirror for example, and a route here would cut those off."""

NETNS_DIRECTORY = Path("/run/netns")


class NetworkError(RehearsalError):
    """The bridge or a namespace could not be made; the message is one line that says what to do."""


class Network:
    """The bridge `settings.bridge` and the namespaces that hang on it.

    Every method can be repeated: what is there already is kept or replaced, what is gone already is no error.
    """

    def __init__(self, settings: Settings, external_ranges: Sequence[str] = EXTERNAL_RANGES) -> None:
        self.settings = settings
        self.external_ranges = tuple(external_ranges)
        self.subnet = ipaddress.ip_network(f"{settings.bridge_address}/{settings.bridge_prefix}", strict=False)
        self._link_prefix = f"v{_digest(settings.bridge)[:5]}-"

    # -- the bridge ------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Make the bridge with its two addresses and the routes to external addresses; raises NetworkError."""
        bridge, metadata = self.settings.bridge, f"{self.settings.metadata_address}/32"
        addresses = _addresses()
        self._refuse_overlap(addresses)
        if self.settings.metadata_address not in {
            address for interface, address, _ in addresses if interface == bridge
        }:
            refuse_google_host(self.settings.metadata_address)
        if not _link_exists(bridge):
            _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "replace", f"{self.settings.bridge_address}/{self.settings.bridge_prefix}", "dev", bridge)
        _ip("address", "replace", metadata, "dev", bridge)
        _ip("link", "set", bridge, "up")
        for external in self.external_ranges:
            _ip("route", "replace", external, "dev", bridge, "src", self.settings.bridge_address)

    def teardown(self) -> None:
        """Remove the bridge and every namespace and link that belongs to it."""
        for name in self.namespaces():
            _ip("netns", "delete", name, check=False)
        for link in _links():
            if link.startswith(self._link_prefix):
                _ip("link", "delete", link, check=False)
        if _link_exists(self.settings.bridge):
            _ip("link", "delete", self.settings.bridge)

    def namespaces(self) -> list[str]:
        """Return the names of the network namespaces of this rehearsal."""
        prefix = f"{self.settings.bridge}-"
        if not NETNS_DIRECTORY.is_dir():
            return []
        return sorted(entry.name for entry in NETNS_DIRECTORY.iterdir() if entry.name.startswith(prefix))

    # -- one namespace ---------------------------------------------------------------------------------------------------

    def namespace(self, name: str) -> str:
        """Return the name of the namespace of `name` (a guest or function id)."""
        return f"{self.settings.bridge}-{name}"

    def netns_path(self, name: str) -> str:
        """Return the path of the namespace of `name`, as podman's `--network ns:` takes it."""
        return str(NETNS_DIRECTORY / self.namespace(name))

    def attach(self, name: str, internal_ip: str, external_ip: str | None = None) -> str:
        """Give `name` a fresh namespace with eth0 on the bridge, and return its path.

        A namespace left over under that name is replaced. `external_ip` becomes a second address of eth0, as if Google's
        one-to-one translation sat in front of it.
        """
        if ipaddress.ip_address(internal_ip) not in self.subnet:
            raise NetworkError(f"cannot attach {name}: {internal_ip} is not in the rehearsal's network {self.subnet}")
        self.detach(name)
        namespace, link = self.namespace(name), self._link(name)
        _ip("netns", "add", namespace)
        _ip(
            "link",
            "add",
            link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            mac_address(internal_ip),
            "netns",
            namespace,
        )
        _ip("link", "set", link, "master", self.settings.bridge, "up")
        inside = [
            "link set lo up",
            f"address add {internal_ip}/{self.settings.bridge_prefix} dev eth0",
            "link set eth0 up",
            f"route add default via {self.settings.bridge_address} dev eth0 src {internal_ip}",
        ]
        _ip("-n", namespace, "-batch", "-", stdin="\n".join(inside) + "\n")
        if external_ip:
            self.set_external(name, external_ip)
        return self.netns_path(name)

    def set_external(self, name: str, external_ip: str | None) -> None:
        """Make `external_ip` the only external address of `name`; None takes it away."""
        namespace = self.namespace(name)
        shown = json.loads(_ip("-n", namespace, "-json", "-4", "address", "show", "dev", "eth0") or "[]")
        for entry in (entry for interface in shown for entry in interface.get("addr_info", [])):
            if entry["prefixlen"] == 32 and entry["local"] != external_ip:
                _ip("-n", namespace, "address", "delete", f"{entry['local']}/32", "dev", "eth0")
        if external_ip:
            _ip("-n", namespace, "address", "replace", f"{external_ip}/32", "dev", "eth0")
            # Another guest may have had this address a moment ago: forget which one.
            _ip("neighbour", "delete", external_ip, "dev", self.settings.bridge, check=False)

    def detach(self, name: str) -> None:
        """Remove the namespace of `name` and its link."""
        link = self._link(name)
        if _link_exists(link):
            _ip("link", "delete", link, check=False)
        if Path(self.netns_path(name)).exists():
            _ip("netns", "delete", self.namespace(name))

    def _link(self, name: str) -> str:
        # The kernel allows 15 characters for an interface's name.
        return f"{self._link_prefix}{_digest(name)[:8]}"

    def _refuse_overlap(self, addresses: list[tuple[str, str, int]]) -> None:
        for interface, address, prefix in addresses:
            network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
            if interface != self.settings.bridge and prefix < 32 and network.overlaps(self.subnet):
                raise NetworkError(
                    f"cannot make the rehearsal's network {self.subnet}: this machine's {interface} already has {address}/{prefix}; "
                    "run the rehearsal on a machine whose own network is another one"
                )


def mac_address(internal_ip: str) -> str:
    """Return the MAC address that Compute Engine gives an interface: 42:01 and the four bytes of its address."""
    return ":".join(f"{byte:02x}" for byte in (0x42, 0x01, *ipaddress.IPv4Address(internal_ip).packed))


def refuse_google_host(metadata_address: str, timeout: float = 1.0) -> None:
    """Raise NetworkError if this machine is itself a Google VM, whose metadata server the rehearsal would hide."""
    connection = http.client.HTTPConnection(metadata_address, 80, timeout=timeout)
    try:
        connection.request("GET", "/", headers={"Metadata-Flavor": "Google"})
        flavor = connection.getresponse().getheader("Metadata-Flavor", "")
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()
    if flavor == "Google":
        raise NetworkError(
            f"cannot start the rehearsal: this machine already has a metadata server on {metadata_address} (it looks like a "
            "Google VM, or another rehearsal runs here); use another machine, or stop the other rehearsal first"
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run_tool(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """Run a tool that changes this machine's network, and return what it printed; raises NetworkError."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NetworkError(
            f"cannot set up a network: the command '{command[0]}' is missing; install iproute2 and iptables"
        ) from None
    if check and done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise NetworkError(f"cannot set up a network: {' '.join(command)}: {reason}")
    return done.stdout


def _ip(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    return run_tool("ip", *arguments, check=check, stdin=stdin)


def _link_exists(name: str) -> bool:
    return name in _links()


def _links() -> list[str]:
    # Not from /sys, which shows the network that it was mounted in.
    return sorted(link["ifname"] for link in json.loads(_ip("-json", "link", "show") or "[]"))


def _addresses() -> list[tuple[str, str, int]]:
    shown = json.loads(_ip("-json", "-4", "address", "show") or "[]")
    return [
        (interface["ifname"], entry["local"], entry["prefixlen"])
        for interface in shown
        for entry in interface.get("addr_info", [])
    ]
