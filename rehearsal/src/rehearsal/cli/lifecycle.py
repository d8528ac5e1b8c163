# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing the rehearsal up and down: what the command line does around the control plane's process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rehearsal.errors import RehearsalError
from rehearsal.machine import lock
from rehearsal.machine.containers import Containers
from rehearsal.machine.images import Images
from rehearsal.machine.network import Network
from rehearsal.settings import Settings
from rehearsal.wire.trust import ensure_authority

DEFAULT_IMAGES = ("debian-11", "python313")
TOOLS = {"podman": "podman", "runc": "runc", "debootstrap": "debootstrap", "ip": "iproute2"}
START_SECONDS = 120
STOP_SECONDS = 180

Say = Callable[[str], None]


def up(settings: Settings, images: list[str] | None, withdraw: list[str], say: Say) -> None:
    """Build what is missing, start the control plane, and return once it answers."""
    check_machine(settings)
    withdrawn = sorted(set(withdraw) | set(settings.withdrawn_families))
    running = running_pid(settings)
    if running is not None:
        if withdrawn != _withdrawn_by_running(settings):
            raise RehearsalError("it is up with other withdrawn image families; run `rehearsal down` first")
        say(f"the rehearsal is up already (process {running})")
    settings.home.mkdir(parents=True, exist_ok=True)
    ensure_authority(settings)
    build_images(settings, [family for family in images or DEFAULT_IMAGES if family not in withdrawn], say)
    if running is None:
        _start(settings, withdrawn, say)


def down(settings: Settings, *, purge: bool, images: bool, say: Say) -> None:
    """Stop the control plane, which powers everything off; with `purge` also forget the state."""
    pid = running_pid(settings)
    if pid is None:
        say("the rehearsal is not running")
    else:
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while _alive(pid):
            if time.monotonic() - began > STOP_SECONDS:
                raise RehearsalError(
                    f"process {pid} did not stop within {STOP_SECONDS} s; see {settings.home / 'logs'}"
                )
            time.sleep(0.1)
        say(f"stopped in {time.monotonic() - began:.1f} s")
    if not purge or not settings.home.exists():
        return
    owner = lock.owner(settings)
    if owner and owner != str(settings.home):
        raise RehearsalError(
            f"another rehearsal runs on this machine, with its state in {owner}; its network is left alone"
        )
    containers = Containers(settings)
    for name in containers.names():
        containers.remove(name)
    Network(settings).teardown()
    if images:
        Images(settings, containers).destroy_storage()
        containers.destroy_storage()
        shutil.rmtree(settings.cache, ignore_errors=True)
        shutil.rmtree(settings.home, ignore_errors=True)
    else:
        keep = {settings.cache.resolve(), (settings.home / "ca").resolve()}
        for path in settings.home.iterdir():
            if path.resolve() not in keep and path.name != "containers":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    say("forgotten: instances, functions, buckets, accounts, logs" + (", images" if images else "; the images stay"))


def check_machine(settings: Settings) -> None:
    """Raise RehearsalError unless this machine can run guests and no other rehearsal does."""
    if os.geteuid() != 0:
        raise RehearsalError("guests with their own systemd and network need root; run it as root")
    missing = sorted(
        package
        for tool, package in TOOLS.items()
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None
    )
    if missing:
        raise RehearsalError(
            f"missing on this machine: {', '.join(missing)}; run `make setup`, or apt-get install {' '.join(missing)}"
        )
    owner = lock.owner(settings)
    if owner and owner != str(settings.home):
        raise RehearsalError(
            f"another rehearsal runs on this machine, with its state in {owner}; run `rehearsal down` there first"
        )


def build_images(settings: Settings, families: list[str], say: Say) -> None:
    """Have the image families ready, building the missing ones side by side."""
    store = Images(settings, Containers(settings))
    failures: dict[str, Exception] = {}

    def build(family: str) -> None:
        try:
            store.ensure(family, lambda line: say(f"[image {family}] {line}"))
        except Exception as error:
            failures[family] = error

    threads = [threading.Thread(target=build, args=(family,)) for family in families]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for family, error in failures.items():
        # A family that cannot be built is withdrawn: it answers 404 and `status` says why; the rest is usable.
        say(f"[image {family}] withdrawn: {error}")


def image_states(settings: Settings) -> dict[str, str]:
    """Return for each image family whether it is ready, absent, withdrawn or failed."""
    if os.geteuid() != 0 or not settings.home.exists():
        return {}
    store = Images(settings, Containers(settings))
    return {family: store.status(family) for family in store.FAMILIES}


def running_pid(settings: Settings) -> int | None:
    """Return the process id of the control plane when it is up and ready."""
    try:
        pid = int((settings.home / "ready").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _alive(pid) else None


def _start(settings: Settings, withdrawn: list[str], say: Say) -> None:
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "control-plane.log"
    environment = {
        **os.environ,
        "REHEARSAL_HOME": str(settings.home),
        "REHEARSAL_CACHE": str(settings.cache),
        "REHEARSAL_WITHDRAWN_FAMILIES": ",".join(withdrawn),
    }
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.daemon"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=environment, start_new_session=True,
        )  # fmt: skip
    (settings.home / "withdrawn").write_text(",".join(withdrawn))
    while running_pid(settings) is None:
        if process.poll() is not None:
            raise RehearsalError(f"the control plane ended with {process.returncode}: {_last_line(log)}; see {log}")
        if time.monotonic() - began > START_SECONDS:
            raise RehearsalError(f"the control plane is not ready after {START_SECONDS} s; see {log}")
        time.sleep(0.1)
    seconds = time.monotonic() - began
    say(f"the rehearsal is up after {seconds:.1f} s: project {settings.project_id}, front door {settings.proxy_url}")


def _withdrawn_by_running(settings: Settings) -> list[str]:
    try:
        return [family for family in (settings.home / "withdrawn").read_text().split(",") if family]
    except FileNotFoundError:
        return []


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def _alive(pid: int) -> bool:
    try:
        # A child that ended but was not waited for is gone for our purposes.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
