# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest is the machine that was asked for."""

from __future__ import annotations

from testinfra.host import Host


def test_the_family_the_name_and_the_size(host: Host) -> None:
    name = host.check_output("hostname")
    assert host.system_info.distribution == "debian"
    assert name.endswith(f"debian-{host.system_info.release.split('.')[0]}")
    # asked of the metadata server: a guest of the rehearsal has its memory limited, but reads this machine's /proc/meminfo
    url = "http://metadata.google.internal/computeMetadata/v1/instance/machine-type"
    assert host.check_output(f"curl --fail --silent --header Metadata-Flavor:Google {url}").endswith("/e2-micro")


def test_the_login_is_the_ssh_users_and_becomes_root_without_a_password(host: Host) -> None:
    assert host.user("molecule").exists
    with host.sudo("molecule"):
        assert host.check_output("id -un") == "molecule"
        assert host.check_output("sudo -n id -u") == "0"


def test_a_password_is_no_way_in(host: Host) -> None:
    assert "passwordauthentication no" in host.check_output("sshd -T").lower()
