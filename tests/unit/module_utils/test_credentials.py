# SPDX-License-Identifier: GPL-3.0-or-later
"""Where credentials come from, and what is said where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google.auth
import google.auth.exceptions
import google.oauth2.credentials
import google.oauth2.id_token
import pytest
from ansible.module_utils.fanops.api import credentials
from ansible.module_utils.fanops.api.errors import GoogleApiError


@pytest.mark.parametrize(
    ("kind", "file", "token", "expected"),
    [
        (None, None, None, "application"),
        (None, "key.json", None, "serviceaccount"),
        (None, None, "ya29", "accesstoken"),
        ("application", "key.json", "ya29", "application"),
    ],
)
def test_kind_follows_from_what_is_given(kind: str | None, file: str | None, token: str | None, expected: str) -> None:
    assert credentials.auth_kind(kind, file, token) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[]", "is not a service account key"),
        ('{"a": 1}', "no client_email"),
    ],
)
def test_useless_key_file_is_named(tmp_path: Path, content: str | None, expected: str) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(GoogleApiError, match=expected) as found:
        credentials.load("serviceaccount", str(file), None, project="demo")
    assert str(file) in str(found.value) and "GCP_SERVICE_ACCOUNT_FILE" in str(found.value)


def test_damaged_private_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"client_email": "a@b", "private_key": "nonsense", "token_uri": "https://x"}))
    with pytest.raises(GoogleApiError, match=r"private key .* is damaged"):
        credentials.load("serviceaccount", str(file), None, project="demo")


def test_missing_choices_are_named() -> None:
    with pytest.raises(GoogleApiError, match="no service_account_file"):
        credentials.load("serviceaccount", None, None, project="demo")
    with pytest.raises(GoogleApiError, match="GCP_ACCESS_TOKEN"):
        credentials.load("accesstoken", None, None, project="demo")


def test_no_default_credentials_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**kwargs: Any) -> Any:
        raise google.auth.exceptions.DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", nothing)
    with pytest.raises(GoogleApiError) as found:
        credentials.load(None, None, None, project="demo")
    assert str(found.value) == (
        "Could not sign in to Google Cloud: there are no application default credentials. Set"
        " GCP_AUTH_KIND=serviceaccount and GCP_SERVICE_ACCOUNT_FILE=<key file>, or run 'gcloud auth"
        " application-default login'."
    )


def test_access_token_is_used_as_it_is() -> None:
    found, account = credentials.load(None, None, "ya29.token", project="demo")
    assert found.token == "ya29.token" and account == ""


def test_refused_sign_in_and_dead_token_server_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session = credentials.Session(credentials.load(None, None, "t", project="demo")[0], "me@demo")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise google.auth.exceptions.RefreshError("invalid_grant: Invalid JWT Signature.", {})

    monkeypatch.setattr(session._session, "request", refuse)
    with pytest.raises(GoogleApiError, match=r"Google refused me@demo .*Invalid JWT Signature"):
        session.request("GET", "https://x")

    def unreachable(*args: Any, **kwargs: Any) -> Any:
        raise google.auth.exceptions.TransportError("ProxyError: cannot connect to proxy")

    monkeypatch.setattr(session._session, "request", unreachable)
    with pytest.raises(GoogleApiError, match="HTTPS_PROXY") as found:
        session.request("GET", "https://x")
    assert found.value.retryable


def test_an_id_token_of_a_persons_own_credentials_is_the_one_they_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    own = google.oauth2.credentials.Credentials("ya29", id_token="a person's")
    monkeypatch.setattr(own, "refresh", lambda request: None)
    monkeypatch.setattr(google.auth, "default", lambda scopes, quota_project_id: (own, None))
    monkeypatch.setattr(
        google.oauth2.id_token, "fetch_id_token", lambda request, audience: f"an account's for {audience}"
    )
    assert credentials.id_token(None, None, None, audience="https://f.test", project="demo") == "a person's"
    # what is no person's is asked for the audience
    monkeypatch.setattr(google.auth, "default", lambda scopes, quota_project_id: (object(), None))
    assert (
        credentials.id_token(None, None, None, audience="https://f.test", project="demo")
        == "an account's for https://f.test"
    )
    with pytest.raises(GoogleApiError, match="an access token cannot be exchanged"):
        credentials.id_token(None, None, "ya29", audience="https://f.test", project="demo")
