# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from rehearsal.machine import python_mirror
from rehearsal.machine.guest.recipe import Recipe
from rehearsal.machine.python_mirror import PythonMirror
from rehearsal.settings import Settings


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PythonMirror:
    monkeypatch.setattr(python_mirror, "answers", lambda url: False)
    monkeypatch.setattr(python_mirror, "find_python", lambda major, minor: None)
    return PythonMirror(Settings(home=tmp_path, cache=tmp_path / "cache"))


def test_without_any_source_the_images_carry_no_list(mirror: PythonMirror) -> None:
    lines: list[str] = []
    mirror.prepare(lines.append)
    assert "does not answer and this machine has no CPython 3.10" in lines[0]
    assert mirror.status().startswith("no source:")
    recipe = Recipe()
    mirror.add_to(recipe)
    assert recipe.files == {} and recipe.folders == {}


def test_where_the_release_host_answers_nothing_is_made(mirror: PythonMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_mirror, "answers", lambda url: True)
    lines: list[str] = []
    mirror.prepare(lines.append)
    assert lines == [] and "through the front door" in mirror.status()


def test_a_failure_to_pack_is_a_status_and_no_crash(
    mirror: PythonMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(prefix: Path, folder: Path) -> None:
        raise subprocess.CalledProcessError(1, ["patchelf"], stderr="not an\nELF file")

    monkeypatch.setattr(python_mirror, "find_python", lambda major, minor: tmp_path)
    monkeypatch.setattr(python_mirror, "build", fail)
    mirror.prepare()
    assert mirror.status() == f"no source: packing {tmp_path} failed: not an ELF file"


def test_an_archive_is_made_once_and_becomes_part_of_the_recipe(
    mirror: PythonMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def build(prefix: Path, folder: Path) -> None:
        made.append(prefix)
        record = {"version": "3.10.13", "prefix": str(prefix), "sha256": "abc", "recipe": python_mirror.VERSION}
        (folder / "record.json").write_text(json.dumps(record))

    monkeypatch.setattr(python_mirror, "find_python", lambda major, minor: tmp_path)
    monkeypatch.setattr(python_mirror, "build", build)
    mirror.prepare()
    mirror.prepare()
    assert made == [tmp_path]
    recipe = Recipe()
    mirror.add_to(recipe)
    assert recipe.folders == {"usr/local/share/python-builds": mirror.folder / "guest"}
    uv = recipe.files["etc/uv/uv.toml"][1].decode()
    assert uv.startswith('python-downloads-json-url = "file:///usr/local/share/python-builds/list.json"\n')
    with_archive = recipe.digest()
    recipe.identity = "another archive"
    assert recipe.digest() != with_archive
    mirror.clear()
    assert not mirror.folder.exists()


def test_an_archive_of_an_older_recipe_is_made_anew(mirror: PythonMirror) -> None:
    mirror.folder.mkdir(parents=True)
    (mirror.folder / "record.json").write_text(json.dumps({"recipe": python_mirror.VERSION - 1}))
    assert mirror._record() is None


def test_the_newest_pyenv_version_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.10.9", "3.10.13", "3.11.7"):
        program = tmp_path / "versions" / version / "bin" / f"python{version.rpartition('.')[0]}"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert python_mirror.find_python(3, 10) == tmp_path / "versions" / "3.10.13"
    assert python_mirror.find_python(3, 12) is None


def test_ldd_is_read_with_loader_and_missing_libraries() -> None:
    text = (
        "\tlinux-vdso.so.1 (0x1)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x2)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x3)\n"
    )
    assert python_mirror.parse_ldd(text) == {
        "libm.so.6": Path("/lib/x86_64-linux-gnu/libm.so.6"),
        "ld-linux-x86-64.so.2": Path("/lib64/ld-linux-x86-64.so.2"),
    }
    with pytest.raises(ValueError, match=r"libssl\.so\.3 is missing on this machine"):
        python_mirror.parse_ldd("\tlibssl.so.3 => not found\n")


def test_extensions_that_cannot_be_loaded_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"_tkinter.so", "nis.so"}

    def libraries(files: list[Path]) -> dict[str, Path]:
        if {path.name for path in files} & missing:
            raise ValueError("the shared library lib.so is missing on this machine")
        return {}

    monkeypatch.setattr(python_mirror, "shared_libraries", libraries)
    for name in ("_tkinter.so", "nis.so", "_ssl.so", "math.so"):
        (tmp_path / name).touch()
    python_mirror._leave_out_broken(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_ssl.so", "math.so"]
    missing.add("_ssl.so")
    with pytest.raises(ValueError, match="missing on this machine"):
        python_mirror._leave_out_broken(tmp_path)


def test_the_list_is_what_uv_reads() -> None:
    listing = python_mirror.downloads_list("3.10.13", "file:///a.tar.gz", "abc")
    entry = listing["cpython-3.10.13-linux-x86_64-gnu"]
    assert (entry["major"], entry["minor"], entry["patch"], entry["libc"]) == (3, 10, 13, "gnu")
    assert (entry["url"], entry["sha256"]) == ("file:///a.tar.gz", "abc")
