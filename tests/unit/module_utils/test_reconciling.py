# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences, the reconciler, and the archive of sources."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.diff import Differences
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource, reconcile
from ansible.module_utils.fanops.resources.source_archive import SourceError, collect, content_hash, pack


class Box(Resource):
    """A resource in a variable."""

    kind = "box"

    def __init__(self, content: dict[str, Any] | None, size: int = 2) -> None:
        client = SimpleNamespace(warnings=[], project="demo", until=lambda probe, **_: probe())
        super().__init__(client, {"name": "b", "size": size})  # type: ignore[arg-type]
        self.content = content
        self.error: GoogleApiError | None = None

    def fetch(self) -> dict[str, Any] | None:
        if self.error:
            raise self.error
        return self.content

    def wanted(self) -> dict[str, Any]:
        return {"size": self.options["size"], "colour": None}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        return current

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        return {"size": self.options["size"]}

    def create(self) -> None:
        self.content = {"size": self.options["size"]}

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        plan.act("resize", self.create)

    def delete(self, current: dict[str, Any]) -> None:
        self.content = None


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("content", [None, {"size": 1}, {"size": 2}])
def test_check_mode_says_what_then_happens(content: dict[str, Any] | None, state: str) -> None:
    box = Box(content)
    planned = reconcile(box, state, check_mode=True).result("box")
    assert box.content == content
    done = reconcile(box, state, check_mode=False).result("box")
    assert planned == done
    assert not reconcile(box, state, check_mode=False).changed


def test_disabled_api_counts_as_absent_in_check_mode_only() -> None:
    box = Box(None)
    box.error = GoogleApiError("read b", "off", reason="SERVICE_DISABLED", target="x.googleapis.com/b")
    outcome = reconcile(box, "present", check_mode=True)
    assert outcome.changed and "x.googleapis.com is not enabled" in outcome.warnings[0]
    with pytest.raises(GoogleApiError):
        reconcile(box, "present", check_mode=False)


@pytest.mark.parametrize(
    ("wanted", "active", "differs"),
    [
        (None, "x", False),
        ("x", "x", False),
        ("x", None, True),
        ([2, 1], [1, 2], False),
        ([{"p": "tcp", "ports": ["22", "80"]}], [{"ports": ["80", "22"], "p": "tcp"}], False),
        ([], None, True),
        ({"a": "1"}, {"a": "1", "other": "2"}, False),
        ({"a": "1"}, {"a": "2"}, True),
        ({"a": "1"}, {}, True),
        (0, 5, True),
        (False, True, True),
    ],
)
def test_differences(wanted: Any, active: Any, differs: bool) -> None:
    found = Differences().compare({"option": wanted}, {"option": active})
    assert bool(found) is differs and ("option" in found) is differs


def test_diff_shows_only_what_was_asked_for() -> None:
    found = Differences().compare({"labels": {"a": "1"}}, {"labels": {"a": "2", "secret": "x"}})
    assert (found.before, found.after) == ({"labels": {"a": "2"}}, {"labels": {"a": "1"}})


def make_source(folder: Path) -> list[dict[str, Any]]:
    (folder / "pkg" / "__pycache__").mkdir(parents=True)
    for name in ("main.py", "pkg/b.py", "pkg/a.py", "pkg/__pycache__/a.pyc", ".hidden", "pkg/skip.py"):
        (folder / name).write_text(name)
    return [{"src": str(folder), "exclude": ["pkg/skip.py"]}, {"src": str(folder / "main.py"), "dest": "extra/copy.py"}]


def test_archive_does_not_depend_on_time(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    first = pack(collect(source))
    for file in tmp_path.rglob("*.py"):
        os.utime(file, (1, 1))
        file.chmod(0o700)
    assert pack(collect(source)) == first
    assert sorted(collect(source)) == ["extra/copy.py", "main.py", "pkg/a.py", "pkg/b.py"]


def test_hash_follows_names_contents_and_settings() -> None:
    hashes = {
        content_hash({"a": b"1"}, {"memory": "256M"}),
        content_hash({"a": b"2"}, {"memory": "256M"}),
        content_hash({"b": b"1"}, {"memory": "256M"}),
        content_hash({"a": b"1"}, {"memory": "512M"}),
    }
    assert len(hashes) == 4
    assert content_hash({"a": b"1", "b": b"2"}, {}) == content_hash({"b": b"2", "a": b"1"}, {})


def test_bad_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="does not exist"):
        collect([{"src": str(tmp_path / "no")}])
    with pytest.raises(SourceError, match="two sources would become main"):
        collect([{"src": str(tmp_path)}, {"src": str(tmp_path / "main.py")}])
    with pytest.raises(SourceError, match="no file"):
        collect([{"src": str(tmp_path / "empty")}])
