# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials by google-auth, chosen with google.cloud's option names. No Ansible in here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.fanops.api import errors
from ansible.module_utils.fanops.api.errors import GoogleApiError

try:
    import google.auth
    import google.auth.exceptions
    import google.auth.external_account
    import google.auth.impersonated_credentials
    import google.auth.transport.requests
    import google.oauth2.credentials
    import google.oauth2.id_token
    import google.oauth2.service_account
    import requests
except ImportError:  # reported by fanops.options before anything here is called
    google = None  # type: ignore[assignment]

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"  # noqa: S105 - an address
ATTEMPTING = "sign in to Google Cloud"


def auth_kind(kind: str | None, key_file: str | None, access_token: str | None) -> str:
    """The kind meant by the options: an explicit one, else what is given, else application default credentials."""
    if kind:
        return kind
    if key_file:
        return "serviceaccount"
    return "accesstoken" if access_token else "application"


def read_key_file(path: str | None) -> dict[str, Any]:
    """The content of a service account key file; raises GoogleApiError with what is wrong with it."""
    if not path:
        raise GoogleApiError(
            ATTEMPTING, "auth_kind is serviceaccount but no service_account_file is given", errors.CREDENTIALS_REMEDY
        )
    file = Path(path).expanduser()
    remedy = "Point GCP_SERVICE_ACCOUNT_FILE at a JSON key of a service account."
    try:
        info: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise GoogleApiError(ATTEMPTING, f"cannot read {file} ({error.strerror})", remedy) from error
    except ValueError as error:
        raise GoogleApiError(ATTEMPTING, f"{file} is not JSON", remedy) from error
    missing = [
        key for key in ("client_email", "private_key", "token_uri") if not isinstance(info, dict) or not info.get(key)
    ]
    if missing:
        raise GoogleApiError(ATTEMPTING, f"{file} is not a service account key: no {', '.join(missing)}", remedy)
    return info


def load(kind: str | None, key_file: str | None, access_token: str | None, *, project: str) -> tuple[Any, str]:
    """Credentials and the name of the account they belong to ("" if unknown). No network.

    Calls count for ``project``: what ``gcloud auth application-default login`` leaves often names another one, whose APIs are off.
    """
    kind = auth_kind(kind, key_file, access_token)
    if kind == "serviceaccount":
        info = read_key_file(key_file)
        try:
            found = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
        except ValueError as error:
            raise GoogleApiError(
                ATTEMPTING, f"the private key in {key_file} is damaged ({error})", "Create a new key."
            ) from error
        return found.with_quota_project(project), info["client_email"]
    if kind == "accesstoken":
        if not access_token:
            raise GoogleApiError(
                ATTEMPTING, "auth_kind is accesstoken but no access_token is given", "Set GCP_ACCESS_TOKEN."
            )
        return google.oauth2.credentials.Credentials(access_token, quota_project_id=project), ""
    found = _default(project)
    return found, getattr(found, "service_account_email", "") or ""


def _default(project: str) -> Any:
    """Application default credentials: a person's own, or those of an account that a person or a CI system may act as."""
    # Without it, google-auth asks Google for the project of a federated identity.
    os.environ.setdefault("GOOGLE_CLOUD_PROJECT", project)
    try:
        found, _project = google.auth.default(scopes=SCOPES, quota_project_id=project)
    except google.auth.exceptions.DefaultCredentialsError as error:
        found_text = "there are no application default credentials"
        if "GOOGLE_APPLICATION_CREDENTIALS" in str(error) or "File" in str(error):
            found_text = str(error)
        raise GoogleApiError(ATTEMPTING, found_text, errors.CREDENTIALS_REMEDY, reason="noCredentials") from error
    return found


class Session:
    """``google.auth``'s AuthorizedSession whose sign-in failures are GoogleApiErrors too."""

    def __init__(self, credentials: Any, account: str = "") -> None:
        self._account = account
        self._credentials = credentials
        self._session = google.auth.transport.requests.AuthorizedSession(credentials)

    @property
    def account(self) -> str:
        """The account's address. Whose a person's token is, Google says; "" where it cannot be asked."""
        if not self._account and getattr(self._credentials, "token", None):
            try:
                answer = requests.post(TOKEN_INFO, data={"access_token": self._credentials.token}, timeout=10)
                self._account = str(answer.json().get("email", ""))
            except (requests.RequestException, ValueError, AttributeError):
                return ""
        return self._account

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """As ``requests.Session.request``."""
        try:
            return self._session.request(method, url, **kwargs)
        except google.auth.exceptions.RefreshError as error:
            raise sign_in_error(error, self._account) from error
        except google.auth.exceptions.TransportError as error:
            raise errors.from_transport(ATTEMPTING, "https://oauth2.googleapis.com/token", error) from error


def sign_in_error(error: Exception, account: str) -> GoogleApiError:
    """Google refused to issue a token."""
    text = str(error.args[0] if error.args else error)
    who = account or "the application default credentials"
    remedy = "Check that the account exists and is enabled, that its key was not deleted, and that this clock is right."
    if not account:
        remedy = errors.CREDENTIALS_REMEDY
    return GoogleApiError(ATTEMPTING, f"Google refused {who} ({text})", remedy, status=401, reason="refused")


def id_token(kind: str | None, key_file: str | None, access_token: str | None, *, audience: str, project: str) -> str:
    """An ID token for ``audience``: what a private function or Cloud Run service asks for."""
    attempting = f"get an ID token for {audience}"
    request = google.auth.transport.requests.Request()
    kind = auth_kind(kind, key_file, access_token)
    try:
        if kind == "serviceaccount":
            found = google.oauth2.service_account.IDTokenCredentials.from_service_account_info(
                read_key_file(key_file), target_audience=audience
            )
            found.refresh(request)
            return str(found.token)
        if kind == "application":
            return _default_id_token(request, audience, project)
    except google.auth.exceptions.RefreshError as error:
        raise sign_in_error(error, "") from error
    except google.auth.exceptions.TransportError as error:
        raise errors.from_transport(attempting, "https://oauth2.googleapis.com/token", error) from error
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise GoogleApiError(attempting, str(error), errors.CREDENTIALS_REMEDY) from error
    raise GoogleApiError(attempting, "an access token cannot be exchanged for one", errors.CREDENTIALS_REMEDY)


def _default_id_token(request: Any, audience: str, project: str) -> str:
    """From application default credentials. A person's own have no choice of audience: Google's client id is in it."""
    found = _default(project)
    if isinstance(found, google.oauth2.credentials.Credentials):
        found.refresh(request)
        if found.id_token:
            return str(found.id_token)
    if isinstance(found, google.auth.external_account.Credentials):
        found = _impersonating(found)
    if isinstance(found, google.auth.impersonated_credentials.Credentials):
        token = google.auth.impersonated_credentials.IDTokenCredentials(found, audience, include_email=True)
        token.refresh(request)
        return str(token.token)
    return str(google.oauth2.id_token.fetch_id_token(request, audience))


def _impersonating(found: Any) -> Any:
    """A federated identity's account, as credentials that can be asked for ID tokens; raises GoogleApiError without one."""
    if not found.service_account_email:
        raise GoogleApiError(
            "get an ID token",
            "the federated identity acts as no service account, and has no ID tokens of its own",
            "Make the credential configuration with --service-account (gcloud iam workload-identity-pools create-cred-config).",
        )
    info = {key: value for key, value in found.info.items() if key != "service_account_impersonation_url"}
    source = type(found).from_info(info, scopes=SCOPES)
    return google.auth.impersonated_credentials.Credentials(source, found.service_account_email, SCOPES)
