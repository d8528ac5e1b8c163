# SPDX-License-Identifier: GPL-3.0-or-later
"""The price file knows every price: code has none of its own, and what documents quote is what the file gives today."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.fanops.costs.prices import Prices, cents

REPOSITORY = Path(__file__).resolve().parents[2]
PRICE_FILE = "pricing/google_cloud.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load((REPOSITORY / PRICE_FILE).read_text(encoding="utf-8"))
CODE = ("site.yml", "playbooks", "roles", "inventory", "library", "module_utils", "plugins", "ml", "rehearsal/src")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs", "rehearsal/docs", "rehearsal/README.md")
#: An amount in dollars with its fraction: `$1` alone is a parameter of a shell.
AMOUNT = re.compile(r"\$(\d[\d,]*\.\d+)")


def texts(*names: str) -> Iterator[tuple[str, str]]:
    """The tracked text files below these, by name."""
    listed = subprocess.run(["git", "ls-files", "-z", "--", *names], cwd=REPOSITORY, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name.endswith((".py", ".yml", ".j2", ".md", ".toml", ".txt")):
            yield name, (REPOSITORY / name).read_text(encoding="utf-8")


def numbers(value: Any) -> Iterator[str]:
    """Every number of the price file as it is written there."""
    if isinstance(value, dict):
        for member in value.values():
            yield from numbers(member)
    elif isinstance(value, float):
        yield f"{Decimal(repr(value)):f}"


def quoted() -> dict[str, Decimal]:
    """What a document may quote, in dollars: each amount with what it is the price of."""
    prices = Prices(DOCUMENT)
    month = prices.month
    found: dict[str, Decimal | None] = {
        "address, an hour": prices.ip_in_use,
        "address": prices.ip_in_use * month,
        "reserved address": prices.ip_unattached * month,
        "function, always busy": prices.busy_function_month(3, 1, 512),
        "function with a third of a CPU, always busy": prices.busy_function_month(3, 0.333, 512),
        "a million requests": prices.number("function", "request_million"),
        "function kept warm": prices.warm_function_month(1, 1, 512),
    }
    for machine_type in DOCUMENT["machine_types"]:
        hour = prices.vm_hour(machine_type)
        assert hour is not None
        found |= {f"{machine_type}, an hour": round(hour, 6), machine_type: prices.vm_month(machine_type)}
    for disk_type in DOCUMENT["disk_types"]:
        found |= {f"{gib} GB of {disk_type}": prices.disk_month(disk_type, gib) for gib in (10, 20, 30)}
    for storage_class in DOCUMENT["bucket"]["gb_month"]:
        found[f"a GB of {storage_class}"] = prices.bucket_month(storage_class, 1)
    vm, disk = prices.vm_month("e2-micro"), prices.disk_month("pd-standard", 30)
    assert vm is not None and disk is not None
    found |= {"VM with its disk": vm + disk, "two workers": 2 * (vm + disk + prices.ip_in_use * month)}
    return {what: amount if "hour" in what else cents(amount) for what, amount in found.items() if amount is not None}


def test_code_knows_no_price() -> None:
    named = [f"{name}: ${amount}" for name, text in texts(*CODE) for amount in AMOUNT.findall(text)]
    assert named == []


def test_no_figure_of_the_price_file_is_written_twice() -> None:
    figures = {figure for figure in numbers(DOCUMENT) if len(figure.lstrip("0.")) >= 4}
    assert len(figures) > 8
    copied = [f"{name}: {figure}" for name, text in texts(*CODE, *DOCUMENTS) for figure in figures if figure in text]
    assert copied == []


@pytest.mark.parametrize("name", [name for name, text in texts(*DOCUMENTS) if AMOUNT.search(text)])
def test_what_a_document_quotes_is_what_the_price_file_gives(name: str) -> None:
    known = set(quoted().values())
    said = {
        Decimal(amount.replace(",", "")) for amount in AMOUNT.findall((REPOSITORY / name).read_text(encoding="utf-8"))
    }
    assert said <= known, f"{sorted(said - known)} are no amounts that {PRICE_FILE} gives"
