# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests: the rehearsal's virtual machines, each a Debian with its own systemd, disk, address and memory limit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import select
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rehearsal.machine.containers import Containers
from rehearsal.machine.images import Images
from rehearsal.machine.network import Network
from rehearsal.machine.podman import ContainerError

if TYPE_CHECKING:
    from rehearsal.settings import Settings

LOGGER = logging.getLogger("rehearsal.machine.guests")

CONSOLE_BYTES = 1 << 20
"""How much of a guest's console is kept for reading: the last 1 MB, as on Compute Engine."""

STOP_SECONDS = 90
"""How long a guest may take to power off before it is killed, as on Compute Engine."""

REBOOT_EXIT_CODE = 129
"""A guest that calls reboot(2) ends with SIGHUP: the kernel's way to tell a reboot in a container from a power-off (SIGINT)."""

EVICT_BYTES = 8 * CONSOLE_BYTES


class GuestError(RuntimeError):
    """A guest could not be made, started or stopped; the message is one line."""


@dataclass
class GuestRecord:
    """What is known of a guest beside its disk; kept in `home/guests/<container>/guest.json`."""

    guest_id: str
    hostname: str
    family: str
    memory_bytes: int
    internal_ip: str


class Guests:
    """The guests of one rehearsal. Every method is safe to call from several threads, and can be repeated.

    `on_power_off` is called with the guest's id when a guest went down by itself (powered off inside, or died), from a
    thread of its own; it is not called for `stop` and `delete`.
    """

    def __init__(self, settings: Settings, network: Network, containers: Containers, images: Images) -> None:
        self.settings = settings
        self.network = network
        self.containers = containers
        self.images = images
        self.home = settings.home / "guests"
        self.on_power_off: Callable[[str], None] = lambda guest_id: None
        self._locks: dict[str, threading.RLock] = {}
        self._locks_guard = threading.Lock()
        self._watched: dict[str, int] = {}
        """Container name to the process id that is being watched; a watcher whose process is no longer in it says nothing."""

    # -- life of a guest -------------------------------------------------------------------------------------------------

    def create(self, guest_id: str, *, hostname: str, family: str, memory_bytes: int, internal_ip: str) -> None:
        """Make a guest with a fresh disk of `family`, powered off; one that exists under this id is replaced.

        `hostname` may be fully qualified; the guest's own name is its first label. Raises ImageError, GuestError.
        """
        image = self.images.ensure(family)
        name = container_name(guest_id)
        with self._locked(name):
            self._forget_watch(name)
            self.containers.remove(name)
            folder = self.home / name
            shutil.rmtree(folder, ignore_errors=True)
            for name_inside, mode in (("tmp", 0o1777), ("journal", 0o755)):
                (folder / name_inside).mkdir(parents=True)
                (folder / name_inside).chmod(mode)
            netns = self.network.attach(name, internal_ip)
            self.containers.create(
                name,
                image,
                memory_bytes=memory_bytes,
                netns=netns,
                systemd=True,
                hostname=hostname.split(".")[0],
                # Without these, podman puts both in memory, where they would count against the guest's limit.
                mounts=[(folder / "tmp", "/tmp"), (folder / "journal", "/var/log/journal")],  # noqa: S108
                command=("/sbin/init",),
                options=(
                    "--tty",
                    # reboot(2) in a container ends the container only; without this right systemd cannot reboot.
                    "--cap-add=SYS_BOOT",
                    f"--log-opt=path={folder / 'console.log'}",
                ),
            )
            self._save(name, GuestRecord(guest_id, hostname, family, memory_bytes, internal_ip))

    def start(self, guest_id: str, external_ip: str | None = None) -> None:
        """Power a guest on; returns when its process 1 runs. A guest that runs already only gets its external address."""
        name = container_name(guest_id)
        with self._locked(name):
            record = self._load(name, guest_id)
            if self.containers.is_running(name):
                self.network.set_external(name, external_ip)
            else:
                self.network.attach(name, record.internal_ip, external_ip)
                self._evict_console(name)
                self.containers.start(name)
                self.containers.update_memory(name, record.memory_bytes)
            self._watch(name, guest_id)

    def unpack(self, guest_id: str, archive: bytes) -> None:
        """Unpack a tar archive onto the disk of a guest that is powered off."""
        name = container_name(guest_id)
        with self._locked(name):
            self._load(name, guest_id)
            self.containers.unpack(name, archive)

    def stop(self, guest_id: str, timeout: float = STOP_SECONDS) -> None:
        """Power a guest off cleanly, or kill it after `timeout` seconds; its disk stays. A guest that is off stays off."""
        name = container_name(guest_id)
        with self._locked(name):
            self._load(name, guest_id)
            self._forget_watch(name)
            if self.containers.is_running(name):
                self.containers.stop(name, timeout)
            self.network.detach(name)

    def delete(self, guest_id: str) -> None:
        """Remove a guest with its disk and console, running or not; one that does not exist is no error."""
        name = container_name(guest_id)
        with self._locked(name):
            self._forget_watch(name)
            self.containers.remove(name)
            self.network.detach(name)
            shutil.rmtree(self.home / name, ignore_errors=True)

    def set_memory(self, guest_id: str, memory_bytes: int) -> None:
        """Change a guest's memory limit, at once if it runs and for every later start."""
        name = container_name(guest_id)
        with self._locked(name):
            record = self._load(name, guest_id)
            record.memory_bytes = memory_bytes
            self._save(name, record)
            if self.containers.is_running(name):
                self.containers.update_memory(name, memory_bytes)

    # -- looking at a guest ----------------------------------------------------------------------------------------------

    def is_running(self, guest_id: str) -> bool:
        """Tell whether a guest is powered on."""
        return self.containers.is_running(container_name(guest_id))

    def ids(self) -> list[str]:
        """Return the ids of all guests."""
        records = sorted(self.home.glob("*/guest.json"))
        return [str(json.loads(path.read_text(encoding="utf-8"))["guest_id"]) for path in records]

    def console(self, guest_id: str) -> bytes:
        """Return the last 1 MB of what was written to the guest's console, across boots."""
        folder = self.home / container_name(guest_id)
        text = b""
        for path in (folder / "console.log.1", folder / "console.log"):
            with contextlib.suppress(FileNotFoundError):
                text += parse_console(path.read_bytes())
        return text[-CONSOLE_BYTES:]

    # -- noticing that a guest went down ---------------------------------------------------------------------------------

    def _watch(self, name: str, guest_id: str) -> None:
        state = self.containers.state(name) or {}
        # conmon outlives process 1 and has written the exit code by the time it ends.
        pid = int(state.get("ConmonPid") or state.get("Pid") or 0)
        if self._watched.get(name) == pid and pid:
            return
        self._watched[name] = pid
        watcher = threading.Thread(target=self._wait, args=(name, guest_id, pid), daemon=True, name=f"watch-{name}")
        watcher.start()

    def _forget_watch(self, name: str) -> None:
        self._watched.pop(name, None)

    def _wait(self, name: str, guest_id: str, pid: int) -> None:
        wait_for_exit(pid)
        with self._locked(name):
            if self._watched.get(name) != pid:
                return
            self._watched.pop(name)
            with contextlib.suppress(ContainerError):
                if self.containers.exit_info(name)[0] == REBOOT_EXIT_CODE:
                    LOGGER.info("guest %s reboots", guest_id)
                    self.containers.start(name)
                    self.containers.update_memory(name, self._load(name, guest_id).memory_bytes)
                    self._watch(name, guest_id)
                    return
            self.network.detach(name)
        LOGGER.info("guest %s went down by itself", guest_id)
        try:
            self.on_power_off(guest_id)
        except Exception:
            LOGGER.exception("what should happen after guest %s went down failed", guest_id)

    # -- records ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with self._locks_guard:
            lock = self._locks.setdefault(name, threading.RLock())
        with lock:
            try:
                yield
            except ContainerError as error:
                raise GuestError(f"guest {name}: {error}") from error

    def _load(self, name: str, guest_id: str) -> GuestRecord:
        try:
            return GuestRecord(**json.loads((self.home / name / "guest.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise GuestError(f"there is no guest {guest_id}") from None

    def _save(self, name: str, record: GuestRecord) -> None:
        path = self.home / name / "guest.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        temporary.replace(path)

    def _evict_console(self, name: str) -> None:
        # Only between boots: while a guest runs, conmon holds the file open.
        log = self.home / name / "console.log"
        if log.exists() and log.stat().st_size > EVICT_BYTES:
            log.replace(log.with_name("console.log.1"))


def container_name(guest_id: str) -> str:
    """Return the container's name for a guest id, which may have any characters: readable, and unlike any other."""
    slug = re.sub(r"[^a-zA-Z0-9_.-]+", "-", guest_id).strip("-.")
    return f"vm-{slug[:40]}" + (
        "" if slug == guest_id and len(slug) <= 40 else f"-{hashlib.sha256(guest_id.encode()).hexdigest()[:8]}"
    )


def parse_console(log: bytes) -> bytes:
    """Return what was written to the console, from conmon's log of `time stream F|P text` lines (P: the line goes on)."""
    written = bytearray()
    for line in log.split(b"\n"):
        fields = line.split(b" ", 3)
        if len(fields) == 4 and fields[1] in (b"stdout", b"stderr"):
            written += fields[3] + (b"\n" if fields[2] == b"F" else b"")
    return bytes(written)


def wait_for_exit(pid: int) -> None:
    """Return when the process has ended; it need not be a child process, and may have ended before."""
    if pid <= 0:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.poll()
    finally:
        os.close(descriptor)
