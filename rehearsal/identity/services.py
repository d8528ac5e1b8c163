# SPDX-License-Identifier: GPL-3.0-or-later
"""Which APIs a project has enabled (Service Usage).

Store kind `serviceusage`, key `PROJECT/SERVICE`, only for services whose state differs from that of a new project.
"""

from __future__ import annotations

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
        """Whether calls to the service are served for this project."""
        if service in ALWAYS_ENABLED:
            return True
        document = self._store.get(KIND, f"{project}/{service}")
        return bool(document["enabled"]) if document else service in INITIALLY_ENABLED

    def enable(self, project: str, service: str) -> None:
        """Enable the service and those it needs."""
        for name in (service, *DEPENDENCIES.get(service, ())):
            self._store.put(KIND, f"{project}/{name}", {"enabled": True})

    def disable(self, project: str, service: str) -> None:
        """Disable the service."""
        self._store.put(KIND, f"{project}/{service}", {"enabled": False})

    def dependents(self, project: str, service: str) -> list[str]:
        """Return the enabled services that need this one."""
        return [name for name, needs in DEPENDENCIES.items() if service in needs and self.is_enabled(project, name)]
