# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog runs, is armed, and lies where nobody but root can change it."""

from __future__ import annotations

import json

from testinfra.host import Host


def test_it_runs_and_comes_back_after_a_boot(host: Host) -> None:
    assert host.service("fanops-watchdog").is_running
    assert host.check_output("systemctl is-enabled fanops-watchdog") == "enabled"


def test_it_is_the_last_process_that_memory_is_taken_from(host: Host) -> None:
    # A guest of the rehearsal may not lower it (it is a container), so the unit is asked, and not the process.
    assert host.check_output("systemctl show --property=OOMScoreAdjust --value fanops-watchdog") == "-1000"


def test_only_root_can_change_it(host: Host) -> None:
    for path in (
        "/usr/local/sbin/fanops-watchdog",
        "/etc/systemd/system/fanops-watchdog.service",
        "/run/fanops-watchdog",
    ):
        file = host.file(path)
        assert (file.user, file.group) == ("root", "root") and not file.mode & 0o022, path


def test_it_is_armed_and_says_when_it_would_act(host: Host) -> None:
    status = json.loads(host.check_output("fanops-watchdog status"))
    assert status["armed"] and not status["power_off"]
    assert 0 < status["in_seconds"] <= 900
