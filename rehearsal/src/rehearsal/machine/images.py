# SPDX-License-Identifier: GPL-3.0-or-later
"""Image families: Debian guests and the functions' runtime, built with debootstrap and kept in the cache.

An image has two stages. The base is Debian as debootstrap leaves it (half a minute, rebuilt only when its package list
changes). The second stage adds the agent, the trust store and the package settings (seconds, rebuilt when any of them
changes). Each is named by a hash of what goes into it, so an image that exists is never out of date.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.machine.containers import Containers, image_home
from rehearsal.machine.guest import bootstrap, recipe
from rehearsal.machine.image_builder import ImageBuilder, Progress
from rehearsal.machine.podman import ContainerError, Podman
from rehearsal.machine.python_mirror import PythonMirror

if TYPE_CHECKING:
    from rehearsal.settings import Settings

GUEST_PACKAGES = (
    "apt-utils",
    "ca-certificates",
    "cron",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "rsyslog",
    "sudo",
    "systemd-sysv",
    "tzdata",
    "wget",
)
"""What Google's Debian images have and a play relies on. No git and no pip3: installing them is the playbook's work."""

FUNCTION_PACKAGES = ("ca-certificates", "netbase", "python3", "python3-venv", "tzdata")


class ImageError(RuntimeError):
    """An image cannot be had; the message is one line that says why."""


@dataclass(frozen=True)
class Family:
    """One image family. `image_name` is what Google's image of it is called, None for what is no VM image."""

    suite: str
    packages: tuple[str, ...]
    image_name: str | None

    @property
    def systemd(self) -> bool:
        """Whether the image boots as a VM."""
        return self.image_name is not None


class Images:
    """The image families of one rehearsal, in the store below `settings.cache`."""

    FAMILIES = {  # noqa: RUF012  (a constant; nobody adds to it)
        "debian-11": Family("bullseye", GUEST_PACKAGES, "debian-11-bullseye-v20260818"),
        "debian-12": Family("bookworm", GUEST_PACKAGES, "debian-12-bookworm-v20260915"),
        "python313": Family("trixie", FUNCTION_PACKAGES, None),
    }

    def __init__(self, settings: Settings, containers: Containers) -> None:
        self.settings = settings
        self.containers = containers
        self.home = image_home(settings)
        self.podman = Podman(self.home)
        self.builder = ImageBuilder(self.home, self.podman)
        self.mirror = PythonMirror(settings)

    # -- what there is ---------------------------------------------------------------------------------------------------

    def name(self, family: str) -> str:
        """Return Google's name for the image, such as `debian-12-bookworm-v20260915`."""
        return self._family(family).image_name or family

    def status(self, family: str) -> str:
        """Return `ready`, `absent` (not built yet), `withdrawn` or `failed: why`; builds nothing."""
        wanted = self._family(family)
        if family in self.settings.withdrawn_families:
            return "withdrawn"
        base = self._base(wanted)
        if base and self._marker("image", family, self._key(wanted, base)).exists():
            return "ready"
        with contextlib.suppress(FileNotFoundError):
            return f"failed: {self._failure(family).read_text(encoding='utf-8').strip()}"
        return "absent"

    def ensure(self, family: str, progress: Progress = lambda line: None) -> str:
        """Return the podman name of the family's image, building whatever is missing; raises ImageError.

        `progress` gets one line per stage, with the seconds so far. Two processes that want the same image build it once.
        """
        wanted = self._family(family)
        if family in self.settings.withdrawn_families:
            raise ImageError(f"the image family {family} is withdrawn (by REHEARSAL_WITHDRAWN_FAMILIES)")
        began = time.monotonic()

        def say(line: str) -> None:
            progress(f"{line} ({time.monotonic() - began:.0f} s)")

        try:
            with self._locked(family):
                image = self._ensure(family, wanted, say)
        except (ContainerError, bootstrap.BootstrapError, OSError, subprocess.SubprocessError) as error:
            reason = " ".join(str(error).split())
            self._failure(family).write_text(reason + "\n", encoding="utf-8")
            raise ImageError(f"the image of {family} could not be built: {reason}") from error
        self._failure(family).unlink(missing_ok=True)
        return image

    def destroy_storage(self) -> None:
        """Delete every image with whatever was kept for building it."""
        self.podman.destroy()
        self.mirror.clear()

    # -- building --------------------------------------------------------------------------------------------------------

    def _ensure(self, family: str, wanted: Family, say: Progress) -> str:
        if wanted.systemd:
            self.mirror.prepare(say)
        base = self._base(wanted)
        if base is None or not self._image_exists(base["image"]):
            base = self.builder.base(
                wanted.suite,
                wanted.packages,
                family,
                f"localhost/rehearsal/base-{family}:{self._base_key(wanted)[:12]}",
                say,
            )
            _write_json(self._marker("base", wanted.suite, self._base_key(wanted)), base)
        key = self._key(wanted, base)
        image, marker = self._reference(family, key), self._marker("image", family, key)
        if not (marker.exists() and self._image_exists(image)):
            say("adding trust store, settings and agent" if wanted.systemd else "adding trust store and settings")
            self.builder.customise(image, base["image"], self._recipe(wanted, base))
            _write_json(marker, {"image": image})
            say("ready")
        return image

    # -- names and places ------------------------------------------------------------------------------------------------

    def _family(self, family: str) -> Family:
        try:
            return self.FAMILIES[family]
        except KeyError:
            known = ", ".join(sorted(self.FAMILIES))
            raise ImageError(f"there is no image family {family}; the rehearsal has {known}") from None

    def _base_key(self, wanted: Family) -> str:
        return hashlib.sha256(json.dumps([wanted.suite, wanted.packages]).encode()).hexdigest()

    def _base(self, wanted: Family) -> dict[str, Any] | None:
        try:
            found = json.loads(self._marker("base", wanted.suite, self._base_key(wanted)).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _recipe(self, wanted: Family, base: dict[str, Any]) -> recipe.Recipe:
        built = recipe.build(
            self.settings, systemd=wanted.systemd, sources_list=base["sources_list"], suite=wanted.suite
        )
        if wanted.systemd:
            self.mirror.add_to(built)
        return built

    def _key(self, wanted: Family, base: dict[str, Any]) -> str:
        return hashlib.sha256(f"{base['image']} {self._recipe(wanted, base).digest()}".encode()).hexdigest()

    def _reference(self, family: str, key: str) -> str:
        return f"localhost/rehearsal/{family}:{key[:12]}"

    def _marker(self, kind: str, name: str, key: str) -> Path:
        return self.home / f"{kind}-{name}-{key[:12]}.json"

    def _failure(self, family: str) -> Path:
        return self.home / f"{family}.failed"

    def _image_exists(self, image: str) -> bool:
        return self.podman.call("image", "exists", image, check=False).returncode == 0

    @contextlib.contextmanager
    def _locked(self, family: str) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / f"{family}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)
