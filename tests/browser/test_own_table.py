# SPDX-License-Identifier: GPL-3.0-or-later
"""Another table altogether: handwritten digits, from the files of a description to the page, with the same code."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.conftest import ARTIFACTS, complaints
from tests.faulty_storage import faulty_storage
from tests.own_table import NAMES, example, write_digits
from tests.running_function import lay_out, running_function
from tests.stadium import command, train
from tests.unit.ml.model_fixtures import BUCKET, new_client

pytestmark = pytest.mark.timeout(240)


def test_digits_are_checked_trained_published_served_and_shown(browser: webdriver.Chrome, tmp_path: Path) -> None:
    found = write_digits(tmp_path / "site")
    described = (f"--schema={found.schema}", f"--sponsors={found.sponsors}")
    with faulty_storage() as storage:
        new_client(storage.url).create_bucket(BUCKET)
        checked = command(storage.url, "ml.check_data", *described, found.data)
        assert checked.returncode == 0 and "1,797 rows looked at: 1,797 can be used" in checked.stdout
        trained = train(storage.url, BUCKET, found, tmp_path / "run")
        assert trained.returncode == 0, trained.stderr
        assert "features encoded (18 dimensions)" in trained.stdout and "release 1 is live" in trained.stdout
        with running_function(lay_out(tmp_path / "function"), storage.url) as server:
            rows = [example(found, number) for number in range(200)]
            body = {"instances": [context for context, _ in rows]}
            answers = requests.post(server.url, json=body, timeout=60).json()["predictions"]
            right = [answer["recommended_sponsor"] == digit for answer, (_, digit) in zip(answers, rows, strict=True)]
            assert sum(right) > 180
            assert requests.post(server.url, json={"zone": "VIP"}, timeout=60).json()["ignored"] == ["zone"]
            browser.get(server.url)
            wait = WebDriverWait(browser, 20)
            wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#bars li")) == len(NAMES))
            assert browser.find_element(By.TAG_NAME, "h1").text == "Which digit is it?"
            assert len(browser.find_elements(By.CSS_SELECTOR, "input[type=range]")) == 16
            assert browser.find_element(By.ID, "sponsor").text == answers[0]["recommended_sponsor"] == "zero"
            assert "Probability of each digit" in browser.find_element(By.TAG_NAME, "body").text
            browser.find_element(By.CSS_SELECTOR, "[data-language=fr]").click()
            text = browser.find_element(By.TAG_NAME, "body").text
            assert "Quel chiffre est-ce ?" in text and "Encre, ligne 1, colonne 1" in text and "pair · " in text
            ARTIFACTS.mkdir(exist_ok=True)
            browser.save_screenshot(str(ARTIFACTS / "own-table-fr.png"))
            assert complaints(browser) == []
