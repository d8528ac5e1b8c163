# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a project is ours: teardown deletes exactly that."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.resources.listing import list_resources

OURS = {"app": "fanops-m4", "managed-by": "ansible"}
LABELS = {
    "ours": OURS,
    "ours-and-more": {**OURS, "team": "x"},
    "half": {"app": "fanops-m4"},
    "by-hand": {**OURS, "managed-by": "hand"},
    "foreign": {"app": "shop"},
    "bare": {},
}


def vm(name: str) -> dict[str, Any]:
    return {
        "name": name, "zone": "zones/us-central1-a", "status": "TERMINATED", "machineType": "machineTypes/e2-micro",
        "labels": LABELS[name],
    }  # fmt: skip


def google(pages: dict[str, dict[str, Any]], disabled: str = "") -> Any:
    """A client that answers by the end of the address; an API that is ``disabled`` says so."""

    def read(url: str, attempting: str, params: Any = None) -> Iterator[dict[str, Any]]:
        if disabled and disabled in url:
            raise GoogleApiError(attempting, "off", "", reason="SERVICE_DISABLED", target=f"{disabled}/v1")
        return iter([page for end, page in pages.items() if url.endswith(end)])

    return SimpleNamespace(project="demo", pages=read)


def test_ours_is_what_has_all_of_our_labels() -> None:
    zones: dict[str, Any] = {
        "items": {"zones/us-central1-a": {"instances": [vm(name) for name in LABELS]}, "zones/b": {"warning": {}}}
    }
    found, disabled = list_resources(google({"/aggregated/instances": zones}), OURS, {})
    assert {resource["name"] for resource, ours in found if ours} == {"ours", "ours-and-more"}
    assert len(found) == len(LABELS) and disabled == []
    assert found[0][0] == {
        "kind": "instance", "name": "ours", "place": "us-central1-a", "detail": "TERMINATED e2-micro",
    }  # fmt: skip


def test_without_labels_to_go_by_nothing_is_ours() -> None:
    zones = {"items": {"zones/us-central1-a": {"instances": [vm(name) for name in LABELS]}}}
    found, _ = list_resources(google({"/aggregated/instances": zones}), {}, {})
    assert not any(ours for _, ours in found)


def test_what_google_gives_no_labels_is_ours_by_name_and_kind() -> None:
    pages: dict[str, Any] = {
        "/global/firewalls": {"items": [{"name": "fanops-m4-allow-ssh", "sourceRanges": ["0.0.0.0/0"]}, {"name": "web"}]},
        "/serviceAccounts": {"accounts": [{"email": "m4-trainer@demo.iam.gserviceaccount.com"}, {"email": "web@demo"}]},
    }  # fmt: skip
    names = {"firewall": ["fanops-m4-allow-ssh"], "service_account": ["m4-trainer", "web-not"], "role": ["web"]}
    found, _ = list_resources(google(pages), OURS, names)
    assert {(r["kind"], r["name"]): ours for r, ours in found} == {
        ("firewall", "fanops-m4-allow-ssh"): True,
        ("firewall", "web"): False,
        ("service_account", "m4-trainer"): True,
        ("service_account", "web"): False,
    }


def test_an_api_that_is_off_has_nothing_and_is_named_and_another_error_is_one() -> None:
    found, disabled = list_resources(google({}, disabled="cloudfunctions.googleapis.com"), OURS, {})
    assert (found, disabled) == ([], ["cloudfunctions.googleapis.com"])

    def refuse(url: str, attempting: str, params: Any = None) -> Iterator[dict[str, Any]]:
        raise GoogleApiError(attempting, "no", "", reason="forbidden", target="compute.googleapis.com/v1")

    client: Any = SimpleNamespace(project="demo", pages=refuse)
    with pytest.raises(GoogleApiError):
        list_resources(client, OURS, {})
