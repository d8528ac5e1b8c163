# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.machine.containers import Containers
from rehearsal.machine.guest import bootstrap, recipe
from rehearsal.machine.images import ImageError, Images
from rehearsal.settings import Settings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def _images(tmp_path: Path, **settings: object) -> Images:
    made = Settings(home=tmp_path / "home", cache=tmp_path / "cache", **settings)  # type: ignore[arg-type]
    return Images(made, Containers(made))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return _images(tmp_path)


def test_names_are_googles(images: Images) -> None:
    assert images.name("debian-11").startswith("debian-11-bullseye-v")
    assert images.name("debian-12").startswith("debian-12-bookworm-v")
    with pytest.raises(ImageError, match="no image family debian-8; the rehearsal has debian-11"):
        images.name("debian-8")


def test_a_withdrawn_family_is_not_built(tmp_path: Path) -> None:
    images = _images(tmp_path, withdrawn_families=("debian-11",))
    assert images.status("debian-11") == "withdrawn"
    assert images.status("debian-12") == "absent"
    with pytest.raises(ImageError, match="withdrawn"):
        images.ensure("debian-11")


def test_a_failed_build_is_one_clear_line_and_remembered(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise bootstrap.BootstrapError("debootstrap of trixie failed:\n E: no such suite")

    monkeypatch.setattr(bootstrap, "debootstrap", fail)
    monkeypatch.setattr(bootstrap, "apt_sources", lambda: [("http://mirror.invalid/debian", ("bookworm",))])
    lines: list[str] = []
    with pytest.raises(ImageError, match="could not be built: debootstrap of trixie failed: E: no such suite"):
        images.ensure("python313", lines.append)
    assert images.status("python313") == "failed: debootstrap of trixie failed: E: no such suite"
    assert lines == ["debootstrap of trixie from http://mirror.invalid/debian (0 s)"]
    assert not list((images.home / "build").iterdir())


def test_the_key_follows_everything_that_goes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(tmp_path)
    family, base = images.FAMILIES["debian-12"], {"image": "base", "sources_list": "deb x y main\n"}
    first = images._key(family, base)
    assert images._key(family, base) == first
    images.settings.ca_bundle.parent.mkdir(parents=True)
    images.settings.ca_bundle.write_text(CERTIFICATE.format("abc"))
    second = images._key(family, base)
    assert second != first
    assert _images(tmp_path, frontdoor_port=4000)._key(family, base) not in (first, second)
    monkeypatch.setattr(recipe, "MASKED", ())
    assert images._key(family, base) != second


def test_status_is_ready_only_for_the_present_recipe(images: Images) -> None:
    images.home.mkdir(parents=True)
    family = images.FAMILIES["python313"]
    base = {"image": "localhost/rehearsal/base", "sources_list": ""}
    images._marker("base", family.suite, images._base_key(family)).write_text(json.dumps(base))
    images._marker("image", "python313", images._key(family, base)).write_text("{}")
    assert images.status("python313") == "ready"
    images.settings.ca_bundle.parent.mkdir(parents=True)
    images.settings.ca_bundle.write_text(CERTIFICATE.format("abc"))
    assert images.status("python313") == "absent"


def test_a_guest_recipe_has_agent_proxy_and_trust(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.ca_bundle.parent.mkdir(parents=True)
    settings.ca_bundle.write_text("# a comment\n" + CERTIFICATE.format("abc") + CERTIFICATE.format("def"))
    built = recipe.build(settings, systemd=True, sources_list="deb a b c\n", suite="bullseye")
    assert sum(name.startswith("usr/local/share/ca-certificates/") for name in built.files) == 2
    variables = built.files["etc/environment"][1].decode()
    assert "HTTPS_PROXY=http://10.128.0.1:3128\n" in variables and "https_proxy=" in variables
    assert "no_proxy=169.254.169.254,metadata.google.internal,localhost,127.0.0.1\n" in variables
    assert b'Check-Valid-Until "false"' in built.files["etc/apt/apt.conf.d/90proxy"][1]
    assert b'"HTTPS_PROXY=' in built.files["etc/systemd/system.conf.d/environment.conf"][1]
    assert built.files["etc/sudoers.d/google_sudoers"][0] == 0o440
    assert built.files[recipe.AGENT_PATH][1] == recipe.AGENT.read_bytes()
    runtime = recipe.build(settings, systemd=False)
    assert recipe.AGENT_PATH not in runtime.files and not runtime.enabled


def test_only_what_another_machine_can_reach_is_carried(tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text(
        "[global]\nindex-url = https://index.example/simple\nfind-links = /opt/wheels\n"
        "extra-index-url = file:///opt/a https://extra.example/s http://127.0.0.1:9/s\nconstraint = /etc/c.txt\n"
    )
    index = recipe.package_index({"PIP_DEFAULT_TIMEOUT": "60"}, [path], {})
    assert index == {"index": "https://index.example/simple", "extra": ["https://extra.example/s"], "timeout": "60"}
    text = recipe.pip_conf(index)
    assert "find-links" not in text and "constraint" not in text and "index-url = https://index.example/simple" in text
    assert "default = true" in recipe.uv_toml(index)
    nothing = recipe.package_index({}, [], {"index": [{"url": "file:///x", "default": True}]})
    assert recipe.uv_toml(nothing) == "" and "index-url" not in recipe.pip_conf(nothing)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list",
            "# deb http://no/ x main\ndeb [signed-by=/k] http://m/debian/ bookworm main\ndeb-src http://s/ a b\n",
        ),
        ("sources.list.d/d.sources", "Types: deb\n# URIs: http://no/\nURIs: http://m/debian\nSuites: bookworm\n"),
    ],
)
def test_this_machines_mirror_is_read_in_both_formats(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert bootstrap.apt_sources(tmp_path) == [("http://m/debian", ("bookworm",))]


def test_mirrors_are_debians_only() -> None:
    sources = [
        ("http://cloud/apt", ("cloud-sdk-bookworm",)),
        ("http://m/debian", ("bookworm", "bookworm-updates")),
        ("http://m/security", ("bookworm-security",)),
        ("http://m/debian", ("bookworm-backports",)),
    ]
    assert bootstrap.mirrors(sources) == (["http://m/debian"], ["http://m/security"])


def test_a_guest_gets_only_suites_that_the_mirrors_still_have(monkeypatch: pytest.MonkeyPatch) -> None:
    present: Callable[[str, str], bool] = lambda mirror, suite: suite == "bullseye-security"  # noqa: E731
    monkeypatch.setattr(bootstrap, "has_suite", present)
    expected = "deb http://m bullseye main\ndeb http://s bullseye-security main\n"
    assert bootstrap.sources_list("http://m", ["http://s"], "bullseye") == expected


def test_debootstrap_reports_stages_and_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "debootstrap"
    program.write_text(
        "#!/bin/sh\necho 'I: Retrieving InRelease'\necho 'I: Validating a'\necho 'I: Validating b'\necho 'E: disk full'\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    lines: list[str] = []
    log = tmp_path / "log"
    with pytest.raises(bootstrap.BootstrapError, match="debootstrap of trixie from http://m failed: E: disk full"):
        bootstrap.debootstrap("trixie", tmp_path / "t", ["a"], "http://m", tmp_path / "debs", log, lines.append)
    assert lines == ["looking at the mirror", "downloading packages"]
    assert "Validating b" in log.read_text()
