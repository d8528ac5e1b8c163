# SPDX-License-Identifier: GPL-3.0-or-later
"""Which APIs a project has enabled (Service Usage).

Store kind `serviceusage`, key `PROJECT/SERVICE`, only for services whose state differs from that of a new project:
`{"enabled", "served_from"}`, the latter (seconds since the epoch) where calls are refused for a while after enabling.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rehearsal import trouble
from rehearsal.store import Store

KIND = "serviceusage"


@dataclass(frozen=True)
class Known:
    """A service. `title` is what the console and the SERVICE_DISABLED message call it.

    `initially`: enabled in every new project. `billed`: not served without a billing account.
    """

    title: str
    initially: bool = False
    billed: bool = False


KNOWN = {
    "artifactregistry.googleapis.com": Known("Artifact Registry API", billed=True),
    "cloudapis.googleapis.com": Known("Google Cloud APIs", initially=True),
    "cloudbilling.googleapis.com": Known("Cloud Billing API"),
    "cloudbuild.googleapis.com": Known("Cloud Build API", billed=True),
    "cloudfunctions.googleapis.com": Known("Cloud Functions API", billed=True),
    "cloudresourcemanager.googleapis.com": Known("Cloud Resource Manager API"),
    "compute.googleapis.com": Known("Compute Engine API", billed=True),
    "eventarc.googleapis.com": Known("Eventarc API"),
    "iam.googleapis.com": Known("Identity and Access Management (IAM) API"),
    "iamcredentials.googleapis.com": Known("IAM Service Account Credentials API"),
    "iap.googleapis.com": Known("Cloud Identity-Aware Proxy API"),
    "logging.googleapis.com": Known("Cloud Logging API", initially=True),
    "monitoring.googleapis.com": Known("Cloud Monitoring API", initially=True),
    "orgpolicy.googleapis.com": Known("Organization Policy API"),
    "oslogin.googleapis.com": Known("Cloud OS Login API"),
    "pubsub.googleapis.com": Known("Cloud Pub/Sub API"),
    "run.googleapis.com": Known("Cloud Run Admin API", billed=True),
    "secretmanager.googleapis.com": Known("Secret Manager API"),
    "servicemanagement.googleapis.com": Known("Service Management API", initially=True),
    "serviceusage.googleapis.com": Known("Service Usage API", initially=True),
    "storage-api.googleapis.com": Known("Google Cloud Storage JSON API", initially=True),
    "storage-component.googleapis.com": Known("Cloud Storage", initially=True),
    "storage.googleapis.com": Known("Cloud Storage API", initially=True),
}
BILLED = frozenset(name for name, known in KNOWN.items() if known.billed)
# Never gated: they are the front end itself.
ALWAYS_ENABLED = frozenset(
    {
        "oauth2.googleapis.com",
        "openidconnect.googleapis.com",
        "serviceusage.googleapis.com",
        "sts.googleapis.com",
        "www.googleapis.com",
    }
)
# Their calls count, and are gated, by the caller's project rather than the resource's,
# https://cloud.google.com/docs/quotas/quota-project.
CLIENT_BASED = frozenset(
    {
        "cloudbilling.googleapis.com",
        "cloudresourcemanager.googleapis.com",
        "iam.googleapis.com",
        "orgpolicy.googleapis.com",
        "serviceusage.googleapis.com",
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
        return service in KNOWN

    def title(self, service: str) -> str:
        """Return the name people know the service by."""
        return KNOWN[service].title if service in KNOWN else service

    def is_enabled(self, project: str, service: str) -> bool:
        """Whether the service is enabled, as Service Usage shows it."""
        if service in ALWAYS_ENABLED:
            return True
        document = self._store.get(KIND, f"{project}/{service}")
        return bool(document["enabled"]) if document else service in KNOWN and KNOWN[service].initially

    def is_served(self, project: str, service: str) -> bool:
        """Whether calls to the service are answered: it is enabled, and everywhere knows it by now."""
        document = self._store.get(KIND, f"{project}/{service}") or {}
        if document.get("served_from", 0) > time.time():
            trouble.count_hit(self._store, trouble.API_DELAY)
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
