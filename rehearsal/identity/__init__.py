# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who and who may do what: OAuth and ID tokens, service accounts, IAM policies, enabled APIs."""

from rehearsal.identity import (  # noqa: F401 - imported to register their handlers
    credentials_api,
    iam_api,
    oauth,
    other_apis,
    resourcemanager_api,
    roles_api,
    serviceusage_api,
)
from rehearsal.identity.service import CLOUD_PLATFORM, FOREIGN_PROJECT, GCLOUD_CLIENT_ID, Caller, Identity

__all__ = ["CLOUD_PLATFORM", "FOREIGN_PROJECT", "GCLOUD_CLIENT_ID", "Caller", "Identity"]
