# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality gate: what a candidate must show before it may replace the live release. Standard library only.

Every refusal names the numbers. A forced promotion goes past the refusals, and the pointer records them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .releases import Candidate, Release, ReleaseError

TOLERANCE = 1e-5  # between two implementations of the same forest, on a probability
# What a candidate may lose of the live release's accuracy: a margin that nobody would notice, and this many standard
# deviations of what chance does on that number of rows (one-sided, 95 %). Twelve sponsors are twelve tests, so each needs to be surer.
MARGIN, DEVIATIONS = 0.005, 1.645
SPONSOR_MARGIN, SPONSOR_DEVIATIONS = 0.05, 3.5
SMALLEST_HELD_OUT = 100  # rows; on fewer, even ten points could be chance
FRAMEWORK_BYTES = (
    96 * 2**20
)  # what the function holds beside Python, numpy and onnxruntime: web framework, two processes


@dataclass(frozen=True)
class Limits:
    """What the gate demands."""

    # Callers may send less than to the live release. Force does not stand for it: who forces a worse model does not mean this.
    accept_schema_change: bool = field(default=False, kw_only=True)

    accuracy_floor: float = 0.6  # on the held-out rows; twelve sponsors, and always naming the most frequent gives 0.15
    function_memory_bytes: int = 512 * 2**20  # of one instance of the function


