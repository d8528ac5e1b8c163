# SPDX-License-Identifier: GPL-3.0-or-later
"""Running instances of functions: a container each, with its limits of memory and CPU, its address and its identity."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.machine.containers import ContainerError
from rehearsal.machine.metadata.view import MetadataView
from rehearsal.services.functions import addresses
from rehearsal.services.functions.build import ENVIRONMENT, WORKSPACE, environment_folder, source_folder
from rehearsal.services.functions.names import from_key
from rehearsal.services.functions.revisions import Instance, Pool, Revision
from rehearsal.services.iam.identity import CLOUD_PLATFORM

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

LOGGER = logging.getLogger("rehearsal.services.functions")
PORT = 8080
# Cloud Run's default startup probe gives up after 240 s.
START_SECONDS = 240.0
LOOK_EVERY = 0.05
WATCH_EVERY = 1.0
# Pause before a restart; it doubles while restarts fail.
RESTART_PAUSE, LONGEST_PAUSE = 1.0, 60.0
TAIL_LINES = 20
# As on Google, what is written to /tmp counts as memory.
CONFINED = ("--tmpfs", "/tmp:rw,mode=1777", "--user", "33:33", "--cap-drop", "all")  # noqa: S108
TAIL_BYTES = 4000


class StartError(Exception):
    """A revision that did not become ready; the message has the last lines of its log."""


def start(cloud: Cloud, revision: Revision) -> None:
    """Start a revision's first instance, wait until it answers, and keep it running. Raises StartError, and then leaves nothing."""
    first = Instance(revision, revision["container"], revision["address"])
    try:
        _launch(cloud, first)
    except StartError:
        remove(cloud, revision)
        raise
    _serve(cloud, first)
    cloud.background(_supervise, cloud, first)


def revive(cloud: Cloud, revision: Revision) -> None:
    """Start a revision that served before the control plane was stopped; requests meanwhile wait for it."""
    first = Instance(revision, revision["container"], revision["address"])
    _serve(cloud, first)
    try:
        _launch(cloud, first)
    except StartError as error:
        LOGGER.error("%s does not start: %s", revision["name"], error)
    cloud.background(_supervise, cloud, first)


def _serve(cloud: Cloud, first: Instance) -> None:
    def grow(pool: Pool) -> None:
        cloud.background(_add, cloud, pool)

    pool = Pool(first.revision, grow)
    pool.add(first)
    cloud.function_pools[first.container] = pool


def _add(cloud: Cloud, pool: Pool) -> None:
    """Start another instance beside those that are all busy."""
    container = f"{pool.revision['container']}-{len(pool.instances) + 1}"
    instance = Instance(pool.revision, container, addresses.take(cloud.store, container))
    try:
        _launch(cloud, instance)
    except StartError as error:
        LOGGER.error("no further instance of %s: %s", pool.revision["name"], error)
        _end(cloud, instance)
        pool.gave_up()
        return
    pool.add(instance)
    if cloud.function_pools.get(pool.revision["container"]) is pool:
        cloud.background(_supervise, cloud, instance)
    else:  # the revision was replaced meanwhile
        _end(cloud, instance)


def _launch(cloud: Cloud, instance: Instance) -> None:
    """Start an instance and wait until it answers. Raises StartError."""
    try:
        _create(cloud, instance)
        _await(cloud, instance)
    except ContainerError as error:
        raise StartError(str(error)) from error
    instance.ready.set()


def remove(cloud: Cloud, revision: Revision) -> None:
    """End a revision and give its address back."""
    suspend(cloud, revision)
    addresses.release(cloud.store, revision["address"])


def suspend(cloud: Cloud, revision: Revision) -> None:
    """End a revision's instances; the first one's address stays its own."""
    pool = cloud.function_pools.pop(revision["container"], None)
    first = Instance(revision, revision["container"], revision["address"])
    for instance in pool.instances if pool else [first]:
        _end(cloud, instance)


def _end(cloud: Cloud, instance: Instance) -> None:
    instance.ended.set()
    instance.ready.clear()
    _keep_log(cloud, instance)
    with contextlib.suppress(ContainerError):
        cloud.containers.remove(instance.container)
    cloud.metadata.unregister(instance.address)
    cloud.network.detach(instance.container)
    if instance.container != instance.revision["container"]:
        addresses.release(cloud.store, instance.address)


def log_file(cloud: Cloud, revision: Revision) -> Path:
    """Return where the output of a revision's former containers is kept."""
    return cloud.settings.home / "functions" / "logs" / f"{revision['container']}.log"


def _keep_log(cloud: Cloud, instance: Instance) -> None:
    with contextlib.suppress(ContainerError, OSError):
        text = cloud.containers.logs(instance.container)
        if text:
            path = log_file(cloud, instance.revision)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as kept:
                kept.write(text)


