# SPDX-License-Identifier: GPL-3.0-or-later
"""The podman command with a configuration, storage and state of our own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ULIMITS = {"nofile": (resource.RLIMIT_NOFILE, 65536), "nproc": (resource.RLIMIT_NPROC, 16384)}
"""Open files and processes per guest, unless this machine allows fewer."""


class ContainerError(RuntimeError):
    """podman failed; the message is one line with podman's own reason."""


class Podman:
    """The podman command with private configuration, storage and state.

    `home` holds configuration and layers; locks and other state that must not outlive a reboot lie below /run.
    `image_stores` are further, read-only storages whose images can be used.
    """

    def __init__(self, home: Path, image_stores: Sequence[Path] = ()) -> None:
        self.home = home
        self.storage = home / "storage"
        # Unix sockets have a limit of 108 characters, so the path must be short whatever `home` is.
        self.volatile = Path("/run") / f"rehearsal-{hashlib.sha256(str(home).encode()).hexdigest()[:10]}"
        self._image_stores = tuple(image_stores)
        self._configured = False
        self._lock = threading.Lock()

    def environment(self) -> dict[str, str]:
        """Return the environment in which any podman command uses this storage."""
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"),
        }

    def configure(self) -> None:
        """Write the configuration files; safe to repeat, also while containers run."""
        with self._lock:
            if self._configured:
                return
            self.storage.mkdir(parents=True, exist_ok=True)
            for store in self._image_stores:
                store.mkdir(parents=True, exist_ok=True)
            _replace(
                self.home / "storage.conf", storage_conf(self.storage, self.volatile / "storage", self._image_stores)
            )
            _replace(
                self.home / "containers.conf", containers_conf(self.storage, self.volatile / "libpod", runtimes()[0])
            )
            self._configured = True

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line of a podman command."""
        return ["podman", *arguments]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a podman command; `options` go to subprocess.Popen."""
        self.configure()
        try:
            # podman's monitor leaves a file named oom in its working directory when a container runs out of memory.
            return subprocess.Popen(self.argv(*arguments), env=self.environment(), cwd=self.home, **options)
        except FileNotFoundError:
            raise ContainerError(
                "podman is missing on this machine; install it with: apt-get install podman runc"
            ) from None

    def call(
        self, *arguments: str, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a podman command; raises ContainerError when it fails, unless `check` is false."""
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"stdin": subprocess.PIPE}
        with self.popen(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **source) as process:
            out, err = process.communicate(stdin)
        if check and process.returncode:
            raise ContainerError(
                f"podman {' '.join(arguments[:2])} failed: {reason(err) or f'exit code {process.returncode}'}"
            )
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def text(self, *arguments: str) -> str:
        """Run a podman command and return its standard output, stripped."""
        return self.call(*arguments).stdout.decode(errors="replace").strip()

    def destroy(self) -> None:
        """End this storage's containers, take its mounts away and delete it, whatever state it is in."""
        if (self.home / "containers.conf").exists() and shutil.which("podman"):
            with contextlib.suppress(ContainerError):
                self.call("rm", "--all", "--force", "--time", "0", check=False)
        for folder in (self.home, self.volatile):
            unmount_below(folder)
            if folder.exists():
                shutil.rmtree(folder)
        self._configured = False


def runtimes() -> list[str]:
    """Return the OCI runtimes of this machine that can work, best first; raises ContainerError if there is none.

    crun 1.8 refuses the hybrid cgroup layout (version 1 controllers); runc takes both.
    """
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    found = [name for name in (("crun", "runc") if unified else ("runc", "crun")) if shutil.which(name)]
    if not found:
        raise ContainerError("no container runtime found on this machine; install one with: apt-get install runc")
    return found


def ulimits() -> list[str]:
    """Return podman's default ulimits: what we want, but no more than we may set without CAP_SYS_RESOURCE."""
    allowed = []
    # podman itself lowers its limit of processes to the kernel's pid_max before it starts anything.
    ceiling = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="utf-8"))
    for name, (limit, wanted) in ULIMITS.items():
        hard = resource.getrlimit(limit)[1]
        value = min(wanted, ceiling) if name == "nproc" else wanted
        value = value if hard == resource.RLIM_INFINITY else min(hard, value)
        allowed.append(f"{name}={value}:{value}")
    return allowed


def storage_conf(storage: Path, run: Path, image_stores: Sequence[Path]) -> str:
    """Return the text of a storage.conf."""
    stores = ", ".join(json.dumps(str(store)) for store in image_stores)
    return (
        f'[storage]\ndriver = "overlay"\ngraphroot = {json.dumps(str(storage))}\nrunroot = {json.dumps(str(run))}\n'
        f"[storage.options]\nadditionalimagestores = [{stores}]\n"
    )


def containers_conf(storage: Path, run: Path, runtime: str) -> str:
    """Return the text of a containers.conf: private locks and state, cgroups without systemd, limits that we may set."""
    return (
        "[containers]\n"
        f"default_ulimits = {json.dumps(ulimits())}\n"
        'log_driver = "k8s-file"\n'
        "pids_limit = 0\n"
        "[engine]\n"
        f"runtime = {json.dumps(runtime)}\n"
        'cgroup_manager = "cgroupfs"\n'
        'events_logger = "file"\n'
        'lock_type = "file"\n'
        f"static_dir = {json.dumps(str(storage / 'libpod'))}\n"
        f"volume_path = {json.dumps(str(storage / 'volumes'))}\n"
        f"tmp_dir = {json.dumps(str(run))}\n"
    )


def reason(stderr: bytes) -> str:
    """Return podman's reason in one line: its `Error:` line, or the last thing it said."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error:")]
    return (errors or lines or [""])[-1]


def mounts_below(folder: Path, table: str) -> list[str]:
    """Return the mount points at or below `folder` in a /proc/self/mounts table, innermost first."""
    points = [line.split()[1].encode().decode("unicode_escape") for line in table.splitlines() if line.strip()]
    inside = [point for point in points if point == str(folder) or point.startswith(f"{folder}/")]
    return sorted(inside, key=len, reverse=True)


def unmount_below(folder: Path) -> None:
    """Take away every mount at or below `folder`, so that deleting it deletes nothing else."""
    for point in mounts_below(folder, Path("/proc/self/mounts").read_text(encoding="utf-8")):
        subprocess.run(["umount", "--lazy", point], capture_output=True)


def _replace(path: Path, text: str) -> None:
    # Another process may read the file right now: it sees the old text or the new one, never half of it.
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
