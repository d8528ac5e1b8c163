# SPDX-License-Identifier: GPL-3.0-or-later
"""`make release` in a clone: one commit, one tag, one archive that anybody can pack again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
VERSION = (REPOSITORY / "ml/VERSION").read_text().strip()
NAME = f"fanops-m4-{VERSION}"
IDENTITY = {f"GIT_{who}_{what}": "release@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # Below another make, make also says which folder it is in.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment | IDENTITY, timeout=60
    )


def git(folder: Path, *arguments: str) -> str:
    outcome = run(folder, "git", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "make", "release", f"VENV={Path(sys.prefix)}")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone of what is committed, with a change of its own to tell and nothing released yet."""
    git(REPOSITORY, "clone", "--quiet", "--no-hardlinks", "--no-tags", str(REPOSITORY), str(tmp_path / "clone"))
    (tmp_path / "clone/changelog.d").mkdir(exist_ok=True)
    (tmp_path / "clone/changelog.d/+test.fixed.md").write_text("A fault that is told here only.\n")
    git(tmp_path / "clone", "add", "--all")
    git(tmp_path / "clone", "commit", "--quiet", "--message", "fix: a fault")
    return tmp_path / "clone"


def test_a_release_is_a_tag_and_an_archive_that_can_be_packed_again(clone: Path, tmp_path: Path) -> None:
    outcome = release(clone)
    assert outcome.returncode == 0, outcome.stderr
    archive = clone / f"build/release/{NAME}.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert outcome.stdout.splitlines()[-1] == f"{digest}  {NAME}.tar.gz"
    assert archive.with_suffix(".gz.sha256").read_text() == f"{digest}  {NAME}.tar.gz\n"

    assert git(clone, "describe") == f"v{VERSION}"
    assert git(clone, "status", "--porcelain") == ""
    assert not list((clone / "changelog.d").glob("*.md"))
    notes = (clone / "CHANGELOG.md").read_text()
    assert f"\n## {VERSION} (" in notes and "\n- A fault that is told here only." in notes

    with tarfile.open(archive) as packed:
        members = {member.name: member for member in packed.getmembers() if not member.isdir()}
        assert sorted(members) == sorted(f"{NAME}/{name}" for name in git(clone, "ls-files").splitlines())
        assert members[f"{NAME}/module_utils/fanops/core"].linkname == "../../ml/core"
        changelog = packed.extractfile(f"{NAME}/CHANGELOG.md")
        assert changelog is not None and changelog.read().decode() == notes

    git(tmp_path, "clone", "--quiet", str(clone), "second")
    assert release(tmp_path / "second").returncode == 0  # by somebody else, later
    assert (tmp_path / f"second/build/release/{NAME}.tar.gz").read_bytes() == archive.read_bytes()


def test_what_is_no_release_is_refused_in_a_line(clone: Path) -> None:
    (clone / "README.md").write_text("changed")
    outcome = release(clone)
    assert outcome.returncode != 0 and "no commit has" in outcome.stderr
    git(clone, "checkout", "--quiet", ".")
    assert release(clone).returncode == 0

    git(clone, "commit", "--quiet", "--allow-empty", "--message", "feat: more")
    outcome = release(clone)
    assert outcome.returncode != 0 and f"v{VERSION} is an earlier commit" in outcome.stderr
    (clone / "ml/VERSION").write_text("99.0.0\n")
    git(clone, "commit", "--quiet", "--all", "--message", "chore: next version")
    outcome = release(clone)
    assert outcome.returncode != 0 and "nothing to release" in outcome.stderr
    assert "v99.0.0" not in git(clone, "tag")
