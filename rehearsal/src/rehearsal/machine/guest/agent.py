#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google's guest agent does on a VM, as far as the rehearsal needs it.

Runs inside the guest on Debian's own Python (3.9 or later) with the standard library only. `agent.py accounts` follows the
metadata server for ever: ssh keys become accounts with sudo, the guest's host keys become guest attributes.
`agent.py startup-script` and `agent.py shutdown-script` run the script of that name from the metadata, once.
"""

from __future__ import annotations

import contextlib
import datetime
import grp
import http.client
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any, NoReturn

Tree = dict[str, Any]

METADATA_HOST = "169.254.169.254"
WAIT_SECONDS = 60
MARK = "# Added by Google"
SUDO_GROUP = "google-sudoers"
# What Google's agent puts its accounts into besides, where the group exists; adm reads /var/log.
GROUPS = ("adm", "dip", "docker", "lxd", "plugdev", "video")
USERS_FILE = Path("/var/lib/google/google_users")
USER_NAME = re.compile(r"^[a-z_][a-z0-9_.-]{0,31}$")


class MetadataError(Exception):
    """The metadata server did not answer, or answered with an error."""


def request(method: str, path: str, body: str | None = None, timeout: float = 10) -> tuple[str, str]:
    """Send one request below /computeMetadata/v1/ and return (text, ETag); raises MetadataError."""
    connection = http.client.HTTPConnection(METADATA_HOST, 80, timeout=timeout)
    try:
        connection.request(method, "/computeMetadata/v1/" + path, body=body, headers={"Metadata-Flavor": "Google"})
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise MetadataError(f"no answer: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise MetadataError(f"HTTP {response.status} for {path}")
    return text, response.getheader("ETag", "")


def is_true(value: Any) -> bool:
    """Tell whether a metadata value means yes; Google's agent takes any case."""
    return str(value or "").strip().lower() in {"true", "1", "y", "yes"}


def attribute(tree: Tree, key: str) -> str | None:
    """Return a metadata value: the instance's own if it has one, else the project's, else None."""
    for level in ("instance", "project"):
        attributes = (tree.get(level) or {}).get("attributes") or {}
        if key in attributes:
            return str(attributes[key])
    return None


def has_expired(key: str, now: datetime.datetime) -> bool:
    """Tell whether a key carries an expiry (`google-ssh {"userName":…,"expireOn":…}`) that has passed."""
    _, found, comment = key.partition(" google-ssh ")
    if not found:
        return False
    try:
        expiry = json.loads(comment)["expireOn"]
        return datetime.datetime.strptime(expiry, "%Y-%m-%dT%H:%M:%S%z") < now
    except (ValueError, KeyError, TypeError):
        return True


def parse_ssh_keys(text: str, now: datetime.datetime) -> dict[str, list[str]]:
    """Return {user: [authorized_keys lines]} of an `ssh-keys` value, whose lines are `user:ssh-ed25519 AAAA comment`."""
    users: dict[str, list[str]] = {}
    for line in text.splitlines():
        user, colon, key = line.strip().partition(":")
        if not colon or not USER_NAME.match(user) or len(key.split()) < 2:
            continue
        if not has_expired(key, now):
            users.setdefault(user, []).append(key.strip())
    return users


def wanted_accounts(tree: Tree, now: datetime.datetime) -> dict[str, list[str]]:
    """Return {user: [keys]} as the metadata wants it; project keys count unless the instance blocks them."""
    if is_true(attribute(tree, "enable-oslogin")):
        return {}
    own = ((tree.get("instance") or {}).get("attributes") or {}).get("ssh-keys", "")
    text = own
    if not is_true(((tree.get("instance") or {}).get("attributes") or {}).get("block-project-ssh-keys")):
        text += "\n" + ((tree.get("project") or {}).get("attributes") or {}).get("ssh-keys", "")
    return parse_ssh_keys(text, now)


def merge_marked(text: str, lines: list[str]) -> str:
    """Return a file's text with the agent's lines replaced by `lines`; a marker line precedes each of them."""
    kept, skip = [], False
    for line in text.splitlines():
        if skip:
            skip = False
        elif line.strip() == MARK:
            skip = True
        else:
            kept.append(line)
    for line in lines:
        kept += [MARK, line]
    return "".join(f"{line}\n" for line in kept)


def hosts_text(text: str, tree: Tree) -> str:
    """Return the text of /etc/hosts with the VM's own name and the metadata server's in it."""
    kept = [line for line in text.splitlines() if not line.endswith(MARK)]
    instance = tree.get("instance") or {}
    interfaces = instance.get("networkInterfaces") or [{}]
    name, address = instance.get("hostname", ""), interfaces[0].get("ip", "")
    if name and address:
        kept.append(f"{address} {name} {name.split('.')[0]}  {MARK}")
    kept.append(f"{METADATA_HOST} metadata.google.internal metadata  {MARK}")
    return "".join(f"{line}\n" for line in kept)


def write_if_changed(path: Path, text: str, mode: int, owner: pwd.struct_passwd | None = None) -> None:
    """Write a file whole or not at all."""
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    temporary = path.with_name(path.name + ".google")
    temporary.write_text(text)
    temporary.chmod(mode)
    if owner:
        os.chown(temporary, owner.pw_uid, owner.pw_gid)
    try:
        temporary.replace(path)
    except OSError:  # a bind mount, such as a container's /etc/hosts, cannot be replaced
        path.write_text(text)
        temporary.unlink()


