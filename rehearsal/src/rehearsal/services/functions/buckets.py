# SPDX-License-Identifier: GPL-3.0-or-later
"""The buckets that Cloud Functions makes in a project and does not delete: of the sources, and of what is uploaded.

As two public listings of such projects show them; the uploads' name is that of projects since 2025.
"""

from __future__ import annotations

from urllib.parse import quote

from rehearsal.cloud import Cloud
from rehearsal.services.storage import buckets
from rehearsal.services.storage.server import BUCKETS, ask_server

ORIGINS = [
    "https://*.cloud.google.com",
    "https://*.corp.google.com",
    "https://*.corp.google.com:*",
    "https://*.cloud.google",
    "https://*.byoid.goog",
]


def sources(number: str, region: str) -> str:
    """Return the bucket that keeps the deployed sources, `FUNCTION/function-source.zip`, and three versions before them."""
    return f"gcf-v2-sources-{number}-{region}"


def uploads(number: str, region: str) -> str:
    """Return the bucket that takes uploads; Google empties it about once a day."""
    return f"gcf-v2-uploads-{number}.{region}.cloudfunctions.appspot.com"


def store(cloud: Cloud, project: str, bucket: str, region: str, name: str, data: bytes) -> None:
    """Put an object there as Google's agent does, and make the bucket first where there is none."""
    make(cloud, project, bucket, region)
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
    ask_server(cloud, "POST", target, data, {"Content-Type": "application/zip"})


def make(cloud: Cloud, project: str, bucket: str, region: str) -> None:
    """Make one of the two buckets, unless it is there."""
    kept = bucket.startswith("gcf-v2-sources-")
    with cloud.store.lock:
        if BUCKETS.get(cloud.store, bucket) is not None:
            return
        old = {"isLive": False, "numNewerVersions": 3} if kept else {"isLive": True}
        body = {
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            "labels": {"goog-managed-by": "cloudfunctions"},
            "versioning": {"enabled": kept},
            "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": old}]},
            "cors": [
                {
                    "origin": ORIGINS,
                    "method": ["GET" if kept else "PUT"],
                    "responseHeader": ["*"],
                    "maxAgeSeconds": 3600,
                }
            ],
        }
        buckets.create(cloud, project, bucket, region.upper(), body)
