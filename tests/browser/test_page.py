# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for people, in a real headless Chromium, against the function in its real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from sklearn.ensemble import RandomForestClassifier

from ml.bucket import Bucket
from ml.core.schema import DEFAULT
from ml.forest.random_forest import probabilities
from tests.browser.conftest import ARTIFACTS, complaints
from tests.faulty_storage import Front, faulty_storage
from tests.running_function import Server, lay_out, running_function
from tests.unit.ml.model_fixtures import BUCKET, as_candidate, grown, new_client, publish_unproven

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return grown(10_000, seed=42)


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with faulty_storage() as found:
        yield found


@pytest.fixture(scope="module")
def function(
    front: Front, forest: RandomForestClassifier, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    client = new_client(front.url)
    client.create_bucket(BUCKET)
    publish_unproven(Bucket(BUCKET, client), as_candidate(forest, "page", 0.87))
    with running_function(lay_out(tmp_path_factory.mktemp("deployed")), front.url) as server:
        yield server


def answered(browser: webdriver.Chrome, sponsors: int = 12) -> str:
    """Wait for the answer, and return the sponsor that is shown."""
    WebDriverWait(browser, 20).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#bars li")) == sponsors)
    return browser.find_element(By.ID, "sponsor").text


def expected(forest: RandomForestClassifier, **context: Any) -> dict[str, float]:
    from ml.core.context import validate
    from ml.core.features import encode

    return dict(
        zip(DEFAULT.classes, probabilities(forest, encode(DEFAULT, [validate(DEFAULT, context)]))[0], strict=True)
    )


def test_the_page_shows_what_the_model_says(
    browser: webdriver.Chrome, function: Server, forest: RandomForestClassifier
) -> None:
    browser.get(function.url)
    shown = answered(browser)
    ARTIFACTS.mkdir(exist_ok=True)
    chances = expected(
        forest, zone="VIP", event="Goal", match_minute=78, score_diff=1, temperature=24, crowd_density=0.9
    )
    assert shown == max(chances, key=chances.__getitem__)
    rows = [row.text.split("\n") for row in browser.find_elements(By.CSS_SELECTOR, "#bars li")]
    assert [row[0] for row in rows[:3]] == sorted(chances, key=lambda name: -chances[name])[:3]
    assert float(rows[0][1].rstrip("%")) == pytest.approx(100 * chances[shown], abs=0.06)
    shares = browser.execute_script(
        "return [...document.querySelectorAll('#bars i')].map(bar => parseFloat(bar.style.getPropertyValue('--share')))"
    )
    assert shares == pytest.approx(sorted((100 * share for share in chances.values()), reverse=True), abs=1e-3)
    assert "release 1" in browser.find_element(By.ID, "release").text
    browser.save_screenshot(str(ARTIFACTS / "page-en.png"))
    assert complaints(browser) == []


def test_another_choice_gives_another_answer_by_keyboard_alone(
    browser: webdriver.Chrome, function: Server, forest: RandomForestClassifier
) -> None:
    browser.get(function.url)
    answered(browser)
    zone = browser.find_element(By.CSS_SELECTOR, "#field-zone input:checked")
    zone.send_keys(Keys.ARROW_RIGHT)  # North
    for _ in range(3):
        browser.find_element(By.CSS_SELECTOR, "#field-event input:checked").send_keys(Keys.ARROW_RIGHT)  # Halftime
    browser.find_element(By.ID, "field-crowd_density").send_keys(Keys.END)
    chances = expected(
        forest, zone="North", event="Halftime", match_minute=78, score_diff=1, temperature=24, crowd_density=1
    )
    best = max(chances, key=chances.__getitem__)
    WebDriverWait(browser, 10).until(lambda b: b.find_element(By.ID, "sponsor").text == best)


@pytest.mark.parametrize("browser", ["fr-FR"], indirect=True)
def test_in_french(browser: webdriver.Chrome, function: Server) -> None:
    browser.get(function.url)
    answered(browser)
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "fr"
    assert browser.find_element(By.TAG_NAME, "h1").text == "Quel sponsor maintenant ?"
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "Coup d’envoi" in text and "Réponse de la version 1" in text and "Recommander" in text
    assert "," in browser.find_element(By.CSS_SELECTOR, "#bars b").text  # 93,4 %
    browser.save_screenshot(str(ARTIFACTS / "page-fr.png"))
    browser.find_element(By.CSS_SELECTOR, "[data-language=en]").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "Which sponsor now?"
    browser.refresh()  # the choice is remembered
    assert browser.find_element(By.TAG_NAME, "h1").text == "Which sponsor now?"


def test_every_word_is_translated(browser: webdriver.Chrome, function: Server) -> None:
    browser.get(function.url)
    english, french = (set(browser.execute_script(f"return Object.keys(TEXTS.{code})")) for code in ("en", "fr"))
    assert english == french


def test_it_is_accessible_and_fits_a_telephone(browser: webdriver.Chrome, function: Server) -> None:
    browser.set_window_size(390, 1600)
    browser.get(function.url)
    answered(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.save_screenshot(str(ARTIFACTS / "page-telephone.png"))
    for field in browser.find_elements(By.CSS_SELECTOR, "input, button"):
        assert field.accessible_name, field.get_attribute("outerHTML")
    assert [element.text for element in browser.find_elements(By.TAG_NAME, "h1")] == ["Which sponsor now?"]
    assert browser.find_element(By.ID, "error").get_attribute("role") == "alert"
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for selector in (
            "#category",
            "#sponsor",
            "h1",
            "button[type=submit]",
            "footer",
            "#field-zone input:checked + span",
        ):
            ratio = browser.execute_script(CONTRAST, browser.find_element(By.CSS_SELECTOR, selector))
            assert ratio >= 4.5, f"{selector} in {scheme}: {ratio:.2f}"  # WCAG AA
    browser.save_screenshot(str(ARTIFACTS / "page-dark.png"))


def test_nothing_comes_from_elsewhere(browser: webdriver.Chrome, function: Server) -> None:
    browser.get(function.url)
    answered(browser)
    names = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith(function.url) for name in names), names
    size = browser.execute_script("return performance.getEntriesByType('navigation')[0].decodedBodySize")
    assert size < 32_768


def test_a_problem_is_shown_in_words(browser: webdriver.Chrome, function: Server) -> None:
    browser.get(function.url)
    answered(browser)
    browser.execute_script(
        "const input = document.getElementById('field-temperature'); input.max = 900; input.value = 900; ask()"
    )
    error = browser.find_element(By.ID, "error")
    WebDriverWait(browser, 10).until(lambda b: error.text)
    assert "temperature must be a number from -30 to 60, got 900" in error.text
    browser.execute_script("document.getElementById('field-temperature').value = 20; ask()")
    WebDriverWait(browser, 10).until(lambda b: not error.text)


CONTRAST = """
const linear = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(linear);
  return .2126 * r + .7152 * g + .0722 * b; };
let ground = arguments[0], colour;
while (ground && /^rgba\\(.*, 0\\)$/.test(colour = getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
const pair = [light(getComputedStyle(arguments[0]).color), light(colour)].sort((a, b) => b - a);
return (pair[0] + .05) / (pair[1] + .05);
"""