def size_in_bytes(text: str) -> int:
    """Return a size such as 512Mi, 512M or 1Gi in bytes, as Cloud Functions reads it; raise ValueError if it is none."""
    match = re.fullmatch(r"([1-9][0-9]*)(M|Mi|G|Gi)", text)
    if not match:
        raise ValueError(f"{text!r} is no size such as 512Mi or 1Gi")
    return int(match.group(1)) * {"M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}[match.group(2)]


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of the share ``hits / rows`` (Wilson, JASA 22, 1927); ``rows`` is at least 1."""
    square = 1.96**2
    middle = (hits + square / 2) / (rows + square)
    half = 1.96 * math.sqrt(hits * (rows - hits) / rows + square / 4) / (rows + square)
    return max(0.0, middle - half), min(1.0, middle + half)


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


@dataclass(frozen=True)
class Difference:
    """The accuracy (0-1) of the live release, ``before``, and of the candidate, ``after``, on rows neither was trained on.

    ``deviation`` is the standard deviation that ``before - after`` would have if the two were equally good.
    """

    before: float
    after: float
    deviation: float
    rows: str  # in words, with their number

    @property
    def loss(self) -> float:
        """What the candidate lost."""
        return self.before - self.after

    def allowed(self, margin: float, deviations: float) -> float:
        """Return what it may lose: ``margin`` always, and what chance explains on so few rows."""
        return margin + deviations * self.deviation


@dataclass(frozen=True)
class Comparison:
    """A candidate beside a live release: on all held-out rows, and on those that show each sponsor."""

    total: Difference
    sponsors: Mapping[str, Difference] = field(default_factory=dict)


Compare = Callable[[Release], Comparison]


@dataclass(frozen=True)
class Verdict:
    """Why a candidate must not be promoted (nothing: it may), and what else the gate saw.

    ``breaking`` are the refusals that only ``accept_schema_change`` lifts, and no force.
    """

    refusals: list[str]
    notes: list[str]
    breaking: list[str] = field(default_factory=list)


def judge(candidate: Candidate, live: Release | None, limits: Limits, compare: Compare | None) -> Verdict:
    """Say whether ``candidate`` may replace ``live`` (None: there is nothing live), by what is known of it.

    ``compare`` asks a live release about the candidate's held-out rows. Without it, or where the live release may have
    been trained on some of them, the accuracies that the two manifests state are compared: a weaker test.
    """
    facts = candidate.facts
    unseen = set(facts.get("unseen", ()))
    verdict = Verdict([], [f"no row to train on shows {', '.join(sorted(unseen))}"] if unseen else [])
    advice = "train on more samples" if _drawn(facts) else "look at what is new in the data"
    if candidate.accuracy < limits.accuracy_floor:
        verdict.refusals.append(
            f"the candidate's accuracy {candidate.accuracy:.2%} is below the floor of {limits.accuracy_floor:.2%}; {advice}"
        )
    if (rows := facts["metrics"]["rows"]) < SMALLEST_HELD_OUT:
        verdict.refusals.append(
            f"{rows:,} held-out rows are too few to judge by, {SMALLEST_HELD_OUT} are the least; a tenth of the rows is "
            f"held out, so give about {SMALLEST_HELD_OUT * 11:,}"
        )
    if live is None:
        return verdict
    name = f"live release {live.version}"
    if less := narrowed(live.manifest, facts):
        what = f"callers could not send what {name} accepts: {'; '.join(less)}"
        (verdict.notes if limits.accept_schema_change else verdict.breaking).append(what)
    if gone := sorted(
        unseen.intersection(live.manifest.get("classes", ())).difference(live.manifest.get("unseen", ()))
    ):
        verdict.refusals.append(
            f"no row to train on shows {', '.join(gone)}, which {name} can answer and the candidate never would; add rows "
            "that do"
        )
    try:
        found = _compared(facts, live, compare)
    except ReleaseError as error:
        verdict.refusals.append(f"{name} cannot be compared with: {error}")
        return verdict
    total = found.total
    numbers = (
        f"{total.before:.2%} of {name} {total.rows}; {total.allowed(MARGIN, DEVIATIONS):.2%} less would be allowed"
    )
    if total.loss > total.allowed(MARGIN, DEVIATIONS):
        verdict.refusals.append(
            f"the candidate's accuracy {total.after:.2%} is {total.loss:.2%} below the {numbers}; {advice}"
        )
    verdict.notes.append(f"accuracy {total.after:.2%} against {numbers}")
    for sponsor, part in found.sponsors.items():
        allowed = part.allowed(SPONSOR_MARGIN, SPONSOR_DEVIATIONS)
        if part.loss > allowed:
            verdict.refusals.append(
                f"of the rows that show {sponsor} the candidate answers {part.after:.2%} rightly, {name} {part.before:.2%} "
                f"{part.rows}; {allowed:.2%} less would be allowed; {advice}"
            )
    return verdict


def _compared(facts: Mapping[str, Any], live: Release, compare: Compare | None) -> Comparison:
    """Compare on the candidate's held-out rows if the live release was not trained on them, else by the two manifests."""
    unknown_to_live = _drawn(facts) or _drawn(live.manifest) or facts.get("split") == live.manifest.get("split")
    if compare is not None and unknown_to_live:
        return compare(live)
    if _drawn(facts) != _drawn(live.manifest):
        raise ReleaseError("one of the two was measured on synthetic rows, the other on a data file")
    after, before = ((m["metrics"]["accuracy"], m["metrics"]["rows"]) for m in (facts, live.manifest))
    deviation = math.sqrt(sum(share * (1 - share) / rows for share, rows in (after, before)))
    rows = f"on {before[1]:,} held-out rows of its own, since it may have been trained on some of the candidate's {after[1]:,}"
    if unknown_to_live:
        rows = f"on {before[1]:,} rows ({after[1]:,} of the candidate), as their manifests say"
    return Comparison(Difference(before[0], after[0], deviation, rows))


def _drawn(facts: Mapping[str, Any]) -> bool:
    """Say whether a release was measured on synthetic rows, which no training uses: their best accuracy is known."""
    return facts["metrics"].get("ceiling") is not None


def narrowed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what callers of a release may send (``before``) and could not send to the next one; both are manifests.

    A release that an older version made tells of its columns only.
    """
    old, new = before.get("model_schema"), after.get("model_schema")
    if old is None or new is None:
        gone = [name for name in before.get("columns") or [] if name not in (after.get("columns") or [])]
        return [f"without {', '.join(gone)}"] if gone else []
    fields = {entry["name"]: entry for entry in new["fields"]}
    found = []
    for entry in old["fields"]:
        name = entry["name"]
        if (now := fields.pop(name, None)) is None:
            found.append(f"without {name}")
        elif now["kind"] != entry["kind"] and (entry["kind"], now["kind"]) != ("integer", "number"):
            found.append(f"{name} is of kind {now['kind']} instead of {entry['kind']}")
        elif entry["kind"] == "choice":
            known = [value["name"] for value in now["values"]]
            gone = [value["name"] for value in entry["values"] if value["name"] not in known]
            found += [f"{name} without {', '.join(gone)}"] if gone else []
        elif now["minimum"] > entry["minimum"] or now["maximum"] < entry["maximum"]:
            ranges = [f"{one['minimum']:g} to {one['maximum']:g}" for one in (now, entry)]
            found.append(f"{name} from {ranges[0]} instead of {ranges[1]}")
        if now is not None and now["required"] and not entry["required"]:
            found.append(f"{name} is required")
    return found + [f"{name} is new and required" for name, entry in fields.items() if entry["required"]]


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
