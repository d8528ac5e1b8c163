# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory says nothing where a playbook can say more, and everything else aloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


def inventory(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-inventory on our inventory with no Google credentials but the given ones."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GCP_", "GOOGLE_")) and name.lower() not in ("http_proxy", "https_proxy")
    }
    # No metadata server is asked, and nothing of the person's own is found.
    isolated = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "--list"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**inherited, **isolated, **environment},
    )  # fmt: skip


def test_without_project_nothing_is_asked(tmp_path: Path) -> None:
    done = inventory(tmp_path)
    assert done.returncode == 0
    assert "gcp_compute" not in done.stderr


@pytest.mark.parametrize(
    ("credentials", "why"),
    [
        ({}, "credentials cannot be used"),
        ({"GCP_AUTH_KIND": "serviceaccount", "GCP_SERVICE_ACCOUNT_FILE": "/nowhere/key.json"}, "/nowhere/key.json"),
    ],
)
def test_missing_credentials_give_an_empty_inventory_and_a_warning(
    tmp_path: Path, credentials: dict[str, str], why: str
) -> None:
    done = inventory(tmp_path, GCP_PROJECT="my-project", **credentials)
    assert done.returncode == 0
    assert why in done.stderr
    assert json.loads(done.stdout)["_meta"]["hostvars"].keys() <= {"localhost"}


@pytest.mark.parametrize(
    "kind", [{"GCP_AUTH_KIND": "ServiceAccount"}, {}, {"GCP_AUTH_KIND": "application", "GCP_ACCESS_TOKEN": "t"}]
)
def test_the_kind_of_credentials_is_the_modules_and_nothing_of_another_kind_is_refused(
    tmp_path: Path, kind: dict[str, str]
) -> None:
    done = inventory(tmp_path, GCP_PROJECT="demo", GCP_SERVICE_ACCOUNT_FILE=str(tmp_path / "none.json"), **kind)
    assert done.returncode == 0 and "Failed to parse" not in done.stderr
    assert ("there is no key file" in done.stderr) == ("GCP_ACCESS_TOKEN" not in kind)


def test_unknown_credential_type_is_an_error(tmp_path: Path) -> None:
    assert inventory(tmp_path, GCP_PROJECT="my-project", GCP_AUTH_KIND="nonsense").returncode != 0
