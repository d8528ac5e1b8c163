# SPDX-License-Identifier: GPL-3.0-or-later
"""The two stages of an image: Debian by debootstrap, and a recipe's files on top of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from rehearsal.machine.guest import bootstrap, recipe
from rehearsal.machine.podman import ContainerError, Podman, unmount_below

Progress = Callable[[str], None]


class ImageBuilder:
    """Builds in folders below `home`, into podman's store."""

    def __init__(self, home: Path, podman: Podman) -> None:
        self.home = home
        self.podman = podman

    def base(self, suite: str, packages: tuple[str, ...], family: str, image: str, say: Progress) -> dict[str, str]:
        """Make Debian as debootstrap leaves it; return the image and its ``sources_list``.

        Raises BootstrapError where no mirror has it, ContainerError where podman does not take it.
        """
        main, security = bootstrap.mirrors(bootstrap.apt_sources())
        target = self.home / "build" / family
        self._discard(target)
        target.mkdir(parents=True)
        log = self.home / f"{family}.debootstrap.log"
        try:
            failure: Exception | None = None
            for mirror in [*main, ""] if len(main) != 1 else main:
                say(f"debootstrap of {suite}" + (f" from {mirror}" if mirror else ""))
                try:
                    rootfs = target / f"rootfs{len(list(target.iterdir()))}"
                    bootstrap.debootstrap(suite, rootfs, packages, mirror, self.home / "debs" / suite, log, say)
                    break
                except bootstrap.BootstrapError as error:
                    failure = failure or error
            else:
                raise failure or bootstrap.BootstrapError(f"no mirror for {suite}")
            sources = bootstrap.sources_list(mirror, security, suite) if mirror else ""
            _clean(rootfs)
            say("importing the base")
            self._import(rootfs, image)
        finally:
            self._discard(target)
        return {"image": image, "sources_list": sources}

    def _import(self, rootfs: Path, image: str) -> None:
        tar = subprocess.Popen(
            ["tar", "--create", "--numeric-owner", "--xattrs", "--directory", str(rootfs), "."],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with (
            tar,
            self.podman.popen(
                "import", "-", image, stdin=tar.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as importing,
        ):
            assert tar.stdout and tar.stderr  # noqa: S101  (given by PIPE)
            tar.stdout.close()
            said = importing.communicate()[1]
            problem = tar.stderr.read()
        if tar.returncode or importing.returncode:
            raise ContainerError(f"importing {image} failed: {(said or problem).decode(errors='replace').strip()}")

    def customise(self, image: str, base: str, wanted: recipe.Recipe) -> None:
        """Make `image` of `base` and a recipe's files; raises ContainerError."""
        container = "build-" + image.rpartition("/")[2].replace(":", "-")
        self.podman.call(
            "create", "--name", container, "--replace", "--pull", "never", "--network", "none", base, "/bin/true"
        )
        try:
            root = Path(self.podman.text("mount", container))
            apply(wanted, root)
            changes = [f"--change=ENV {key}={value}" for key, value in wanted.environment.items()]
            self.podman.call("umount", container)
            self.podman.call("commit", "--quiet", "--format", "docker", *changes, container, image)
        finally:
            self.podman.call("umount", "--force", container, check=False)
            self.podman.call("rm", "--force", "--ignore", container, check=False)

    def _discard(self, folder: Path) -> None:
        # An interrupted debootstrap leaves /proc mounted in its tree.
        unmount_below(folder)
        if folder.exists():
            shutil.rmtree(folder)


def apply(wanted: recipe.Recipe, root: Path) -> None:
    """Put a recipe's files into the tree at `root` and run what Debian needs run for them."""
    for name, (mode, content) in wanted.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    for name, source in wanted.folders.items():
        shutil.copytree(source, root / name, symlinks=True, dirs_exist_ok=True)
    _chroot(root, "update-ca-certificates", "--fresh")
    # Each guest gets its own identity at its first boot.
    (root / "etc/machine-id").write_text("", encoding="utf-8")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    if wanted.enabled:
        _chroot(root, "groupadd", "--force", "--system", "google-sudoers")
        _chroot(root, "systemctl", "enable", *wanted.enabled)
        _chroot(root, "systemctl", "set-default", "multi-user.target")
        for unit in wanted.masked:
            link = root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")
        # Without a kernel log to read, rsyslog's module for it fails at every boot.
        syslog = root / "etc/rsyslog.conf"
        text = syslog.read_text(encoding="utf-8")
        syslog.write_text(text.replace('\nmodule(load="imklog")', '\n#module(load="imklog")'), encoding="utf-8")


def _clean(rootfs: Path) -> None:
    for pattern in (
        "var/cache/apt/archives/*.deb",
        "etc/ssh/ssh_host_*",
        "var/log/*.log",
        "var/lib/apt/lists/*_Packages",
    ):
        for path in rootfs.glob(pattern):
            path.unlink()
    for name in ("etc/hostname", "etc/resolv.conf"):
        (rootfs / name).unlink(missing_ok=True)


def _chroot(root: Path, *command: str) -> None:
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["/usr/sbin/chroot", str(root), *command],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()[-40:])
        raise ContainerError(f"{' '.join(command[:2])} in the new image failed: {said}")