def _create(cloud: Cloud, instance: Instance) -> None:
    revision, container, address = instance.revision, instance.container, instance.address
    _keep_log(cloud, instance)
    netns = cloud.network.attach(container, address)
    cloud.metadata.register(address, _view(cloud, instance))
    hosts = cloud.settings.home / "functions" / "hosts"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(f"127.0.0.1 localhost\n{cloud.settings.metadata_address} metadata.google.internal metadata\n")
    function = from_key(revision["function"])
    variables = {
        **revision["variables"],
        "HOME": "/tmp",  # noqa: S108 - the container's own
        "PYTHONUNBUFFERED": "1",
        "FUNCTION_TARGET": revision["target"],
        "FUNCTION_SIGNATURE_TYPE": "http",
        "K_SERVICE": function.id,
        "K_CONFIGURATION": function.id,
        "K_REVISION": revision["name"],
        "PORT": str(PORT),
        "CLOUD_RUN_TIMEOUT_SECONDS": str(revision["timeout"]),
    }
    serve = (
        f"cd {WORKSPACE} && exec {ENVIRONMENT}/bin/functions-framework "
        f'--target="$FUNCTION_TARGET" --source={WORKSPACE}/main.py --port="$PORT"'
    )
    cloud.containers.create(
        container,
        revision["image"],
        memory_bytes=revision["memory"],
        netns=netns,
        env=variables,
        mounts=[
            (source_folder(cloud, revision["source"]), WORKSPACE, "ro"),
            (environment_folder(cloud, revision["environment"]), ENVIRONMENT, "ro"),
            (hosts, "/etc/hosts", "ro"),
        ],
        command=["/bin/sh", "-c", serve],
        options=(*CONFINED, "--cpus", f"{revision['cpu']:g}"),
    )
    cloud.containers.start(container)


def _view(cloud: Cloud, instance: Instance) -> MetadataView:
    revision = instance.revision
    function = from_key(revision["function"])
    number = cloud.identity.project_number(function.project)
    return MetadataView(
        project_id=function.project,
        project_number=number,
        instance=lambda: {
            "id": f"00{instance.container.encode().hex()}",
            "region": f"projects/{number}/regions/{function.region}",
            "zone": f"projects/{number}/zones/{function.region}-1",
        },
        project_attributes=dict,
        service_account={"email": revision["account"], "scopes": [CLOUD_PLATFORM]},
    )


def listens(address: str) -> bool:
    """Tell whether a function accepts connections at its address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, PORT)) == 0


def _await(cloud: Cloud, instance: Instance) -> None:
    deadline = time.monotonic() + START_SECONDS
    looked = 0.0
    while not listens(instance.address):
        now = time.monotonic()
        if now > deadline:
            raise StartError(f"nothing listened on port {PORT} within {START_SECONDS:.0f} s.{tail(cloud, instance)}")
        if now - looked > 1.0:
            looked = now
            if not cloud.containers.is_running(instance.container):
                raise StartError(f"{_ending(cloud, instance)}{tail(cloud, instance)}")
        time.sleep(LOOK_EVERY)


def _ending(cloud: Cloud, instance: Instance) -> str:
    code, out_of_memory = cloud.containers.exit_info(instance.container)
    if out_of_memory or code == 137:
        return f"the container was killed: memory limit of {instance.revision['memory'] // 2**20} MiB exceeded."
    return f"the container exited with code {code}."


def tail(cloud: Cloud, instance: Instance) -> str:
    """Return the last lines of an instance's log, introduced; nothing when it wrote nothing."""
    try:
        text = cloud.containers.logs(instance.container).decode(errors="replace")
    except ContainerError:
        return ""
    lines = "\n".join(text[-TAIL_BYTES:].splitlines()[-TAIL_LINES:])
    return f" Last lines of its log:\n{lines}" if lines.strip() else " Its log is empty."


def _supervise(cloud: Cloud, found: Instance) -> None:
    """Restart the container whenever it ends, for as long as it is wanted."""
    container, pause = found.container, RESTART_PAUSE
    while not found.ended.is_set():
        state = cloud.containers.state(container) or {}
        process = int(state.get("Pid") or 0)
        # Looking at /proc costs nothing; asking podman every second would.
        while process and Path(f"/proc/{process}").exists():
            if found.ended.wait(WATCH_EVERY):
                return
        found.ready.clear()
        with contextlib.suppress(ContainerError):
            LOGGER.warning("%s: %s", found.revision["name"], _ending(cloud, found))
        if found.ended.wait(pause):
            return
        try:
            cloud.containers.start(container)
            _await(cloud, found)
            found.ready.set()
            pause = RESTART_PAUSE
        except (ContainerError, StartError) as error:
            pause = min(pause * 2, LONGEST_PAUSE)
            LOGGER.error("%s could not be restarted: %s", found.revision["name"], error)
