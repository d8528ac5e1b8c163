# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest from below, as whoever has the hardware could touch it: its plug, its disk while it is off, its clock, its processes."""

from __future__ import annotations

import io
import subprocess
import tarfile

from rehearsal.machine.podman import Podman
from rehearsal.settings import load

UNITS = "etc/systemd/system"
#: The units that run what this project brings, which are to see another time than this machine's.
OUR_UNITS = ("fanops-scheduled.service", "fanops-watchdog.service", "fanops-train-.service")
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Guest:
    """The guest with this host name, running or not."""

    def __init__(self, hostname: str) -> None:
        self._environment = Podman(load().home / "containers").environment()
        names = self._podman("ps", "--all", "--format", "{{.Names}}").split()
        self._name = next(
            name
            for name in names
            if self._podman("inspect", "--format", "{{.Config.Hostname}}", name).strip() == hostname
        )

    def _podman(self, *arguments: str, content: bytes | None = None) -> str:
        command = ["podman", *arguments]
        done = subprocess.run(command, env=self._environment, input=content, capture_output=True, check=False)
        assert done.returncode == 0, (
            f"{command}: {done.stderr.decode(errors='replace')} {done.stdout.decode(errors='replace')}"
        )
        return done.stdout.decode(errors="replace")

    def switch_off(self) -> None:
        """Pull the plug: nothing in it can say good-bye."""
        self._podman("kill", "--signal=KILL", self._name)

    def run(self, script: str) -> str:
        """Run a shell script as root in the running guest; return its output."""
        return self._podman("exec", self._name, "sh", "-ec", script)

    def limit_memory(self, mebibytes: int) -> None:
        """Have the running guest make do with less memory; the next start gives it its own again."""
        self._podman("update", f"--memory={mebibytes}m", f"--memory-swap={mebibytes}m", self._name)

    def put(self, files: dict[str, str]) -> None:
        """Write files, path (without leading slash) -> content; `-> target` is a symbolic link."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, text in files.items():
                entry = tarfile.TarInfo(path)
                if text.startswith("-> "):
                    entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("-> ")
                entry.size = 0 if entry.issym() else len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        self._podman("cp", "-", f"{self._name}:/", content=buffer.getvalue())

    def have_a_clock(self) -> None:
        """From the next boot on, the units of this project see the time that `set_ahead` says; the guest must run."""
        self.run(
            "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libfaketime >/dev/null 2>&1"
        )
        variables = {"LD_PRELOAD": LIBRARY, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        text = "[Service]\n" + "".join(f"Environment={name}={value}\n" for name, value in variables.items())
        self.put({f"{UNITS}/{unit}.d/90-clock.conf": text for unit in OUR_UNITS})
        self.set_ahead(0)

    def set_ahead(self, seconds: float) -> None:
        """Set the guest's clock ahead of this machine's."""
        self.put({"etc/faketimerc": f"+{seconds:.0f}\n"})

    def fill(self, folder: str) -> None:
        """Leave no space where the running guest has this folder, until it goes off."""
        process = self._podman("inspect", "--format", "{{.State.Pid}}", self._name).strip()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", folder]
        subprocess.run(["nsenter", f"--target={process}", "--mount", "--", *mount], check=True)
        self.run(f"cat /dev/zero > {folder}/core 2>/dev/null || true")
