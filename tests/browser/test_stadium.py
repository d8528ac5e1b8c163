# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a stadium of one's own: its controls follow the release that answers, while it is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ml.bucket import Bucket
from tests.browser.conftest import ARTIFACTS, complaints
from tests.faulty_storage import Front, faulty_storage
from tests.rollbacks import roll_back
from tests.running_function import Server, lay_out, running_function
from tests.stadium import train, write_stadium
from tests.unit.ml.model_fixtures import BUCKET, as_candidate, grown, new_client, publish_unproven

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with faulty_storage() as found:
        yield found


@pytest.fixture(scope="module")
def bucket(front: Front) -> Bucket:
    client = new_client(front.url)
    client.create_bucket(BUCKET)
    return Bucket(BUCKET, client)


@pytest.fixture(scope="module")
def function(front: Front, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    publish_unproven(bucket, as_candidate(grown(3_000, seed=1), "page", 0.8))
    folder = tmp_path_factory.mktemp("deployed")
    with running_function(lay_out(folder), front.url, MODEL_REFRESH_SECONDS="0") as server:
        yield server


def shown(browser: webdriver.Chrome, field: str) -> list[str]:
    return [label.text for label in browser.find_elements(By.CSS_SELECTOR, f"#field-{field} label")]


def until_release(browser: webdriver.Chrome, version: int) -> None:
    """Press the button until a release answers."""

    def answered(opened: webdriver.Chrome) -> bool:
        opened.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        return f"release {version}," in opened.find_element(By.ID, "release").text

    WebDriverWait(browser, 60, 0.3).until(answered)


def test_new_zones_appear_in_an_open_page_and_go_with_a_rollback(
    browser: webdriver.Chrome, function: Server, front: Front, tmp_path: Path
) -> None:
    browser.get(function.url)
    until_release(browser, 1)
    assert shown(browser, "zone") == ["VIP", "North", "South", "East", "West"]
    browser.find_element(By.CSS_SELECTOR, "#field-zone input[value=South]").click()
    ended = train(front.url, BUCKET, write_stadium(tmp_path / "site"), tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    until_release(browser, 2)
    wait = WebDriverWait(browser, 20)
    wait.until(lambda b: shown(b, "zone") == ["VIP", "North", "South", "East", "West", "Northwest", "Sky box"])
    assert browser.find_element(By.CSS_SELECTOR, "#field-zone input:checked").get_attribute("value") == "South"
    browser.find_element(By.CSS_SELECTOR, "#field-zone input[value=Skybox]").click()
    browser.find_element(By.CSS_SELECTOR, "#field-event input[value=Penalty]").click()
    wait.until(lambda b: b.find_element(By.ID, "sponsor").text == "Nike")
    ARTIFACTS.mkdir(exist_ok=True)
    browser.save_screenshot(str(ARTIFACTS / "stadium-en.png"))
    browser.find_element(By.CSS_SELECTOR, "[data-language=fr]").click()
    assert shown(browser, "zone")[-2:] == ["Nord-ouest", "Loge"] and shown(browser, "event")[-1] == "Pénalty"
    browser.save_screenshot(str(ARTIFACTS / "stadium-fr.png"))
    browser.find_element(By.CSS_SELECTOR, "[data-language=en]").click()
    assert complaints(browser) == []

    # The page still shows the sky box that the older release does not know: the answer says so, and the controls follow.
    roll_back(front.url, "previous")
    until_release(browser, 3)
    wait.until(lambda b: shown(b, "zone") == ["VIP", "North", "South", "East", "West"])
    wait.until(lambda b: not b.find_element(By.ID, "error").text)
