# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VM is reached: what inventory/group_vars/training/connection.yml makes of ssh's command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent


def test_an_open_connection_is_not_used_for_another_vm_at_the_same_address(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    shutil.copytree(REPOSITORY / "inventory/group_vars/training", tmp_path / "group_vars/training")
    (tmp_path / "ansible.cfg").touch()
    calls = tmp_path / "calls"
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{calls}\nexit 255\n')
    ssh.chmod(0o755)
    known = {"ansible_host": "198.51.100.1", "vm_ssh_user": "fanops", "training_vm_ssh_key_file": "/nowhere/key"}
    known |= {"training_vm_known_hosts_dir": "/nowhere", "ansible_ssh_executable": str(ssh), "ansible_ssh_retries": "0"}
    hosts = {f"vm-{number}": {"gce_name": "ml-training-vm", "gce_id": f"800{number}"} for number in range(2)}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"training": {"hosts": hosts, "vars": known}}))
    command = [
        str(Path(sys.executable).with_name("ansible")),
        "training",
        "-i",
        str(tmp_path / "hosts.yml"),
        "-m",
        "ping",
    ]
    subprocess.run(
        command, env={**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}, capture_output=True, check=False
    )
    paths = re.findall(r'ControlPath="([^"]+)"', calls.read_text())
    assert len(paths) >= 2 and {path.rpartition("/")[2] for path in paths} == {"8000", "8001"}
