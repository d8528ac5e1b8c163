# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality gate: what a candidate must show before it may replace the live release. Standard library only.

Every refusal names the numbers. A forced promotion goes past the refusals, and the pointer records them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .releases import Candidate, Release

TOLERANCE = 1e-5  # between two implementations of the same forest, on a probability
REGRESSION = 0.005  # accuracy that a candidate may lose against the live release: seeds differ by a tenth of that
FRAMEWORK_BYTES = (
    96 * 2**20
)  # what the function holds beside Python, numpy and onnxruntime: web framework, two processes


@dataclass(frozen=True)
class Limits:
    """What the gate demands."""

    accuracy_floor: float = 0.6  # on the held-out rows; twelve sponsors, and always naming the most frequent gives 0.15
    function_memory_bytes: int = 512 * 2**20  # of one instance of the function


def size_in_bytes(text: str) -> int:
    """Return a size such as 512Mi, 512M or 1Gi in bytes, as Cloud Functions reads it; raise ValueError if it is none."""
    match = re.fullmatch(r"([1-9][0-9]*)(M|Mi|G|Gi)", text)
    if not match:
        raise ValueError(f"{text!r} is no size such as 512Mi or 1Gi")
    return int(match.group(1)) * {"M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}[match.group(2)]


@dataclass(frozen=True)
class Proof:
    """What loading a candidate in processes of their own showed; sizes are resident memory in bytes."""

    base_bytes: int  # of the process with its libraries, before it loaded model.onnx
    load_bytes: int  # added by the loaded model
    peak_bytes: int  # of the process, the largest batch included

    @property
    def serving_bytes(self) -> int:
        """The memory that serving takes while this model replaces another: the old one goes after the new is proven."""
        return FRAMEWORK_BYTES + self.peak_bytes + self.load_bytes


def quality_refusals(
    candidate: Candidate, live: Release | None, limits: Limits, measure: Callable[[Release], float] | None
) -> list[str]:
    """Return why ``candidate`` must not replace ``live`` (None: there is nothing live), judged by what is known of it.

    ``measure`` returns the accuracy of a live release on the candidate's held-out rows; it is asked only if the live
    release was measured on other rows.
    """
    refusals = []
    if candidate.accuracy < limits.accuracy_floor:
        refusals.append(
            f"the candidate's accuracy {candidate.accuracy:.2%} is below the floor of {limits.accuracy_floor:.2%}; "
            "train on more samples"
        )
    if live is None:
        return refusals
    refusals += schema_refusals(candidate.facts, live.manifest)
    metrics = live.manifest.get("metrics", {})
    if metrics.get("held_out") == candidate.facts["metrics"]["held_out"]:
        before = float(metrics["accuracy"])
    elif measure is not None:
        before = measure(live)
    else:
        return [*refusals, "the live release was measured on other held-out rows"]
    if candidate.accuracy < before - REGRESSION:
        refusals.append(
            f"the candidate's accuracy {candidate.accuracy:.2%} is more than {REGRESSION:.1%} below the {before:.2%} of "
            f"live release {live.version} on the same held-out rows; train on more samples"
        )
    return refusals


def schema_refusals(facts: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return which parts of the schema of ``live`` (a manifest) differ in ``facts``: callers would meet other answers."""
    refusals = []
    for name in ("columns", "classes"):
        before, after = live.get(name), facts.get(name)
        if before != after:
            gone = [item for item in before or [] if item not in (after or [])]
            new = [item for item in after or [] if item not in (before or [])]
            what = (
                f"without {', '.join(gone) or 'none'}, with {', '.join(new) or 'none'}" if gone or new else "reordered"
            )
            refusals.append(
                f"the candidate's {name} are not those of the live release ({what}); deploy the function first"
            )
    return refusals


def memory_refusals(proof: Proof, limits: Limits) -> list[str]:
    """Return whether serving the candidate would exceed the memory of the function."""
    if proof.serving_bytes <= limits.function_memory_bytes:
        return []
    mib = 2**20
    return [
        f"serving takes {proof.serving_bytes / mib:.0f} MiB (measured: {proof.peak_bytes / mib:.0f} MiB at the peak and "
        f"{proof.load_bytes / mib:.0f} MiB for the model that it replaces), the function has "
        f"{limits.function_memory_bytes / mib:.0f} MiB; give function_memory more or train a smaller forest"
    ]
