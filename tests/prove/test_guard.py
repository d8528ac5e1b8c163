# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule of the guard: refused before any mutating call, passed with allow_billable. The table goes into the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.prove.figures import record, table
from tests.rehearsal.conftest import REPOSITORY, Rehearsal
from tests.rehearsal.guard_states import SWEEP, google

pytestmark = pytest.mark.timeout(600)
ROWS: list[list[object]] = []
BUCKET = "storage.Client().create_bucket('fanops-m4-models', location='us-central1')"
#: rule: (variables, a state made by Google's own clients beforehand)
CASES: dict[str, tuple[list[str], str]] = {
    "machine-type": (["vm_machine_type=e2-small"], ""),
    "vm-region": (["gcp_region=europe-west1", "gcp_zone=europe-west1-b", "model_bucket_location=us-central1"], ""),
    "worker-vms": (["training_workers=2"], ""),
    "disk-type": (["vm_disk_type=pd-balanced"], ""),
    "disk-size": (["vm_disk_size_gb=50"], ""),
    "bucket-location": (["model_bucket_location=EU"], ""),
    "bucket-class": (["model_bucket_storage_class=NEARLINE"], ""),
    "soft-delete": (["model_bucket_soft_delete_seconds=604800"], ""),
    "function-min-instances": (["function_min_instances=1"], ""),
    "spot-vm": ([], "vm('ml-training-vm', spot=True)"),
    "second-vm": ([], "vm('foreign', address=False)"),
    "second-address": ([], "vm('foreign')"),
    "disk-total": ([], "vm('foreign', keep_disk=True); delete('foreign')"),
    "disk-region": ([], "vm('foreign', 'europe-west1-b', keep_disk=True); delete('foreign', 'europe-west1-b')"),
    "static-address": (
        [],
        "c.AddressesClient().insert(project=P, region='us-east1', address_resource=c.Address(name='kept')).result()",
    ),
    "object-versioning": ([], f"b = {BUCKET}; b.versioning_enabled = True; b.patch()"),
}


@pytest.fixture(scope="module", autouse=True)
def figures(cloud: Rehearsal) -> Iterator[None]:
    """An empty project; the table at the end."""
    cloud.purge()
    cloud.up()
    yield
    passed = sum(row[-1] == "passes" and row[-2] == 0 for row in ROWS)
    record(
        "The free-tier guard",
        "make prove-guard",
        table(["rule", "refused with", "a month", "mutating calls", "with allow_billable=true"], ROWS)
        + f"\n\n{passed} of {len(CASES)} rules: `site.yml` ends before it changes anything; with `allow_billable` its plan passes.",
    )


def test_every_rule_has_a_case() -> None:
    source = (REPOSITORY / "module_utils/fanops/costs/guard.py").read_text()
    assert set(re.findall(r'^@rule\("([a-z-]+)"\)', source, re.MULTILINE)) == set(CASES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_refuses_before_any_mutating_call_and_passes_when_allowed(cloud: Rehearsal, rule: str) -> None:
    variables, state = CASES[rule]
    if state:
        google(cloud, state)
    try:
        arguments = [argument for variable in variables for argument in ("-e", variable)]
        mark = cloud.mark()
        refused = cloud.playbook("site.yml", *arguments)
        line = refused.output.strip().splitlines()[-1]
        mutating = len(cloud.requests(mark, "--mutating"))
        found = re.search(rf"\[{rule}\] (.*?): (\$[\d.]+ a month[a-zA-Z ]*); to avoid it, ", line)
        assert refused.code != 0 and found and "-e allow_billable=true" in line, refused.output[-3000:]
        allowed = cloud.playbook(
            "site.yml", "--check", *arguments, "-e", "allow_billable=true", "-e", "monthly_ceiling_usd=1000"
        )
        assert f"[{rule}]" in allowed.output
        verdict = "passes" if allowed.code == 0 else "FAILS"
        ROWS.append([f"`{rule}`", found[1], found[2].replace(" a month", ""), mutating, verdict])
        assert mutating == 0 and verdict == "passes", allowed.output[-3000:]
    finally:
        if state:
            google(
                cloud,
                SWEEP
                + "[b.delete(force=True) for b in storage.Client().list_buckets() if b.name == 'fanops-m4-models']",
            )
