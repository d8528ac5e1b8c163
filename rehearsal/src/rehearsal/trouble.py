# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble as a real cloud has it: short of machines, slow to take effect, switched off, busy at first boot.

A knob is set on the command line and met by the control plane; both see it in the store. Unlike a planned fault, which
spoils single calls (`rehearsal fault`), a knob changes how a part of the cloud behaves until it is cleared or spent.
Kind `trouble`, key a knob's name. The knobs of `compute.limits` and `identity.policies` have kinds of their own, which
those modules describe.
"""

from __future__ import annotations

import io
import tarfile
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from rehearsal import ahead

if TYPE_CHECKING:
    from rehearsal.store import Store

KIND, MET = "trouble", "trouble.met"
API_DELAY, BILLING, CLOCK = "api-delay", "billing", "clock"
ACCOUNT_DELAY, AGENT_DELAY, ROLE_AGE = "account-delay", "agent-delay", "role-age"
GUEST_KNOBS = ("dpkg-lock", "nologin", "late-ssh")
UNITS = "etc/systemd/system"
NOLOGIN = "System is booting up. Unprivileged users are not permitted to log in yet."
# Held as apt and dpkg hold it: a POSIX lock on each of the two files.
HOLD_LOCK = (
    "import fcntl, time; files = [open(f'/var/lib/dpkg/{n}', 'w') for n in ('lock-frontend', 'lock')]; "
    "[fcntl.lockf(f, fcntl.LOCK_EX) for f in files]; print('holding the dpkg lock', flush=True); time.sleep(SECONDS)"
)


def setting(store: Store, knob: str) -> dict[str, Any]:
    """Return a knob's document, `{}` while it is not set."""
    return store.get(KIND, knob) or {}


def seconds(store: Store, knob: str) -> float:
    """Return the seconds that a knob is set to, 0 while it is not set."""
    return float(setting(store, knob).get("seconds", 0))


def count_hit(store: Store, knob: str) -> None:
    """Count that a knob came about: a test of trouble that did not happen proves nothing."""
    with store.lock:
        store.put(MET, knob, {"times": times_met(store, knob) + 1})


def times_met(store: Store, knob: str) -> int:
    """Return how often a knob came about since it was last set."""
    return int((store.get(MET, knob) or {}).get("times", 0))


def date_header(store: Store) -> str | None:
    """Return the Date header of a cloud whose clock is not this machine's, None while the clocks agree."""
    skew = seconds(store, CLOCK) + ahead.clock(store)
    return formatdate(time.time() + skew, usegmt=True) if skew else None


def boot_files(store: Store) -> bytes | None:
    """Return a tar archive of what makes a guest's next boot troublesome, None where nothing is to; spends one boot."""
    files: dict[str, str] = {}
    with store.lock:
        for knob in GUEST_KNOBS:
            known = setting(store, knob)
            if not known:
                continue
            files |= _units(knob, float(known["seconds"]))
            count_hit(store, knob)
            if known["boots"] > 1:
                store.put(KIND, knob, known | {"boots": known["boots"] - 1})
            else:
                store.delete(KIND, knob)
    return _archive(files) if files else None


def _units(knob: str, wait: float) -> dict[str, str]:
    """Return path -> text (or `-> target` of a link) of one knob. The files remove themselves: one boot, one trouble."""
    if knob == "late-ssh":
        path = f"{UNITS}/ssh.service.d/90-late.conf"
        return {
            path: f"[Service]\nTimeoutStartSec=infinity\nExecStartPre=/bin/sh -c 'rm -f /{path}; sleep {wait:g}'\n",
        }
    name = f"trouble-{knob}.service"
    wanted = f"{UNITS}/multi-user.target.wants/{name}"
    forget = f"rm -f /{wanted} /{UNITS}/{name}"
    if knob == "dpkg-lock":
        begin, go_on = forget, f'/usr/bin/python3 -c "{HOLD_LOCK.replace("SECONDS", f"{wait:g}")}"'
    else:
        begin = f'{forget}; echo "{NOLOGIN}" > /run/nologin'
        go_on = f"/bin/sh -c 'sleep {wait:g}; rm -f /run/nologin'"
    # Ordered between the service that lets users in and the one they come in by.
    unit = (
        f"[Unit]\nDescription=Trouble at boot: {knob}\nAfter=systemd-user-sessions.service\nBefore=ssh.service\n\n"
        f"[Service]\nExecStartPre=/bin/sh -c '{begin}'\nExecStart={go_on}\n"
    )
    return {f"{UNITS}/{name}": unit, wanted: f"-> /{UNITS}/{name}"}


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            if text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("-> ")
                archive.addfile(entry)
            else:
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
