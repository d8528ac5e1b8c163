# SPDX-License-Identifier: GPL-3.0-or-later
"""Which APIs a project has enabled (Service Usage).

Store kind `serviceusage`, key `PROJECT/SERVICE`, only for services whose state differs from that of a new project:
`{"enabled", "served_from"}`, the latter (seconds since the epoch) where calls are refused for a while after enabling.
"""

from __future__ import annotations

import time

from rehearsal import trouble
from rehearsal.store import Store

KIND = "serviceusage"
# Title by service; `title` is what the console and the SERVICE_DISABLED message call it.
TITLES = {
    "artifactregistry.googleapis.com": "Artifact Registry API",
    "cloudapis.googleapis.com": "Google Cloud APIs",
    "cloudbilling.googleapis.com": "Cloud Billing API",
    "cloudbuild.googleapis.com": "Cloud Build API",
    "cloudfunctions.googleapis.com": "Cloud Functions API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "compute.googleapis.com": "Compute Engine API",
    "eventarc.googleapis.com": "Eventarc API",
    "iam.googleapis.com": "Identity and Access Management (IAM) API",
    "iamcredentials.googleapis.com": "IAM Service Account Credentials API",
    "iap.googleapis.com": "Cloud Identity-Aware Proxy API",
    "logging.googleapis.com": "Cloud Logging API",
    "monitoring.googleapis.com": "Cloud Monitoring API",
    "oslogin.googleapis.com": "Cloud OS Login API",
    "pubsub.googleapis.com": "Cloud Pub/Sub API",
    "run.googleapis.com": "Cloud Run Admin API",
    "secretmanager.googleapis.com": "Secret Manager API",
    "servicemanagement.googleapis.com": "Service Management API",
    "serviceusage.googleapis.com": "Service Usage API",
    "storage-api.googleapis.com": "Google Cloud Storage JSON API",
    "storage-component.googleapis.com": "Cloud Storage",
    "storage.googleapis.com": "Cloud Storage API",
}
# Enabled in every new project, plus what gcloud itself cannot do without.
INITIALLY_ENABLED = frozenset(
    {
        "cloudapis.googleapis.com",
        "cloudbilling.googleapis.com",
        "cloudresourcemanager.googleapis.com",
        "iam.googleapis.com",
        "iamcredentials.googleapis.com",
        "logging.googleapis.com",
        "monitoring.googleapis.com",
        "servicemanagement.googleapis.com",
        "serviceusage.googleapis.com",
        "storage-api.googleapis.com",
        "storage-component.googleapis.com",
        "storage.googleapis.com",
    }
)
# Never gated: they are the front end itself.
ALWAYS_ENABLED = frozenset(
    {
        "cloudresourcemanager.googleapis.com",
        "iam.googleapis.com",
        "iamcredentials.googleapis.com",
        "oauth2.googleapis.com",
        "openidconnect.googleapis.com",
        "serviceusage.googleapis.com",
        "www.googleapis.com",
    }
)
# Enabling the left one enables the right ones, as on Google.
DEPENDENCIES = {
    "compute.googleapis.com": ("oslogin.googleapis.com",),
    "cloudbuild.googleapis.com": ("logging.googleapis.com", "storage.googleapis.com"),
    "run.googleapis.com": ("artifactregistry.googleapis.com",),
}


# Nothing of these is free enough to be served without a billing account.
BILLED = frozenset(
    {
        "artifactregistry.googleapis.com",
        "cloudbuild.googleapis.com",
        "cloudfunctions.googleapis.com",
        "compute.googleapis.com",
        "run.googleapis.com",
    }
)


class Services:
    """The enabled APIs of each project."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, service: str) -> bool:
        """Whether Google (as far as it is rehearsed) has such a service."""
        return service in TITLES

    def title(self, service: str) -> str:
        """Return the name people know the service by."""
        return TITLES.get(service, service)

    def is_enabled(self, project: str, service: str) -> bool:
        """Whether the service is enabled, as Service Usage shows it."""
        if service in ALWAYS_ENABLED:
            return True
        document = self._store.get(KIND, f"{project}/{service}")
        return bool(document["enabled"]) if document else service in INITIALLY_ENABLED

    def is_served(self, project: str, service: str) -> bool:
        """Whether calls to the service are answered: it is enabled, and everywhere knows it by now."""
        document = self._store.get(KIND, f"{project}/{service}") or {}
        if document.get("served_from", 0) > time.time():
            trouble.meet(self._store, trouble.API_DELAY)
            return False
        return self.is_enabled(project, service)

    def enable(self, project: str, service: str) -> None:
        """Enable the service and those it needs; one that is enabled already stays as it is."""
        delay = trouble.seconds(self._store, trouble.API_DELAY)
        later = {"served_from": time.time() + delay} if delay else {}
        for name in (service, *DEPENDENCIES.get(service, ())):
            if not self.is_enabled(project, name):
                self._store.put(KIND, f"{project}/{name}", {"enabled": True} | later)

    def billing_enabled(self) -> bool:
        """Whether the project has a billing account that pays."""
        return not trouble.setting(self._store, trouble.BILLING)

    def disable(self, project: str, service: str) -> None:
        """Disable the service."""
        self._store.put(KIND, f"{project}/{service}", {"enabled": False})

    def dependents(self, project: str, service: str) -> list[str]:
        """Return the enabled services that need this one."""
        return [name for name, needs in DEPENDENCIES.items() if service in needs and self.is_enabled(project, name)]
