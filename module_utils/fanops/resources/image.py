# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot image: the first image family of a list that exists."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fanops.api.client import Client, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError


def newest_image(client: Client, families: list[str], project: str) -> tuple[dict[str, Any], str]:
    """The newest image of the first family that exists, and that family's name.

    Families end: Google removed debian-11 in September 2026, and asking for it is a 404 since.
    """
    for family in families:
        image = client.find(
            f"{compute_url(project)}/global/images/family/{segment(family)}",
            attempting=f"look up image family {family} of {project}",
        )
        if image is not None:
            return image, family
    raise GoogleApiError(
        "choose a boot image",
        f"{project} has none of the image families {', '.join(families)}",
        f"Set vm_image_families to one that exists: 'gcloud compute images list --project {project}' shows them.",
        status=404,
        reason="notFound",
    )


def family_of(instance: dict[str, Any], families: list[str]) -> str | None:
    """Which of ``families`` an existing instance was made from, told by the licences on its boot disk."""
    for disk in instance.get("disks", []):
        for licence in disk.get("licenses", []):
            name = licence.rsplit("/", 1)[-1]
            for family in families:
                if name == family or name.startswith(f"{family}-"):
                    return family
    return None
