# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
    "--no-proxy-server", "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS, f"--lang={getattr(request, 'param', 'en')}"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"intl.accept_languages": getattr(request, "param", "en")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    found.set_window_size(1200, 960)
    yield found
    found.quit()
