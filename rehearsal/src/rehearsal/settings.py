# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rehearsal keeps its state, and on which addresses and ports it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomllib

CONFIGURATION = "rehearsal.toml"


@dataclass(frozen=True)
class Settings:
    """Everything that may differ between two rehearsals; all of it has a default.

    Addresses are IPv4 literals. `home` holds the state that `down --purge` forgets, `cache` the images that it keeps.
    """

    home: Path = field(default_factory=lambda: Path(".rehearsal").resolve())
    cache: Path = field(default_factory=lambda: Path(".rehearsal/cache").resolve())
    project_id: str = "rehearsal-project"
    #: A custom role as `gcloud iam roles create --file` takes it; the file's name is the role's id. None: no deployer's role.
    deployer_role: Path | None = None
    #: A YAML file of prices for `rehearsal console` (machine_types, disk_types, external_ipv4, hours_per_month). None: no costs there.
    prices: Path | None = None
    #: The object of a bucket that `rehearsal console` shows as its live release: JSON with version, updated, action, reason, history.
    release_pointer: str = ""
    project_number: str = "482910376155"
    withdrawn_families: tuple[str, ...] = ()
    bridge: str = "rehearsal0"
    bridge_address: str = "10.128.0.1"
    bridge_prefix: int = 20
    metadata_address: str = "169.254.169.254"
    frontdoor_port: int = 3128
    gateway_port: int = 3129
    storage_port: int = 3130

    @property
    def ca_certificate(self) -> Path:
        """The front door's certificate authority (PEM)."""
        return self.home / "ca" / "mitmproxy-ca-cert.pem"

    @property
    def ca_bundle(self) -> Path:
        """The host's trusted authorities plus the front door's (PEM)."""
        return self.home / "ca" / "bundle.pem"

    @property
    def deployer_key(self) -> Path:
        """The service-account key file that `rehearsal env` points at."""
        return self.credentials("deployer")

    def credentials(self, name: str) -> Path:
        """The file of one of the credentials that `services.iam.sign_in` writes."""
        return self.home / "credentials" / f"{name}.json"

    @property
    def proxy_url(self) -> str:
        """The front door as clients on this machine reach it."""
        return f"http://127.0.0.1:{self.frontdoor_port}"

    @property
    def guest_proxy_url(self) -> str:
        """The front door as guests and functions reach it."""
        return f"http://{self.bridge_address}:{self.frontdoor_port}"


def load() -> Settings:
    """Return the settings of this machine: `rehearsal.toml` in this folder or one above it, then the environment.

    The file may set `project_id`, `release_pointer`, and the paths `deployer_role` and `prices`, relative to the file; the
    state is kept beside it.
    `REHEARSAL_CONFIG` names another file, `REHEARSAL_HOME` moves the state, `REHEARSAL_CACHE` the images,
    `REHEARSAL_BRIDGE` names the bridge (see `rehearsal isolate`), and `REHEARSAL_WITHDRAWN_FAMILIES` is a
    comma-separated list of image families that answer 404.
    """
    folder, configured = _configuration()
    home = Path(os.environ.get("REHEARSAL_HOME") or folder / ".rehearsal").resolve()
    cache = Path(os.environ.get("REHEARSAL_CACHE") or home / "cache").resolve()
    withdrawn = os.environ.get("REHEARSAL_WITHDRAWN_FAMILIES", "")
    role, prices = configured.get("deployer_role"), configured.get("prices")
    return Settings(
        home=home,
        cache=cache,
        bridge=os.environ.get("REHEARSAL_BRIDGE", Settings.bridge),
        project_id=configured.get("project_id", Settings.project_id),
        deployer_role=folder / role if role else None,
        prices=folder / prices if prices else None,
        release_pointer=configured.get("release_pointer", ""),
        withdrawn_families=tuple(family.strip() for family in withdrawn.split(",") if family.strip()),
    )


def _configuration() -> tuple[Path, dict[str, Any]]:
    """Return the folder of the configuration file and what is in it; this folder and nothing where there is no file."""
    named = os.environ.get("REHEARSAL_CONFIG")
    here = Path.cwd()
    candidates = [Path(named)] if named else [folder / CONFIGURATION for folder in (here, *here.parents)]
    for path in candidates:
        if named or path.exists():
            return path.resolve().parent, tomllib.loads(path.read_text(encoding="utf-8"))
    return here, {}
