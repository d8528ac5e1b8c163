# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image gets on top of Debian: the agent, this machine's trust and package settings, and what to switch off."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tomllib

from rehearsal.wire.trust import host_authorities

if TYPE_CHECKING:
    from rehearsal.settings import Settings

FILES = Path(__file__).parent / "files"
AGENT = Path(__file__).parent / "agent.py"
AGENT_PATH = "usr/lib/google-guest-agent/agent.py"
TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"
UNITS = (
    "google-guest-agent.service",
    "google-startup-scripts.service",
    "google-shutdown-scripts.service",
    "ssh-host-keys.service",
)
MASKED = (
    # Hardware and kernel belong to the machine below; in a container these fail or wait.
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-remount-fs.service",
    "systemd-journald-audit.socket",
    "sys-kernel-debug.mount",
    "sys-kernel-config.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "getty.target",
    "console-getty.service",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    # On version 1 cgroups a user's own systemd hears nothing of processes that end, and holds up each power-off for 90 s.
    "user@.service",
    # They would hold dpkg's lock at a moment of their own choosing.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n", re.DOTALL)


@dataclass
class Recipe:
    """The files of the cheap stage of an image (path without leading slash to (mode, content)) and its other settings."""

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    """Whole trees to copy: destination to source; `identity` names their content."""
    environment: dict[str, str] = field(default_factory=dict)
    masked: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    identity: str = ""

    def add(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Add a file; `path` has no leading slash."""
        self.files[path] = (mode, content.encode() if isinstance(content, str) else content)

    def digest(self) -> str:
        """Return a hash of everything that ends up in the image."""
        hashed = hashlib.sha256()
        for path, (mode, content) in sorted(self.files.items()):
            hashed.update(f"{path}\0{mode:o}\0{len(content)}\0".encode() + content)
        rest = [sorted(self.folders), sorted(self.environment.items()), self.masked, self.enabled, self.identity]
        hashed.update(json.dumps(rest).encode())
        return hashed.hexdigest()


def build(settings: Settings, *, systemd: bool, sources_list: str = "", suite: str = "") -> Recipe:
    """Return the recipe of a guest image (`systemd`) or of a function's runtime image."""
    recipe = Recipe(environment=environment(settings))
    for number, certificate in enumerate(CERTIFICATE.findall(authorities(settings))):
        digest = hashlib.sha256(certificate.encode()).hexdigest()[:16]
        recipe.add(f"usr/local/share/ca-certificates/host-{number:03d}-{digest}.crt", certificate)
    proxy = settings.guest_proxy_url
    recipe.add("etc/apt/apt.conf.d/90proxy", apt_conf(proxy, suite))
    recipe.add("etc/environment", "".join(f"{key}={value}\n" for key, value in recipe.environment.items()))
    index = package_index(os.environ, pip_configurations(), uv_configuration())
    recipe.add("etc/pip.conf", pip_conf(index))
    recipe.add("etc/uv/uv.toml", uv_toml(index))
    if sources_list:
        recipe.add("etc/apt/sources.list", sources_list)
    for name in ("etc/dpkg/dpkg.cfg.d/rehearsal", "etc/hosts"):
        recipe.add(name, (FILES / name).read_bytes())
    if systemd:
        _add_guest_files(recipe)
    return recipe


def _add_guest_files(recipe: Recipe) -> None:
    for path in sorted(path for path in FILES.rglob("*") if path.is_file()):
        name = str(path.relative_to(FILES))
        recipe.add(name, path.read_bytes(), 0o440 if name.startswith("etc/sudoers.d/") else 0o644)
    recipe.add(AGENT_PATH, AGENT.read_bytes(), 0o755)
    assignments = " ".join(f'"{key}={value}"' for key, value in recipe.environment.items())
    recipe.add("etc/systemd/system.conf.d/environment.conf", f"[Manager]\nDefaultEnvironment={assignments}\n")
    recipe.masked, recipe.enabled = MASKED, UNITS


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that every process in a guest or function sees: the proxy and the trust store."""
    proxy = settings.guest_proxy_url
    local = f"{settings.metadata_address},metadata.google.internal,localhost,127.0.0.1"
    values = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": local}
    values.update({key.lower(): value for key, value in values.items()})
    trust = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    return {**values, **dict.fromkeys(trust, TRUST_STORE)}


def authorities(settings: Settings) -> str:
    """Return the PEM text of every authority that guests trust: this machine's, and the front door's once it exists."""
    return (
        settings.ca_bundle.read_text(encoding="utf-8") if settings.ca_bundle.is_file() else host_authorities(settings)
    )


def apt_conf(proxy: str, suite: str) -> str:
    """Return apt's settings: the proxy, patience, and no expiry dates for a suite that gets no updates any more."""
    text = f'Acquire::http::Proxy "{proxy}/";\nAcquire::https::Proxy "{proxy}/";\nAcquire::Retries "3";\n'
    return text + ('Acquire::Check-Valid-Until "false";\n' if suite == "bullseye" else "")


# -- the package index of this machine, as far as a guest can use it -----------------------------------------------------


def pip_configurations() -> list[Path]:
    """Return pip's configuration files, least important first."""
    found = [Path(folder) / "pip" / "pip.conf" for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    home = Path.home()
    found += [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    return [path for path in found if path.is_file()]


def uv_configuration() -> dict[str, Any]:
    """Return this machine's uv settings (uv.toml), or an empty table."""
    for path in (Path.home() / ".config" / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError):
            continue
    return {}


def package_index(variables: Mapping[str, str], pip_files: Sequence[Path], uv: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"index": URL or "", "extra": [URLs], "timeout": seconds or ""} for guests.

    Only what another machine can reach counts: http(s) addresses, not folders and not services on this machine's loopback.
    """
    values: dict[str, str] = {}
    for path in pip_files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except configparser.Error:
            continue
        if parser.has_section("global"):
            values.update(parser.items("global"))
    uv_indexes = [entry for entry in uv.get("index", []) if isinstance(entry, dict)]
    uv_default = next((entry.get("url", "") for entry in uv_indexes if entry.get("default")), uv.get("index-url", ""))
    index = variables.get("PIP_INDEX_URL") or values.get("index-url") or variables.get("UV_DEFAULT_INDEX")
    index = index or variables.get("UV_INDEX_URL") or str(uv_default)
    extra = (variables.get("PIP_EXTRA_INDEX_URL") or values.get("extra-index-url", "")).split()
    return {
        "index": index if reachable_from_guest(index) else "",
        "extra": [url for url in extra if reachable_from_guest(url)],
        "timeout": variables.get("PIP_DEFAULT_TIMEOUT") or values.get("timeout", ""),
    }


def reachable_from_guest(url: str) -> bool:
    """Tell whether a guest could reach an index address of this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and (parts.hostname or "") not in {"", "localhost", "127.0.0.1", "::1"}


def pip_conf(index: Mapping[str, Any]) -> str:
    """Return the text of /etc/pip.conf."""
    lines = ["[global]", f"cert = {TRUST_STORE}", "disable-pip-version-check = true"]
    lines += [f"index-url = {index['index']}"] if index["index"] else []
    lines += [f"extra-index-url = {' '.join(index['extra'])}"] if index["extra"] else []
    lines += [f"timeout = {index['timeout']}"] if index["timeout"] else []
    return "\n".join(lines) + "\n"


def uv_toml(index: Mapping[str, Any], python_downloads: str = "") -> str:
    """Return the text of /etc/uv/uv.toml; `python_downloads` is the address of an own list of Python builds."""
    text = f"python-downloads-json-url = {json.dumps(python_downloads)}\n" if python_downloads else ""
    for url in index["extra"]:
        text += f"\n[[index]]\nurl = {json.dumps(url)}\n"
    if index["index"]:
        text += f"\n[[index]]\nurl = {json.dumps(index['index'])}\ndefault = true\n"
    return text
