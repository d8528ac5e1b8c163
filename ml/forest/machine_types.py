# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of Google's machine types is large enough for a training, from the price file that the cost reports use as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

PRICE_FILE = Path(__file__).resolve().parents[2] / "pricing" / "google_cloud.yml"
SYSTEM_BYTES = 200 * 2**20  # what Debian and its services take on a VM


class MachineType(NamedTuple):
    """A machine type; ``price`` is US dollars an hour on demand in us-central1."""

    name: str
    memory: int  # bytes
    vcpus: float  # that are always available
    price: float


def price_document() -> dict[str, Any]:
    """Return the content of the price file."""
    import yaml  # few trainings need it

    document: dict[str, Any] = yaml.safe_load(PRICE_FILE.read_text(encoding="utf-8"))
    return document


def machine_types() -> list[MachineType]:
    """Return the machine types of the price file, cheapest first."""
    listed = price_document()["machine_types"]
    types = [
        MachineType(name, entry["memory_gib"] * 2**30, entry["billed_vcpus"], entry["hour"])
        for name, entry in listed.items()
    ]
    return sorted(types, key=lambda machine: machine.price)


def sustained_vcpus(name: str) -> float | None:
    """Return the CPUs that a machine type has all the time; None for one that is not listed.

    A shared-core type shows two CPUs and may use both for some seconds, which the installation of a VM has used up before a training.
    """
    return next((machine.vcpus for machine in machine_types() if machine.name == name), None)


def suggest(memory: int = 0, vcpus: float = 0) -> str:
    """Return in words the cheapest machine type with ``memory`` bytes beside the system's and ``vcpus`` CPUs."""
    types = machine_types()
    for machine in types:
        if machine.memory - SYSTEM_BYTES >= memory and machine.vcpus >= vcpus:
            free = " (in Always Free)" if machine is types[0] else ""
            return f"vm_machine_type {machine.name} would do, ${machine.price:.4f} an hour{free}"
    return f"no machine type up to {types[-1].name} would do"
