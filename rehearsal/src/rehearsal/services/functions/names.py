# SPDX-License-Identifier: GPL-3.0-or-later
"""What a function is called: resource names, addresses, and the rules for what a person may write.

Rules from the cloudfunctions.v2 discovery document and https://cloud.google.com/functions/quotas.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from rehearsal.errors import ApiError
from rehearsal.services.iam.resources import project_of
from rehearsal.wire.calls import Call

# https://cloud.google.com/functions/docs/locations
REGIONS = (
    "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3",
    "asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2", "australia-southeast1", "australia-southeast2",
    "europe-central2", "europe-north1", "europe-southwest1", "europe-west1", "europe-west10", "europe-west12",
    "europe-west2", "europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9", "me-central1",
    "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2", "southamerica-east1",
    "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2",
    "us-west3", "us-west4",
)  # fmt: skip
# In the addresses of services; only these are known to us.
REGION_CODES = {
    "asia-east1": "de", "asia-northeast1": "an", "europe-west1": "ew", "us-central1": "uc", "us-east1": "ue",
    "us-east4": "uk", "us-west1": "uw",
}  # fmt: skip
FUNCTION_ID = re.compile(r"[a-z]([a-z0-9-]{2,61}[a-z0-9])")
MEMORY = re.compile(r"(\d+)(k|M|G|Ki|Mi|Gi)?")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# "128M" is on offer, so the smallest is counted in powers of ten and the largest in powers of two.
MEMORY_RANGE = (128 * 10**6, 32 * 2**30)
# CPU shares that come with a memory size, https://cloud.google.com/functions/docs/configuring/memory.
CPU_BY_MEMORY = ((128, "0.0833"), (256, "0.1666"), (512, "0.3333"), (1024, "0.5833"), (2048, "1"), (4096, "2"))


@dataclass(frozen=True)
class FunctionName:
    """A function: project id, region and id."""

    project: str
    region: str
    id: str

    @property
    def key(self) -> str:
        """Key of the store's `functions` documents."""
        return f"{self.project}/{self.region}/{self.id}"

    @property
    def resource(self) -> str:
        """Resource name of the function, also that of its own policy."""
        return f"projects/{self.project}/locations/{self.region}/functions/{self.id}"

    @property
    def service(self) -> str:
        """Resource name of the Cloud Run service beneath, whose policy says who may call it."""
        return f"projects/{self.project}/locations/{self.region}/services/{self.id}"

    @property
    def uri(self) -> str:
        """The service's own address; its middle is the same for all services of a project in a region."""
        digest = hashlib.sha256(f"{self.project}/{self.region}".encode()).digest()
        code = REGION_CODES.get(self.region, self.region.replace("-", "")[:2])
        return f"https://{self.id[:49]}-{base64.b32encode(digest).decode().lower()[:10]}-{code}.a.run.app"

    @property
    def url(self) -> str:
        """The address in the style of the first generation."""
        return f"https://{self.region}-{self.project}.cloudfunctions.net/{self.id}"

    def addresses(self, project_number: str) -> tuple[str, str, str]:
        """Return all addresses that answer: the service's own, the one with the project's number, the older one."""
        return self.uri, f"https://{self.id}-{project_number}.{self.region}.run.app", self.url


def from_key(key: str) -> FunctionName:
    """Return the name for a store key."""
    return FunctionName(*key.split("/"))


def from_resource(call: Call, name: str) -> FunctionName:
    """Return the name for `projects/P/locations/R/functions|services/ID`; the project may be given by number."""
    parts = name.split("/")
    return FunctionName(project_of(call, parts[1]), parts[3], parts[5])


def check_region(region: str) -> None:
    """Raise ApiError 403 for a region that does not exist, as Google does."""
    if region not in REGIONS:
        raise ApiError(403, "forbidden", f"Permission denied on 'locations/{region}' (or it may not exist).")


def check_id(function_id: str) -> None:
    """Raise ApiError 400 for an id that no function may have."""
    if not FUNCTION_ID.fullmatch(function_id):
        raise ApiError(
            400,
            "badRequest",
            f"Function ID '{function_id}' is invalid: it must be 4 to 63 characters of lower-case letters, digits and "
            "hyphens, begin with a letter and not end with a hyphen.",
        )


def memory_bytes(text: str) -> int:
    """Return a memory size such as `256M` or `1Gi` in bytes; ApiError 400 for anything else, or out of range."""
    found = MEMORY.fullmatch(text)
    size = int(found[1]) * UNITS[found[2] or ""] if found else 0
    if not MEMORY_RANGE[0] <= size <= MEMORY_RANGE[1]:
        raise ApiError(
            400,
            "badRequest",
            f"Invalid value for available_memory: '{text}'. It must be a number with one of the units k, M, G, Ki, Mi, "
            "Gi, between 128M and 32Gi.",
        )
    return size


def default_cpu(memory: int) -> str:
    """Return the number of CPUs that come with a memory size, in bytes."""
    mebibytes = memory / 2**20
    return next((cpu for limit, cpu in CPU_BY_MEMORY if mebibytes <= limit), "4" if mebibytes <= 16_384 else "8")
