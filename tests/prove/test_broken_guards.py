# SPDX-License-Identifier: GPL-3.0-or-later
"""Every safety test can fail: each guard is broken in a copy of the repository, and the tests that watch it turn red."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import REPOSITORY

pytestmark = pytest.mark.timeout(600)
ROWS: list[list[object]] = []
ROLES, UNIT, CLIENT = "roles/vm_watchdog/files", "tests/unit", "module_utils/fanops"
WATCHDOG = f"{ROLES}/fanops_watchdog.py"


@dataclass(frozen=True)
class Guard:
    """A promise, the file that keeps it, the text there that is broken and what it becomes, and the tests that watch."""

    promise: str
    file: str
    text: str
    broken: str
    tests: str


# Every rule of the free-tier guard is taken off the list of rules.
RULES = re.findall(
    r'^@rule\("(.+)"\)$', (REPOSITORY / CLIENT / "costs/guard.py").read_text(encoding="utf-8"), re.MULTILINE
)
GUARDS = [
    *(
        Guard(
            f"the free-tier guard refuses: {name}",
            f"{CLIENT}/costs/guard.py",
            f'@rule("{name}")\n',
            "",
            f"{UNIT}/module_utils/test_guard_rules.py",
        )
        for name in RULES
    ),
    Guard(
        "what would pass the month's ceiling is not started",
        "ml/core/spending.py",
        "after.dollars <= ceiling",
        "True",
        f"{UNIT}/modules/test_costs_modules.py",
    ),
    Guard(
        "the month's ceiling ends a training in order",
        "ml/forest/growth.py",
        "                if ends():\n                    break\n",
        "",
        f"{UNIT}/ml/test_ml_train.py",
    ),
    Guard(
        "no message shows an address",
        "ml/publish/messages.py",
        'f"it could not be reached ({type(error).__name__})"',
        'f"it could not be reached ({error})"',
        f"{UNIT}/ml/test_ml_messages.py",
    ),
    Guard(
        "a secret's value is not shown",
        "module_utils/fanops/resources/secret.py",
        '"value": GIVEN if self.options["value"] is not None else None',
        '"value": self.options["value"]',
        f"{UNIT}/modules/test_secret_manager_secret.py",
    ),
    Guard(
        "the watchdog lets a run within its limit be",
        WATCHDOG,
        "if runs and not overdue:",
        "if False and runs and not overdue:",
        f"{UNIT}/roles",
    ),
    Guard(
        "the watchdog acts when the lease lapses",
        WATCHDOG,
        'renewed + armed["lease_seconds"]',
        'renewed + armed["lease_seconds"] + 1000',
        f"{UNIT}/roles",
    ),
    Guard(
        "the watchdog acts when the run ended",
        WATCHDOG,
        "if idle_since is not None and",
        "if False and idle_since is not None and",
        f"{UNIT}/roles",
    ),
    Guard(
        "a new VM has Google's run limit",
        f"{CLIENT}/resources/instance_body.py",
        "if not seconds:",
        "if True:",
        f"{UNIT}/modules/test_gce_instance.py",
    ),
    Guard(
        "only e2-micro is free",
        f"{CLIENT}/costs/guard.py",
        "if wanted.machine_type != free:",
        "if False:",
        f"{UNIT}/module_utils/test_guard_rules.py",
    ),
    Guard(
        "check mode changes nothing",
        f"{CLIENT}/reconcile/reconciler.py",
        "if changed and check_mode:",
        "if False:",
        f"{UNIT}/modules",
    ),
    Guard(
        "foreign resources are not ours",
        f"{CLIENT}/resources/listing.py",
        "all(item_labels.get(key) == str(value)",
        "any(True or item_labels.get(key) == str(value)",
        f"{UNIT}/module_utils/test_listing.py",
    ),
    Guard(
        "secrets in metadata are not shown",
        f"{CLIENT}/resources/instance_body.py",
        '{"key": item["key"], "value": "(not shown)"}',
        "item",
        f"{UNIT}/modules/test_gce_instance.py",
    ),
    Guard(
        "pruning spares what is referenced",
        f"{CLIENT}/releases/pruning.py",
        'item for item in blobs if item["name"] in referenced or self._young(item)',
        "item for item in blobs if self._young(item)",
        f"{UNIT}/modules/test_model_releases.py",
    ),
    Guard(
        "an ended run is not called late",
        f"{CLIENT}/training/outcome.py",
        "(over_time or code is None)",
        "True",
        f"{UNIT}/module_utils/test_training.py",
    ),
    Guard(
        "the kernel's kill is called one",
        f"{CLIENT}/training/outcome.py",
        'status["oom_kills"] > record.get("oom_kills", 0)',
        "False",
        f"{UNIT}/module_utils/test_training.py",
    ),
    Guard(
        "damaged model bytes are not used",
        "ml/core/releases.py",
        'if len(data) != size or sha256(data) != entry["sha256"]:',
        "if len(data) != size:",
        f"{UNIT}/ml/test_ml_releases.py",
    ),
    Guard(
        "a damaged manifest is not used",
        "ml/core/releases.py",
        "if sha256(data) != digest:",
        "if False:",
        f"{UNIT}/ml/test_ml_releases.py",
    ),
    Guard(
        "the pointer is only swapped from what was compared with",
        "ml/bucket.py",
        "if_generation_match=generation,",
        "",
        f"{UNIT}/ml",
    ),
    Guard(
        "an unknown swap is looked up",
        "ml/publish/publisher.py",
        "if readback is Readback.COMMITTED:",
        "if False:",
        f"{UNIT}/ml",
    ),
    Guard(
        "less accuracy than the floor is refused",
        "ml/core/gate.py",
        "if candidate.accuracy < limits.accuracy_floor:",
        "if False:",
        f"{UNIT}/ml/test_ml_gate.py",
    ),
    Guard(
        "a worse model than the live one is refused",
        "ml/core/gate.py",
        "if total.loss > total.allowed(MARGIN, DEVIATIONS):",
        "if False:",
        f"{UNIT}/ml/test_ml_gate.py",
    ),
    Guard(
        "a candidate that forgot a sponsor is refused",
        "ml/core/gate.py",
        "if part.loss > allowed:",
        "if False:",
        f"{UNIT}/ml/test_ml_gate.py",
    ),
    Guard(
        "a row that is held out is never trained on",
        "ml/data/spool.py",
        "return context_hash(schema, features) < np.uint64(2**64 // HELD_OUT_SHARE)",
        "return np.arange(len(features)) < len(features) // HELD_OUT_SHARE",
        f"{UNIT}/ml/test_ml_data.py",
    ),
    Guard(
        "a model too large for the function is refused",
        "ml/core/gate.py",
        "if proof.serving_bytes <= limits.function_memory_bytes:",
        "if True:",
        f"{UNIT}/ml/test_ml_gate.py",
    ),
    Guard(
        "a model that answers otherwise than the forest is refused",
        "ml/core/serving.py",
        "if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=TOLERANCE):",
        "if False:",
        f"{UNIT}/ml",
    ),
    Guard(
        "what cannot fit is refused before it starts",
        "ml/forest/estimate.py",
        "if prediction.memory > budget:",
        "if False:",
        f"{UNIT}/ml/test_ml_prediction.py",
    ),
    Guard(
        "a damaged checkpoint is not unpickled",
        "ml/forest/checkpoints.py",
        "if hashlib.sha256(data).digest() != digest:",
        "if False:",
        f"{UNIT}/ml",
    ),
    Guard(
        "a body beyond the limit is refused",
        "ml/function/sponsor_api/request_body.py",
        "MAX_BODY_BYTES = 4 * 2**20",
        "MAX_BODY_BYTES = 400 * 2**20",
        f"{UNIT}/function/test_function.py",
    ),
    Guard(
        "a silent sender holds no thread for ever",
        "ml/function/sponsor_api/request_body.py",
        "connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)",
        "pass",
        f"{UNIT}/function/test_function.py",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    head = ("promise", "broken in", "tests that watch", "turned red")
    missed = sum(row[3] == 0 for row in ROWS)
    text = f"{table(head, ROWS)}\n\n{len(ROWS)} guards broken one at a time in a copy of the repository; {missed} went unnoticed."
    record("Every safety test has been seen red", "make prove-broken-guards", text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has, without its history."""
    folder = tmp_path_factory.mktemp("copy")
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    return folder


def failures(copy: Path, tests: str) -> int:
    """Run tests in the copy; return how many failed."""
    # The copy comes before the installed project. A guard that waits for ever is a failure, too.
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "--timeout=60", tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-1000:]
    return sum(line.startswith(("FAILED", "ERROR")) for line in done.stdout.splitlines())


@pytest.mark.parametrize("tests", sorted({guard.tests for guard in GUARDS}))
def test_what_watches_is_green_while_nothing_is_broken(copy: Path, tests: str) -> None:
    assert failures(copy, tests) == 0


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.promise)
def test_a_broken_guard_turns_its_tests_red(copy: Path, guard: Guard) -> None:
    path = copy / guard.file
    whole = path.read_text(encoding="utf-8")
    assert whole.count(guard.text) == 1, f"{guard.file} has {guard.text!r} {whole.count(guard.text)} times"
    path.write_text(whole.replace(guard.text, guard.broken), encoding="utf-8")
    try:
        red = failures(copy, guard.tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    ROWS.append([guard.promise, f"`{guard.file}`", f"`{guard.tests}`", red])
    assert red
