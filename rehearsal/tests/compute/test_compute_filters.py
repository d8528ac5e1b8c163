# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from rehearsal.errors import ApiError
from rehearsal.services.compute.filters import compile_filter

VM = {
    "name": "ml-training-vm",
    "status": "RUNNING",
    "id": "4567",
    "labels": {"app": "fanops-m4", "role": "training"},
    "scheduling": {"automaticRestart": True, "maxRunDuration": {"seconds": "3600"}},
    "tags": {"items": ["http-server", "ssh"]},
    "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a",
    "creationTimestamp": "2026-11-23T01:00:00.000-08:00",
    "cpuPlatform": "Intel Broadwell",
    "disks": [{"boot": True, "diskSizeGb": "30"}],
    "metadata": {"items": [{"key": "a.b", "value": "x"}]},
}

MATCHING = [
    "",
    "   ",
    "status = RUNNING",
    "status=RUNNING",
    'status = "RUNNING"',
    "status != TERMINATED",
    "name = ml-training-vm",
    "name = ml-*",
    "labels.app = fanops-m4",
    "(labels.app = fanops-m4) (status = RUNNING)",
    "(labels.app = fanops-m4) AND (status = RUNNING)",
    "labels.app = fanops-m4 AND status = RUNNING",
    "labels.app = other OR labels.role = training",
    # OR binds tighter than AND
    "status = RUNNING OR status = TERMINATED AND labels.app = fanops-m4",
    "(status = TERMINATED) OR ((labels.app = fanops-m4) (status = RUNNING))",
    "labels.app:*",
    "labels:app",
    "NOT labels.owner:*",
    "-labels.owner:*",
    "labels.owner != somebody",
    "name:training",
    "name:ml-*-vm",
    "scheduling.automaticRestart = true",
    "scheduling.automaticRestart = True",
    "scheduling.maxRunDuration.seconds > 60",
    "scheduling.maxRunDuration.seconds <= 3600",
    "tags.items = ssh",
    "tags.items:ssh",
    "disks.diskSizeGb = 30",
    "disks.boot = true",
    "creationTimestamp > 2026-11-22T00:00:00Z",
    'creationTimestamp < "2026-11-24T00:00:00-08:00"',
    "zone = https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a",
    'zone eq ".*/us-central1-a"',
    "zone eq .*us-central1-a",
    "name eq ml-(training|test)-vm",
    "(name eq 'ml-.*') (status ne TERMINATED)",
    "name ne .*instance",
    r'name eq ".*\btraining.*"',
    r'name eq ".*\bml\-training\b.*"',
    'labels."app" = fanops-m4',
    "metadata.items.key = a.b",
]
NOT_MATCHING = [
    "status = TERMINATED",
    "status != RUNNING",
    "name = ml",
    "name eq ml",
    "name ne ml-.*",
    "labels.app = other",
    "labels.owner:*",
    "labels.owner = somebody",
    "(labels.app = fanops-m4) (status = TERMINATED)",
    "status = TERMINATED OR status = STOPPING AND labels.app = fanops-m4",
    "NOT (status = RUNNING)",
    "scheduling.automaticRestart = false",
    "scheduling.maxRunDuration.seconds < 60",
    "tags.items != ssh",
    "creationTimestamp < 2026-11-22T00:00:00Z",
    'name = "ml-*"',
    "name:jupyter",
]


@pytest.mark.parametrize("text", MATCHING)
def test_matches(text: str) -> None:
    assert compile_filter(text)(VM)


@pytest.mark.parametrize("text", NOT_MATCHING)
def test_does_not_match(text: str) -> None:
    assert not compile_filter(text)(VM)


@pytest.mark.parametrize(
    "text",
    [
        "status",
        "status =",
        "= RUNNING",
        "(status = RUNNING",
        "status = RUNNING)",
        "a b c",
        "AND",
        "name eq (",
        "x = a OR",
    ],
)
def test_refuses_what_is_no_filter(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        compile_filter(text)
    assert refused.value.code == 400
    assert refused.value.reason == "invalid"
    assert "Invalid list filter expression" in refused.value.message
