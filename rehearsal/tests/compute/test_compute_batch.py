# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any

import pytest

from compute_world import PROJECT, ZONE, World
from rehearsal.errors import ApiError
from rehearsal.services.compute import batch

HOST = "compute.googleapis.com"


def part(number: int, request: str) -> str:
    headers = f"Content-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: <id+{number}>"
    return f"{headers}\n\n{request}"


def compose(parts: list[str], newline: str = "\r\n") -> bytes:
    text = "".join(f"--edge\n{one}\n" for one in parts) + "--edge--\n"
    return text.replace("\n", newline).encode()


def test_parse() -> None:
    for newline in ("\n", "\r\n"):
        body = '{"labels": {"a": "é"}}'
        headers = "Content-Type: application/json\nContent-Length: 9"
        post = f"POST /compute/v1/projects/p/x?alt=json HTTP/1.1\n{headers}\n\n{body}"
        get = "GET https://www.googleapis.com/compute/v1/projects/p/y HTTP/1.1\nAccept: */*\n\n"
        found = batch.parse('multipart/mixed; boundary="edge"', compose([part(1, post), part(2, get)], newline), HOST)
        assert [(one.verb, one.host, one.target, one.content_id) for one in found] == [
            ("POST", HOST, "/compute/v1/projects/p/x?alt=json", "<id+1>"),
            ("GET", "www.googleapis.com", "/compute/v1/projects/p/y", "<id+2>"),
        ]
        assert json.loads(found[0].body) == {"labels": {"a": "é"}}
        assert found[0].headers == {"Content-Type": "application/json"}
        assert found[1].body == b""


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/json", b"{}"),
        ("multipart/mixed", b"x"),
        ("multipart/mixed; boundary=edge", b"no parts"),
        ("multipart/mixed; boundary=edge", compose(["Content-Type: text/plain\n\nhello"])),
        ("multipart/mixed; boundary=edge", compose([part(1, "")])),
        ("multipart/mixed; boundary=edge", compose([part(1, "GET /a HTTP/1.1\n")] * 1001)),
    ],
)
def test_refused(content_type: str, data: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        batch.parse(content_type, data, HOST)
    assert refused.value.code == 400


def send(world: World, requests: list[str], headers: dict[str, str]) -> list[tuple[str, int, Any]]:
    data = compose([part(number, request) for number, request in enumerate(requests)])
    headers = {"Content-Type": "multipart/mixed; boundary=edge"} | headers
    response = world.ask("POST", f"https://{HOST}/batch/compute/v1", data, headers=headers)
    assert response.status_code == 200
    whole = message_from_bytes(f"Content-Type: {response.content_type}\r\n\r\n".encode() + response.get_data())
    answers = []
    parts: Any = whole.get_payload()  # messages: it is multipart
    for answer in parts:
        head, _, body = answer.get_payload().partition("\r\n\r\n")
        answers.append((answer["Content-ID"], int(head.split()[1]), json.loads(body)))
    return answers


def test_every_part_is_answered(world: World) -> None:
    world.create("one")
    token = world.cloud.identity.access_token(world.cloud.identity.owner)["access_token"]
    path = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances"
    requests = [
        f"POST {path}/one/stop?alt=json HTTP/1.1\n\n",
        f"GET {path}/none HTTP/1.1\n\n",
        f"GET {path}/one HTTP/1.1\n\n",
    ]
    answers = send(world, requests, {"Authorization": f"Bearer {token}"})
    assert [(name, status) for name, status, _ in answers] == [
        ("<response-id+0>", 200),
        ("<response-id+1>", 404),
        ("<response-id+2>", 200),
    ]
    assert answers[0][2]["operationType"] == "stop"
    world.finish(answers[0][2])
    methods = [entry.method for entry in world.cloud.log.entries()]
    assert {"compute.batch", "compute.instances.stop", "compute.instances.get"} <= set(methods)


def test_every_part_is_authenticated(world: World) -> None:
    (answer,) = send(world, [f"GET /compute/v1/projects/{PROJECT}/zones/{ZONE} HTTP/1.1\n\n"], {})
    assert answer[1] == 401
