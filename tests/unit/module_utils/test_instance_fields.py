# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of an instance's options: what it writes it reads back, for a new instance and for a changed one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible.module_utils.fanops.reconcile import fields
from ansible.module_utils.fanops.resources.instance_body import CREATE, insert_body, instance_fields, predicted

GIVEN: dict[str, Any] = {
    "name": "vm",
    "zone": "us-central1-a",
    "machine_type": "e2-micro",
    "disk_type": "pd-standard",
    "disk_size_gb": 30,
    "labels": {"app": "fanops", "big": True},
    "metadata": {"enable-guest-attributes": True},
    "tags": ["a", "b"],
    "network": "inner",
    "network_tier": "PREMIUM",
    "external_ip": False,
    "service_account_email": "m4@demo.iam.gserviceaccount.com",
    "scopes": ["one"],
    "max_run_seconds": 7200,
    "deletion_protection": True,
    "shielded": {"secure_boot": True, "vtpm": False, "integrity_monitoring": None},
}
OTHER: dict[str, Any] = {
    **GIVEN,
    "machine_type": "e2-small",
    "labels": {"app": "other"},
    "metadata": {"more": "yes"},
    "tags": [],
    "external_ip": True,
    "scopes": ["two"],
    "max_run_seconds": 60,
    "deletion_protection": False,
    "shielded": {"secure_boot": False, "vtpm": True, "integrity_monitoring": True},
}
NOT_MANAGED = dict.fromkeys(field.option for field in instance_fields("demo", GIVEN))


def answered(body: dict[str, Any]) -> dict[str, Any]:
    """The instance that Google makes of an insert: the disk's size moves."""
    instance = deepcopy(body)
    disk = instance["disks"][0]
    disk |= {"diskSizeGb": disk.pop("initializeParams").get("diskSizeGb", "10")}
    return instance


def seen(options: dict[str, Any], instance: dict[str, Any]) -> dict[str, Any]:
    """The instance in option words, as far as the options manage it."""
    table = instance_fields("demo", options)
    found = fields.view(table, instance)
    return {
        option: {key: found[option][key] for key in value} if isinstance(value, dict) else found[option]
        for option, value in fields.wanted(table, options).items()
        if value is not None
    }


def test_a_new_instance_has_what_was_asked_for() -> None:
    instance = answered(insert_body("demo", GIVEN, {"selfLink": "image"}))
    assert seen(GIVEN, instance) == fields.wanted(instance_fields("demo", GIVEN), GIVEN)
    assert instance["labels"] == {"app": "fanops", "big": "TRUE"}
    assert instance["scheduling"]["instanceTerminationAction"] == "STOP"


def test_a_new_instance_without_options_gets_an_address_a_network_and_no_identity() -> None:
    body = insert_body("demo", {**GIVEN, **NOT_MANAGED}, {"selfLink": "image"})
    (nic,) = body["networkInterfaces"]
    assert nic["network"].endswith("/global/networks/default") and len(nic["accessConfigs"]) == 1
    assert not {"serviceAccounts", "labels", "metadata", "tags"} & set(body)
    assert body["scheduling"] == {
        "automaticRestart": False,
        "onHostMaintenance": "MIGRATE",
        "provisioningModel": "STANDARD",
    }


def test_every_option_that_can_be_changed_is_predicted_and_nothing_else_is_touched() -> None:
    before = answered(insert_body("demo", GIVEN, {"selfLink": "image"}))
    original = deepcopy(before)
    after = predicted("demo", OTHER, before)
    assert before == original
    changeable = {field.option for field in instance_fields("demo", OTHER) if field.when != CREATE}
    wanted = fields.wanted(instance_fields("demo", OTHER), OTHER)
    assert {option: seen(OTHER, after)[option] for option in changeable} == {key: wanted[key] for key in changeable}
    assert after["labels"]["big"] == "TRUE"
    assert after["scheduling"]["onHostMaintenance"] == "MIGRATE"
    assert predicted("demo", {**GIVEN, **NOT_MANAGED}, before) == before


def test_both_options_of_the_identity_share_a_request_that_keeps_the_other_one() -> None:
    current = {"serviceAccounts": [{"email": "old", "scopes": ["old"]}]}
    requests = [
        field.request(current, None)
        for options in ({**GIVEN, "scopes": None}, {**GIVEN, "service_account_email": None})
        for field in instance_fields("demo", options)
        if field.option == "scopes" and field.request
    ]
    assert requests == [
        {"email": "m4@demo.iam.gserviceaccount.com", "scopes": ["old"]},
        {"email": "old", "scopes": ["one"]},
    ]
