# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal's console in a real headless Chromium, over what a control plane has really been asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from compute_world import World
from rehearsal import cli
from rehearsal.cli import console
from tests.browser.conftest import ARTIFACTS, ROOT, complaints

pytestmark = pytest.mark.timeout(180)
MANIFEST = "3f9a1c22" * 8
FIRST = {"version": 1, "updated": "2026-11-27T10:00:00.000+00:00", "action": "publish", "manifest": MANIFEST[::-1]}
POINTER = {**FIRST, "version": 2, "reason": "<b>passed</b>", "manifest": MANIFEST, "history": [FIRST]}


@pytest.fixture
def world(control_plane: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world whose VM was created, stopped and started, with a function and two releases."""
    monkeypatch.setattr(cli, "load", lambda: control_plane.settings)
    found = World(control_plane, ask)
    ask(
        "POST",
        "https://serviceusage.googleapis.com/v1/projects/fanops-rehearsal/services/compute.googleapis.com:enable",
    )
    found.create("ml-training-vm")
    found.do("POST", "zones/us-central1-a/instances/ml-training-vm/stop")
    found.do("POST", "zones/us-central1-a/instances/ml-training-vm/start")
    function = {"state": "ACTIVE", "serviceConfig": {"uri": "https://m4-sponsor-ai.example.run.app"}}
    control_plane.store.put("functions", "fanops-rehearsal/us-central1/m4-sponsor-ai", {"resource": function})
    control_plane.store.put(
        "buckets", "models", {"project": "fanops-rehearsal", "resource": {"location": "US-CENTRAL1"}}
    )
    objects = Path(control_plane.settings.home) / "storage/models"
    objects.mkdir(parents=True)
    (objects / "current.json").write_text(json.dumps(POINTER))
    return found


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """Run the command, and return the address that it says."""
    program = Path(sys.executable).with_name("rehearsal")
    environment = os.environ | {"REHEARSAL_HOME": str(world.cloud.settings.home)}
    with subprocess.Popen(
        [program, "console", "--port", "0"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert said
        yield said[0]
        server.send_signal(signal.SIGINT)


def rows(browser: webdriver.Chrome, table: str) -> list[list[str]]:
    """Return the table's cells, in one look: the page replaces them every two seconds."""
    script = "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map(r => [...r.cells].map(c => c.textContent))"
    found: list[list[str]] = browser.execute_script(script, table)
    return found


def test_the_console_shows_what_happened_and_what_happens(browser: webdriver.Chrome, world: World, url: str) -> None:
    browser.get(url)
    (vm,) = rows(browser, "vms")
    assert vm[:2] == ["ml-training-vm e2-micro", "RUNNING"]
    spans = browser.execute_script("return [...document.querySelectorAll('#vms .bar i')].map(i => i.className)")
    assert spans == ["RUNNING", "TERMINATED", "RUNNING"]
    assert [row[0] for row in rows(browser, "releases")] == ["2, live", "1"]
    assert "<b>passed</b>" in rows(browser, "releases")[0][3]  # text, not markup
    assert rows(browser, "functions") == [["m4-sponsor-ai", "ACTIVE", "http://127.0.0.1:3129/m4-sponsor-ai"]]
    asked = dict(rows(browser, "requests"))
    assert asked["compute.instances.insert"] == asked["compute.instances.stop"] == "1"
    items = [row[0] for row in rows(browser, "costs")]
    assert (
        items[0] == "ml-training-vm (e2-micro)"
        and items[-1] == "Total"
        and any("disk ml-training-vm" in item for item in items)
    )
    ARTIFACTS.mkdir(exist_ok=True)
    browser.save_screenshot(str(ARTIFACTS / "console.png"))

    world.do("DELETE", "zones/us-central1-a/instances/ml-training-vm")  # the page follows by itself
    WebDriverWait(browser, 20).until(lambda b: rows(b, "vms")[0][1] == "DELETED")
    assert complaints(browser) == []
    names = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert set(names) <= {f"{url}state.json", f"{url}favicon.ico"}


def test_a_written_page_needs_no_server(
    browser: webdriver.Chrome, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["console", "--output", str(tmp_path / "console.html")]) == 0
    assert "written to" in capsys.readouterr().out
    browser.get((tmp_path / "console.html").as_uri())
    assert rows(browser, "vms")[0][1] == "RUNNING"
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_it_is_read_only_and_answers_this_machine_only(world: World, url: str) -> None:
    for request, status in (
        (urllib.request.Request(url, method="POST", data=b"{}"), 405),
        (urllib.request.Request(url, headers={"Host": "elsewhere.example"}), 403),
        (urllib.request.Request(f"{url}etc"), 404),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == status
        refused.value.close()
    with urllib.request.urlopen(url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_costs_are_hours_times_the_list_price(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yml"
    prices.write_text(
        "hours_per_month: 100\nmachine_types: {small: {hour: 2}}\ndisk_types: {pd: {gib_month: 1}}\nexternal_ipv4: {in_use_hour: 0.5}\n"
    )
    vms = [
        {
            "name": "vm",
            "machine": "small",
            "spans": [[0, 3600, "RUNNING"], [3600, 9000, "TERMINATED"], [9000, 10800, "RUNNING"]],
        }
    ]
    disks = [{"name": "d", "creationTimestamp": "1970-01-01T00:00:00Z", "type": "x/pd", "sizeGb": "10"}]
    found = {row["item"]: row["dollars"] for row in console.costs(prices, vms, disks, 36_000)}
    assert found == {"vm (small)": 3.0, "external address of vm": 0.75, "disk d (10 GB pd)": 1.0}
    assert re.match(r"deleted", console.costs(prices, [{**vms[0], "machine": ""}], [], 0)[0]["item"].partition("(")[2])
