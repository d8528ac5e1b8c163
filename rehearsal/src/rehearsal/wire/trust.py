# SPDX-License-Identifier: GPL-3.0-or-later
"""The front door's certificate authority, and the environment that points any Google client at the front door."""

from __future__ import annotations

import os
from pathlib import Path

from mitmproxy.certs import CertStore

from rehearsal.settings import Settings

IDENTITIES = ("deployer", "owner", "impersonated", "federated")
HOST_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def ensure_authority(settings: Settings) -> None:
    """Make the authority once, and a bundle of it with whatever this machine already trusts."""
    settings.ca_certificate.parent.mkdir(parents=True, exist_ok=True)
    CertStore.from_store(settings.ca_certificate.parent, "mitmproxy", 2048)
    trusted = host_authorities(settings)
    bundle = trusted.rstrip("\n") + "\n" + settings.ca_certificate.read_text(encoding="utf-8")
    if not settings.ca_bundle.exists() or settings.ca_bundle.read_text(encoding="utf-8") != bundle:
        settings.ca_bundle.write_text(bundle, encoding="utf-8")


def host_authorities(settings: Settings) -> str:
    """Return the PEM text of what this machine trusts by itself; empty where it has no bundle."""
    candidates = (os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("SSL_CERT_FILE"), *HOST_BUNDLES)
    for path in (Path(name) for name in candidates if name):
        if path.is_file() and path.resolve() != settings.ca_bundle.resolve():
            return path.read_text(encoding="utf-8")
    return ""


def client_environment(settings: Settings, identity: str = "deployer") -> dict[str, str]:
    """Return what a corporate network would set too: a proxy, a CA bundle, a project; and how `identity` signs in.

    `identity` is one of IDENTITIES. Only the deployer has a key file; the others have application default credentials.
    """
    bundle = str(settings.ca_bundle)
    file = str(settings.credentials(identity))
    has_key = identity == "deployer"
    gcloud = "owner-gcloud" if identity == "owner" else identity
    local = "localhost,127.0.0.1,::1"
    return {
        "HTTPS_PROXY": settings.proxy_url,
        "https_proxy": settings.proxy_url,
        "NO_PROXY": local,
        "no_proxy": local,
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": bundle,
        "GCP_PROJECT": settings.project_id,
        "GCP_AUTH_KIND": "serviceaccount" if has_key else "application",
        "GCP_SERVICE_ACCOUNT_FILE": file if has_key else "",
        "GOOGLE_APPLICATION_CREDENTIALS": file,
        "GOOGLE_CLOUD_PROJECT": settings.project_id,
        "CLOUDSDK_CONFIG": str(settings.home / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": settings.project_id,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": bundle,
        "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(settings.credentials(gcloud)),
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": str(settings.frontdoor_port),
        # gcloud names the account on the VM after the local user, and Debian's images at Google let no root in.
        "LOGNAME": "engineer",
    }
