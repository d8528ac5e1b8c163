# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a training, as a browser draws it from the file alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from ml.core.schema import DEFAULT
from ml.train import main

ARTIFACTS = Path(__file__).parents[2] / "build"
pytestmark = pytest.mark.timeout(180)

OUTSIDE = """
return [...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text, rect, circle, polyline, path')].filter(part => {
    const box = part.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(part => svg.getAttribute('aria-label') + ': ' + part.outerHTML);
});
"""


def texts(browser: webdriver.Chrome, picture: str) -> list[str]:
    return [text.text for text in browser.find_elements(By.CSS_SELECTOR, f"svg[aria-label='{picture}'] text")]


def test_the_pictures_show_what_was_measured(browser: webdriver.Chrome, tmp_path: Path) -> None:
    assert main(["--samples", "2000", "--output", str(tmp_path)]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    browser.get(f"file://{tmp_path}/report.html")
    assert f"{manifest['metrics']['accuracy']:.2%}" in browser.find_element(By.CSS_SELECTOR, ".verdict").text
    assert browser.execute_script(OUTSIDE) == []

    confusion = texts(browser, "confusion matrix")
    assert set(DEFAULT.classes) <= set(confusion)
    filled = browser.find_elements(By.CSS_SELECTOR, "svg[aria-label='confusion matrix'] rect")
    assert len(filled) == sum(text.isdigit() for text in confusion) > len(DEFAULT.classes)

    assert set(DEFAULT.columns) <= set(texts(browser, "feature importance"))
    bars = browser.find_elements(By.CSS_SELECTOR, "svg[aria-label='feature importance'] rect")
    widths = [bar.rect["width"] for bar in bars]
    assert len(bars) == len(DEFAULT.columns) and widths == sorted(widths)

    assert {"model", "0.0", "1.0", "confidence"} <= set(texts(browser, "calibration"))
    assert {"1", "100", "trees", "accuracy", "best possible"} <= set(texts(browser, "learning curve"))
    points = browser.find_elements(By.CSS_SELECTOR, "svg[aria-label='learning curve'] circle")
    assert points[-1].rect["x"] > points[0].rect["x"] and points[-1].rect["y"] < points[0].rect["y"]

    wanted = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {entry["params"]["request"]["url"] for entry in wanted if entry["method"] == "Network.requestWillBeSent"}
    assert {url.partition(":")[0] for url in urls} <= {"file"}
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    ARTIFACTS.mkdir(exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.set_window_size(1200, height)
    browser.save_screenshot(str(ARTIFACTS / "report.png"))
