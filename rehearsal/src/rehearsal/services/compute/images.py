# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.images and imageFamilyViews: the families of debian-cloud that the rehearsal can build.

A family that is withdrawn, or whose image could not be built, answers 404 as Google does for a family it has removed.
Public images may be read by anybody who is authenticated, whatever the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal.services.compute import catalogue, errors, fingerprints, links
from rehearsal.services.compute.kinds import Kind
from rehearsal.services.compute.listing import Resource
from rehearsal.wire.calls import SIGNED_IN, Call, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

PROJECT = "debian-cloud"
FAMILIES = {
    "debian-11": ("bullseye", "Debian GNU/Linux 11 (bullseye)"),
    "debian-12": ("bookworm", "Debian GNU/Linux 12 (bookworm)"),
}
SIZE_GB = 10
# The list of revoked boot loaders; Google's is longer.
SECURE_BOOT = {"dbxs": [{"content": "", "fileType": "BIN"}]}
OS_FEATURES = [{"type": "UEFI_COMPATIBLE"}, {"type": "VIRTIO_SCSI_MULTIQUEUE"}, {"type": "GVNIC"}]


@dataclass(frozen=True)
class BootImage:
    """An image that a disk can be made from; `family` names what the guest boots."""

    family: str
    name: str

    @property
    def path(self) -> str:
        """The image's path from `projects/` on."""
        return f"projects/{PROJECT}/global/images/{self.name}"

    @property
    def license(self) -> str:
        """The URL of the image's licence."""
        return links.link(f"projects/{PROJECT}/global/licenses/{self.family}-{FAMILIES[self.family][0]}")

    @property
    def license_codes(self) -> list[str]:
        """The licence as a number."""
        return [fingerprints.stable_id(self.license)]


def resource(image: BootImage) -> Resource:
    """Return an Image."""
    published = image.name.rpartition("-v")[2]
    created = (
        f"{published[:4]}-{published[4:6]}-{published[6:8]}T00:00:00.000-08:00"
        if len(published) == 8
        else catalogue.EPOCH
    )
    return {
        "kind": "compute#image",
        "id": fingerprints.stable_id(image.path),
        "creationTimestamp": created,
        "name": image.name,
        "description": f"Debian, {FAMILIES[image.family][1]}, amd64 built on {published}",
        "family": image.family,
        "sourceType": "RAW",
        "rawDisk": {"source": "", "containerType": "TAR"},
        "status": "READY",
        "architecture": "X86_64",
        "archiveSizeBytes": str(1024**3),
        "diskSizeGb": str(SIZE_GB),
        "guestOsFeatures": OS_FEATURES,
        "labelFingerprint": fingerprints.EMPTY,
        "licenses": [image.license],
        "licenseCodes": image.license_codes,
        "shieldedInstanceInitialState": SECURE_BOOT,
        "selfLink": links.link(image.path),
        "storageLocations": ["us"],
    }


def current(cloud: Cloud, project: str, family: str) -> BootImage | None:
    """Return the image that a family stands for, None when the family is unknown or withdrawn."""
    if project != PROJECT or family not in FAMILIES:
        return None
    status = cloud.images.status(family)
    if status == "withdrawn" or status.startswith("failed"):
        return None
    return BootImage(family, cloud.images.name(family))


def _why_not(cloud: Cloud, project: str, family: str) -> str:
    """Say why a family that the rehearsal has is not offered; nothing where Google would say nothing."""
    if project == PROJECT and family in FAMILIES:
        status: str = cloud.images.status(family)
        if status.startswith("failed"):
            return f" (the rehearsal cloud could not build it: {status.partition(':')[2].strip()})"
    return ""


def from_family(cloud: Cloud, project: str, family: str) -> BootImage:
    """Return the image that a family stands for.

    Raises ApiError 404 when the family is unknown or withdrawn.
    """
    image = current(cloud, project, family)
    if image is None:
        error = errors.not_found(f"projects/{project}/global/images/family/{family}")
        error.message += _why_not(cloud, project, family)
        raise error
    return image


def by_name(cloud: Cloud, project: str, name: str) -> BootImage:
    """Return the image of that name.

    Raises ApiError 404 when the project has no image of that name.
    """
    for image in available(cloud, project):
        if image.name == name:
            return image
    raise errors.not_found(f"projects/{project}/global/images/{name}")


def available(cloud: Cloud, project: str) -> list[BootImage]:
    """Return the images of a project."""
    found = (current(cloud, project, family) for family in FAMILIES)
    return [image for image in found if image is not None]


def of_reference(cloud: Cloud, value: str, project: str, field: str) -> BootImage:
    """Return the image that a `sourceImage` names: by image, by family, or by gcloud's image family view.

    Raises ApiError 400 for a malformed reference, 404 for an image or family that is not there.
    """
    found = links.resolve(value, project, "images", "imageFamilyViews", field=field)
    if found.collection == "imageFamilyViews":
        return from_family(cloud, found.project, found.name)
    if found.scope != "global":
        raise errors.malformed_url(field, value)
    family = found.name.removeprefix("family/")
    if family != found.name:
        return from_family(cloud, found.project, family)
    return by_name(cloud, found.project, found.name)


@method("compute.images.getFromFamily", permission=SIGNED_IN)
def get_from_family(call: Call) -> Resource:
    """Return the image that a family stands for."""
    return resource(from_family(call.cloud, call.project, call.params["family"]))


@method("compute.imageFamilyViews.get", permission=SIGNED_IN)
def get_family_view(call: Call) -> Resource:
    """Return the image that a family stands for in a zone; the zone `-` is any."""
    if call.params["zone"] != "-":
        catalogue.zone_of(call)
    return {"image": resource(from_family(call.cloud, call.project, call.params["family"]))}


IMAGES = Kind(
    "images", "image", "global", lambda call, _: [resource(image) for image in available(call.cloud, call.project)]
)
IMAGES.serve("compute.images.get", "compute.images.list", permission=SIGNED_IN)
