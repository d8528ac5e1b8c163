# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.errors import ApiError
from rehearsal.machine.metadata.server import MetadataServer
from rehearsal.machine.metadata.tree import to_camel, to_kebab
from rehearsal.machine.metadata.view import MetadataView
from rehearsal.settings import Settings

EMAIL = "m4-trainer@p.iam.gserviceaccount.com"
FLAVOR = {"Metadata-Flavor": "Google"}


class Tokens:
    def access_token(self, email: str, scopes: list[str]) -> dict[str, Any]:
        return {"access_token": f"for {email} {len(scopes)}", "expires_in": 3599, "token_type": "Bearer"}

    def id_token(self, email: str, audience: str) -> str:
        return f"jwt.{email}.{audience}"


class Guest:
    def __init__(self, server: MetadataServer) -> None:
        self.server = server
        self.attributes = {"ssh-keys": "a:ssh-rsa A", "my-Key": "v"}
        self.published: dict[str, dict[str, str]] = {}
        self.view = MetadataView(
            project_id="p",
            project_number="12",
            instance=lambda: {
                "id": 7,
                "name": "vm",
                "zone": "projects/12/zones/z",
                "machineType": "projects/12/machineTypes/e2-micro",
                "attributes": dict(self.attributes),
                "networkInterfaces": [{"ip": "10.128.0.2", "accessConfigs": [{"externalIp": "203.0.113.5"}]}],
                "tags": ["web"],
            },
            project_attributes=lambda: {"shared": "yes"},
            service_account={"email": EMAIL, "scopes": ["s1", "s2"]},
            put_guest_attribute=lambda ns, key, value: self.published.setdefault(ns, {}).update({key: value}),
            get_guest_attributes=lambda: self.published,
        )
        server.register("127.0.0.1", self.view)

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        full = path if path == "/" else "/computeMetadata/v1/" + path
        connection.request(method, full, body=body, headers=FLAVOR if headers is None else headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text, response.headers

    def text(self, path: str) -> str:
        status, text, _ = self.ask(path)
        assert status == 200, (status, text)
        return text


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    made = MetadataServer(Settings(metadata_address="127.0.0.1"), Tokens())
    made.start(port=0)
    yield made
    made.stop()


@pytest.fixture
def guest(server: MetadataServer) -> Guest:
    return Guest(server)


def test_the_ping_that_clients_look_for(guest: Guest) -> None:
    status, _, headers = guest.ask("/")
    assert (status, headers["Metadata-Flavor"]) == (200, "Google")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("project/project-id", "p"),
        ("project/numeric-project-id", "12"),
        ("project/attributes/shared", "yes"),
        ("instance/id", "7"),
        ("instance/machine-type", "projects/12/machineTypes/e2-micro"),
        ("instance/attributes/ssh-keys", "a:ssh-rsa A"),
        ("instance/attributes/my-Key", "v"),
        ("instance/attributes/", "my-Key\nssh-keys\n"),
        ("instance/tags", '["web"]'),
        ("instance/network-interfaces/", "0/\n"),
        ("instance/network-interfaces/0/ip", "10.128.0.2"),
        ("instance/network-interfaces/0/access-configs/0/external-ip", "203.0.113.5"),
        ("instance/service-accounts/", f"default/\n{EMAIL}/\n"),
        ("instance/service-accounts/default/", "aliases\nemail\nidentity\nscopes\ntoken\n"),
        ("instance/service-accounts/default/email", EMAIL),
        (f"instance/service-accounts/{EMAIL}/scopes", "s1\ns2\n"),
        ("instance/service-accounts/default/identity?audience=https://f&format=full", f"jwt.{EMAIL}.https://f"),
        ("instance/name?alt=json", '"vm"'),
    ],
)
def test_single_values(guest: Guest, path: str, text: str) -> None:
    assert guest.text(path) == text


def test_recursive_is_json_with_field_names_unless_text_is_asked_for(guest: Guest) -> None:
    tree = json.loads(guest.text("?recursive=true"))
    assert tree["project"] == {"attributes": {"shared": "yes"}, "numericProjectId": 12, "projectId": "p"}
    assert tree["instance"]["attributes"]["my-Key"] == "v"
    account = json.loads(guest.text("instance/service-accounts/default/?recursive=true"))
    assert account == {"aliases": ["default"], "email": EMAIL, "scopes": ["s1", "s2"]}
    text = guest.text("instance/?recursive=true&alt=text")
    assert "machine-type projects/12/machineTypes/e2-micro\n" in text
    assert "attributes/my-Key v\n" in text and "network-interfaces/0/ip 10.128.0.2\n" in text


def test_token(guest: Guest) -> None:
    status, text, headers = guest.ask("instance/service-accounts/default/token?scopes=ignored")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert json.loads(text)["access_token"] == f"for {EMAIL} 2"
    assert guest.ask("instance/service-accounts/default/identity")[0] == 400


