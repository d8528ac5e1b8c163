# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers by podman, in a storage of our own that the machine's other containers never see."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.machine.podman import ContainerError, Podman, unmount_below

if TYPE_CHECKING:
    from rehearsal.settings import Settings

__all__ = ["ContainerError", "Containers", "Mount", "image_home"]

Mount = str | tuple[str | Path, str] | tuple[str | Path, str, str]
"""A bind mount: (source, target[, options such as "ro"]), or podman's own `source:target:options`."""


class Containers:
    """The containers of one rehearsal: guests and functions, by name.

    Images come from the image store of `settings.cache`, so forgetting every container keeps the images.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.podman = Podman(settings.home / "containers", image_stores=(image_home(settings) / "storage",))

    # -- life of a container ---------------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        image: str,
        *,
        memory_bytes: int,
        netns: str,
        env: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        command: Sequence[str] = (),
        systemd: bool = False,
        hostname: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Make a container without starting it.

        `memory_bytes` is a hard limit without swap. `netns` is a path from `Network.attach`. `systemd` prepares the container
        for systemd as process 1. `options` are further options of `podman create`.
        """
        self.podman.call(
            "create",
            *self._options(name, memory_bytes, netns, env, mounts, systemd, hostname),
            *options,
            image,
            *command,
        )

    def run_once(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        *,
        memory_bytes: int,
        netns: str,
        env: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        on_line: Callable[[str], None] = lambda line: None,
        timeout: float = 600.0,
    ) -> int:
        """Run `command` to its end, hand over each line of its output, remove the container and return the exit code.

        The container is killed after `timeout` seconds, and the exit code is then 124 (as timeout(1) has it).
        """
        options = self._options(name, memory_bytes, netns, env, mounts, False, None)
        process = self.podman.popen(
            "run", *options, image, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        deadline, expired = time.monotonic() + timeout, False
        try:
            while True:
                try:
                    line = lines.get(timeout=max(0.0, deadline - time.monotonic()) if not expired else 30)
                except queue.Empty:
                    if expired:
                        break
                    expired = True
                    self.kill(name)
                    continue
                if line is None:
                    break
                on_line(line.decode(errors="replace").rstrip("\r\n"))
            process.wait(timeout=30)
        finally:
            self.remove(name)
            process.kill()
            process.wait()
        return 124 if expired else process.returncode

    def start(self, name: str) -> None:
        """Start a stopped container."""
        self.podman.call("start", name)

    def stop(self, name: str, timeout: float = 10) -> None:
        """Ask process 1 to end (systemd powers off), and kill it after `timeout` seconds."""
        self.podman.call("stop", "--time", str(max(0, int(timeout))), name)

    def kill(self, name: str) -> None:
        """Kill a container at once; one that does not run is no error."""
        self.podman.call("kill", "--signal", "KILL", name, check=False)

    def remove(self, name: str) -> None:
        """Remove a container and its disk, running or not; one that does not exist is no error."""
        self.podman.call("rm", "--force", "--ignore", "--time", "0", "--volumes", name)

    def update_memory(self, name: str, memory_bytes: int) -> None:
        """Change the memory limit of a running container; it holds until the container stops."""
        self.podman.call("update", "--memory", str(memory_bytes), "--memory-swap", str(memory_bytes), name)

    # -- looking at a container ------------------------------------------------------------------------------------------

    def is_running(self, name: str) -> bool:
        """Tell whether the container runs."""
        state = self.state(name)
        return bool(state and state.get("Running"))

    def state(self, name: str) -> dict[str, Any] | None:
        """Return podman's State of the container (`Running`, `Pid`, `ConmonPid`, `ExitCode`, `OOMKilled`…), or None."""
        done = self.podman.call("container", "inspect", "--format", "{{json .State}}", name, check=False)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else None

    def names(self) -> list[str]:
        """Return the names of all containers, running or not."""
        return self.podman.text("ps", "--all", "--format", "{{.Names}}").split()

    def unpack(self, name: str, archive: bytes) -> None:
        """Unpack a tar archive onto the disk of a container, which need not run."""
        self.podman.call("cp", "-", f"{name}:/", stdin=archive)

    def logs(self, name: str, *, timestamps: bool = False) -> bytes:
        """Return what the container wrote to its standard output and error, each line behind its time if asked for."""
        done = self.podman.call("logs", *(["--timestamps"] if timestamps else []), name)
        return done.stdout + done.stderr

    def exit_info(self, name: str) -> tuple[int, bool]:
        """Return (exit code, killed for want of memory) of a stopped container; raises ContainerError if there is none."""
        state = self.state(name)
        if state is None:
            raise ContainerError(f"there is no container {name}")
        return int(state.get("ExitCode", 0)), bool(state.get("OOMKilled"))

    # -- the whole storage -----------------------------------------------------------------------------------------------

    def destroy_storage(self) -> None:
        """Remove every container with its disk, every mount and the storage itself; images in the cache stay."""
        self.podman.destroy()
        # An interrupted build may have left the image store mounted; whoever deletes the cache next must not meet that.
        unmount_below(image_home(self.settings))

    def _options(
        self,
        name: str,
        memory_bytes: int,
        netns: str,
        env: Mapping[str, str] | None,
        mounts: Sequence[Mount],
        systemd: bool,
        hostname: str | None,
    ) -> list[str]:
        options = ["--name", name, "--replace", "--pull", "never"]
        options += ["--network", f"ns:{netns}", "--no-hosts", "--dns", "none"]
        options += ["--memory", str(memory_bytes), "--memory-swap", str(memory_bytes)]
        options += ["--systemd", "always" if systemd else "false"]
        options += ["--hostname", hostname] if hostname else []
        for key, value in (env or {}).items():
            options += ["--env", f"{key}={value}"]
        for mount in mounts:
            options += ["--volume", mount if isinstance(mount, str) else ":".join(str(part) for part in mount)]
        return options


def image_home(settings: Settings) -> Path:
    """Return the folder of the image store, which guests and functions share."""
    return settings.cache / "images"


def _pump(stream: Any, lines: queue.Queue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)
