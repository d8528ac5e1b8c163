# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployer's role, which an owner creates from its file: Google would take it, and it is all that the deployer has."""

from __future__ import annotations

from typing import Any

import yaml

from rehearsal.services.iam.known_permissions import check_permissions


def test_the_deployers_role_is_one_that_google_would_take_and_all_that_it_has(control_plane: Any) -> None:
    role = yaml.safe_load(control_plane.settings.deployer_role.read_text())
    check_permissions(role["includedPermissions"])
    identity, project = control_plane.identity, control_plane.settings.project_id
    assert all(identity.allowed(identity.deployer, name, project) for name in role["includedPermissions"])
    for beyond in (
        "resourcemanager.projects.setIamPolicy",
        "iam.serviceAccountKeys.create",
        "iam.serviceAccounts.disable",
    ):
        assert not identity.allowed(identity.deployer, beyond, project)
        assert identity.allowed(identity.owner, beyond, project)
