# SPDX-License-Identifier: GPL-3.0-or-later
"""A real headless Chromium; pictures go to build/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "build"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
    "--no-proxy-server", "--hide-scrollbars",
)  # fmt: skip


@contextmanager
def chromium(language: str = "en") -> Iterator[webdriver.Chrome]:
    """A browser of its own, closed at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS, f"--lang={language}"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    found.set_window_size(1200, 960)
    try:
        yield found
    finally:
        found.quit()


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    with chromium(getattr(request, "param", "en")) as found:
        yield found


def complaints(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