def ensure_user(name: str) -> None:
    """Make the account if it is missing, and let it use sudo without a password."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", name], check=True)
        print(f"created account {name}", flush=True)
    existing = {group.gr_name: group.gr_mem for group in grp.getgrall()}
    for group in (SUDO_GROUP, *GROUPS):
        if group in existing and name not in existing[group] and name != "root":
            subprocess.run(["gpasswd", "--add", name, group], check=True, stdout=subprocess.DEVNULL)


def write_keys(name: str, keys: list[str]) -> None:
    """Exchange our lines in the account's authorized_keys; the owner's own lines stay."""
    owner = pwd.getpwnam(name)
    folder = Path(owner.pw_dir) / ".ssh"
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    path = folder / "authorized_keys"
    before = path.read_text() if path.exists() else ""
    write_if_changed(path, merge_marked(before, keys), 0o600, owner)


def apply_accounts(wanted: dict[str, list[str]]) -> None:
    """Make accounts and keys as wanted; accounts no longer wanted lose their keys and sudo, not their files."""
    known = set(USERS_FILE.read_text().split()) if USERS_FILE.exists() else set()
    for name, keys in sorted(wanted.items()):
        try:
            ensure_user(name)
            write_keys(name, keys)
        except (OSError, KeyError, subprocess.CalledProcessError) as error:
            print(f"could not set up account {name}: {error}", flush=True)
    for name in sorted(known - set(wanted)):
        with contextlib.suppress(OSError, KeyError):
            write_keys(name, [])
            if name in grp.getgrnam(SUDO_GROUP).gr_mem:
                subprocess.run(["gpasswd", "--delete", name, SUDO_GROUP], check=False, stdout=subprocess.DEVNULL)
            print(f"removed the keys of account {name}", flush=True)
    USERS_FILE.parent.mkdir(parents=True, exist_ok=True)
    write_if_changed(USERS_FILE, "".join(f"{name}\n" for name in sorted(wanted)), 0o644)


def publish_host_keys() -> None:
    """Write the public host keys to the guest attributes, as `hostkeys/ssh-ed25519` and so on."""
    published = []
    for path in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub")):
        kind, key = path.read_text().split()[:2]
        request("PUT", "instance/guest-attributes/hostkeys/" + urllib.parse.quote(kind), body=key)
        published.append(kind)
    if not published:
        raise MetadataError("there are no host keys yet")
    print("published host keys: " + ", ".join(published), flush=True)


def follow() -> NoReturn:
    """Follow the metadata server for ever."""
    etag, published, silent = "0", False, False
    while True:
        query = urllib.parse.urlencode(
            {
                "recursive": "true",
                "alt": "json",
                "wait_for_change": "true",
                "timeout_sec": WAIT_SECONDS,
                "last_etag": etag,
            }
        )
        try:
            text, etag = request("GET", "?" + query, timeout=WAIT_SECONDS + 15)
            silent = False
            tree = json.loads(text)
            apply_accounts(wanted_accounts(tree, datetime.datetime.now(datetime.timezone.utc)))
            hosts = Path("/etc/hosts")
            write_if_changed(hosts, hosts_text(hosts.read_text(), tree), 0o644)
            if not published and is_true(attribute(tree, "enable-guest-attributes")):
                publish_host_keys()
                published = True
        except (MetadataError, OSError, ValueError) as error:
            if not silent:
                print(f"metadata server: {error}; trying again every second", flush=True)
            silent, etag = True, "0"
            time.sleep(1)


def read_tree(attempts: int) -> Tree:
    """Return the metadata tree, asking once a second; an empty one if the metadata server stays away."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(1)
        try:
            return dict(json.loads(request("GET", "?recursive=true&alt=json", timeout=3)[0]))
        except (MetadataError, ValueError) as error:
            reason = error
    print(f"metadata server: {reason}", flush=True)
    return {}


def run_script(key: str) -> None:
    """Run the script in metadata attribute `key` as root; every line of its output starts with the key.

    A script that fails says so in the log and fails nothing else, as on Google.
    """
    # A power-off must not wait for a metadata server that has gone already.
    script = attribute(read_tree(2 if key == "shutdown-script" else 60), key)
    if not script:
        print(f"No {key} to run.", flush=True)
        return
    USERS_FILE.parent.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="metadata-scripts", dir=str(USERS_FILE.parent))
    path = Path(folder) / key
    path.write_text(script if script.endswith("\n") else script + "\n")
    path.chmod(0o700)
    command = [str(path)] if script.startswith("#!") else ["/bin/bash", str(path)]
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        ) as process:
            for line in process.stdout or ():
                print(f"{key}: {line.decode(errors='replace').rstrip()}", flush=True)
        print(f"{key} exit status {process.returncode}", flush=True)
    except OSError as error:
        print(f"{key}: cannot be executed: {error}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Run one of the agent's duties; returns the exit code."""
    if arguments == ["accounts"]:
        follow()
    if arguments in (["startup-script"], ["shutdown-script"]):
        run_script(arguments[0])
        return 0
    print("usage: agent.py accounts|startup-script|shutdown-script", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