def test_without_a_service_account_there_is_no_default(guest: Guest) -> None:
    guest.view.service_account = None
    assert guest.text("instance/service-accounts/") == ""
    for path in ("default/token", "default/email", "default/?recursive=true"):
        assert guest.ask(f"instance/service-accounts/{path}")[0] == 404


def test_the_flavor_header_is_demanded_and_forwarding_refused(guest: Guest) -> None:
    assert guest.ask("instance/id", headers={})[0] == 403
    assert guest.ask("instance/id", headers={**FLAVOR, "X-Forwarded-For": "1.2.3.4"})[0] == 403


def test_unknown_paths_and_folders_without_slash(guest: Guest) -> None:
    assert guest.ask("universe/universe-domain")[0] == 404
    assert guest.ask("instance/attributes/none")[0] == 404
    status, _, headers = guest.ask("instance/attributes")
    assert (status, headers["Location"]) == (301, "/computeMetadata/v1/instance/attributes/")


def test_a_stranger_learns_nothing(guest: Guest) -> None:
    guest.server.unregister("127.0.0.1")
    status, _, headers = guest.ask("/")
    assert status == 404 and "Metadata-Flavor" not in headers


def test_guest_attributes(guest: Guest) -> None:
    assert guest.ask("instance/guest-attributes/hostkeys/ssh-ed25519", "PUT", body="AAAA")[0] == 200
    assert guest.text("instance/guest-attributes/hostkeys/ssh-ed25519") == "AAAA"
    assert guest.text("instance/guest-attributes/hostkeys/") == "ssh-ed25519\n"
    assert guest.ask("instance/guest-attributes/only", "PUT", body="x")[0] == 400
    assert guest.ask("instance/attributes/x", "PUT", body="x")[0] == 405
    guest.view.get_guest_attributes = guest.view.put_guest_attribute = None
    assert guest.ask("instance/guest-attributes/hostkeys/x", "PUT", body="x")[0] == 403
    assert guest.ask("instance/guest-attributes/")[0] == 403


def test_head_is_a_get_without_its_body_and_nothing_is_deleted(guest: Guest) -> None:
    status, body, headers = guest.ask("instance/name", "HEAD")
    assert (status, body, headers["Content-Length"], headers["Metadata-Flavor"]) == (200, "", "2", "Google")
    assert guest.ask("instance/name", "DELETE")[0] == guest.ask("instance/name", "POST", body="x")[0] == 405


def test_a_change_wakes_who_waits(guest: Guest) -> None:
    path = "instance/attributes/?recursive=true&wait_for_change=true&timeout_sec=10"
    _, _, headers = guest.ask("instance/attributes/?recursive=true")
    answers: list[tuple[int, str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(guest.ask(f"{path}&last_etag={headers['ETag']}")))
    waiting.start()
    time.sleep(0.2)
    assert not answers
    guest.server.changed()  # nothing is different: it goes on waiting
    time.sleep(0.2)
    assert not answers
    guest.attributes["new"] = "1"
    guest.server.changed()
    waiting.join(60)
    assert json.loads(answers[0][1])["new"] == "1"
    assert answers[0][2]["ETag"] != headers["ETag"]


def test_waiting_ends_at_once_for_an_old_tag_and_at_the_timeout(guest: Guest) -> None:
    guest.ask("?recursive=true&wait_for_change=true&timeout_sec=100000&last_etag=0")  # or the test would not end
    began = time.monotonic()
    guest.ask("?recursive=true&wait_for_change=true&timeout_sec=1")
    assert time.monotonic() - began > 0.9


def test_many_can_wait_while_others_are_answered(guest: Guest) -> None:
    path = "?recursive=true&wait_for_change=true&timeout_sec=100000"
    waiting = [threading.Thread(target=guest.ask, args=(path,)) for _ in range(40)]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    assert guest.text("instance/name") == "vm"
    guest.attributes["new"] = "1"
    guest.server.changed()
    for thread in waiting:
        thread.join(60)
        assert not thread.is_alive()
        assert not thread.is_alive()


def test_an_error_of_the_identity_service_keeps_its_status(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Tokens, email: str, scopes: list[str]) -> dict[str, Any]:
        raise ApiError(403, "forbidden", "disabled account")

    monkeypatch.setattr(Tokens, "access_token", refuse)
    status, text, _ = guest.ask("instance/service-accounts/default/token")
    assert (status, text) == (403, "disabled account\n")


@pytest.mark.parametrize("name", ["machine-type", "network-interfaces", "numeric-project-id", "id", "access-configs"])
def test_spellings_go_both_ways(name: str) -> None:
    assert to_kebab(to_camel(name)) == name
