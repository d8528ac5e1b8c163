# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot unit acts at the next boot, not now, and only root can change it or the command."""

from __future__ import annotations

from testinfra.host import Host


def test_the_unit_waits_for_a_boot(host: Host) -> None:
    assert host.check_output("systemctl is-enabled fanops-scheduled") == "enabled"
    assert not host.service("fanops-scheduled").is_running
    assert host.run("systemd-analyze verify /etc/systemd/system/fanops-scheduled.service").stderr == ""


def test_only_root_can_change_it(host: Host) -> None:
    for path in ("/usr/local/sbin/fanops-train", "/etc/systemd/system/fanops-scheduled.service"):
        file = host.file(path)
        assert (file.user, file.group) == ("root", "root") and not file.mode & 0o022, path
