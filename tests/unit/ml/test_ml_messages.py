# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to a real server in every form, one for a cause, and never at the cost of the run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ml.bucket import BucketError
from ml.publish import messages, run_log, run_outcome
from ml.publish.messages import Destination, Message
from ml.publish.this_machine import Machine
from plugins.filter import site_inputs

OUTCOME: dict[str, Any] = {
    "result": "failed", "message": "out of memory at 900 MiB <!channel>", "why": "changed: data", "run": "abc-first", "seconds": 42,
    "trigger": "schedule", "vm": "ml-training-vm", "accuracy": None, "rows": None,
}  # fmt: skip
FAILURE = messages.of_outcome(OUTCOME)
assert FAILURE is not None
PROMOTION = messages.of_outcome({**OUTCOME, "result": "promoted", "message": "", "accuracy": 0.8779, "rows": 9000})
assert PROMOTION is not None
EVENTS = list(site_inputs.EVENTS)


@dataclass
class Receiver:
    """A server that keeps what it gets, and answers with the next of ``answers`` (the last one for ever)."""

    answers: list[int] = field(default_factory=lambda: [200])
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def __post_init__(self) -> None:
        self.silent.set()  # cleared: it accepts a request and says nothing


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, dict(self.headers), body))
            found.silent.wait(60)
            self.send_response(found.answers.pop(0) if len(found.answers) > 1 else found.answers[0])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/secret-token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.silent.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Bucket:
    """A bucket that is a dictionary; with ``broken`` it cannot be reached."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = False

    def read_versioned(self, path: str) -> tuple[bytes, int] | None:
        if self.broken:
            raise BucketError("it cannot be reached")
        return (self.objects[path], 1) if path in self.objects else None

    def mirror(self, path: str, data: bytes, *_: str) -> None:
        if self.broken:
            raise BucketError("it cannot be reached")
        self.objects[path] = data


def sent(receiver: Receiver, form: str, message: Message) -> tuple[dict[str, str], Any]:
    lines: list[str] = []
    assert messages.send(message, [Destination(receiver.url, form)], lines.append)
    assert lines == ["message to 127.0.0.1: sent"]
    path, headers, body = receiver.requests.pop()
    assert path == "/services/T0/secret-token"
    return headers, body.decode() if form == "ntfy" else json.loads(body)


def test_every_form_as_its_service_takes_it(receiver: Receiver) -> None:
    assert FAILURE is not None and PROMOTION is not None
    title, text = (
        "FanOps: a training failed on ml-training-vm",
        "out of memory at 900 MiB <!channel>. run abc-first, 42 s, by schedule",
    )
    for form in ("slack", "mattermost"):
        headers, body = sent(receiver, form, FAILURE)
        assert headers["Content-Type"].startswith("application/json")
        assert body == {"text": f"*{title}*\n{text.replace('<', '&lt;').replace('>', '&gt;')}"}
    _, body = sent(receiver, "discord", FAILURE)
    assert body == {"content": f"**{title}**\n{text}", "allowed_mentions": {"parse": []}}
    _, body = sent(receiver, "teams", FAILURE)
    (attachment,) = body["attachments"]
    assert body["type"] == "message" and attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [block["text"] for block in attachment["content"]["body"]] == [title, text]
    headers, body = sent(receiver, "ntfy", FAILURE)
    assert (headers["Title"], headers["Priority"], headers["Tags"], body) == (title, "high", "warning", text)
    headers, body = sent(receiver, "ntfy", PROMOTION)
    assert headers["Priority"] == "default" and "accuracy 87.79% on 9,000 rows" in body
    _, body = sent(receiver, "json", FAILURE)
    assert body == {"event": "failure", "title": title, "text": text, "outcome": OUTCOME}


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("hooks.slack.com", "slack"), ("discord.com", "discord"), ("ntfy.sh", "ntfy"), ("acme.webhook.office.com", "teams"),
        ("prod-1.westeurope.logic.azure.com", "teams"), ("chat.example.org", "json"), ("notdiscord.com", "json"),
    ],
)  # fmt: skip
def test_a_form_is_told_by_the_host(host: str, form: str) -> None:
    assert messages.form_of(f"https://{host}/x") == form
    given = json.dumps(
        site_inputs.notify_destinations([f"https://{host}/x", {"url": "https://own/x", "form": "ntfy"}], EVENTS)
    )
    assert [one.form for one in messages.destinations(given)] == [form, "ntfy"]


def test_controller_and_vm_know_the_same_forms_and_events() -> None:
    assert set(site_inputs.FORMS) == set(messages.FORMS)
    assert set(site_inputs.EVENTS) == set(messages.EVENTS.values()) == set(messages.TITLES)


@pytest.mark.parametrize(
    ("urls", "events", "said"),
    [
        (["ftp://secret.example.org/x"], EVENTS, "entry 1 of notify_urls is no web address"),
        (["https://a.example.org/x", {"form": "slack"}], EVENTS, "entry 2 of notify_urls is no web address"),
        (["https://user:secret@a.example.org/x"], EVENTS, "entry 1 of notify_urls"),
        ([{"url": "https://secret.example.org/x", "form": "irc"}], EVENTS, 'has the form "irc": give one of slack'),
        ([], ["failure", "success"], "notify_on names success: set some of failure"),
    ],
)
def test_a_wrong_address_is_named_by_its_place_alone(urls: list[Any], events: list[str], said: str) -> None:
    with pytest.raises(Exception, match="notify_") as raised:
        site_inputs.notify_destinations(urls, events)
    assert said in str(raised.value) and "secret" not in str(raised.value)


def test_what_is_refused_for_a_moment_is_tried_again_with_growing_pauses(receiver: Receiver) -> None:
    assert FAILURE is not None
    receiver.answers = [503, 429, 200]
    pauses: list[float] = []
    assert messages.send(FAILURE, [Destination(receiver.url, "json")], lambda line: None, sleep=pauses.append)
    assert len(receiver.requests) == 3 and pauses == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("answer", "attempts"), [(404, 1), (302, 1), (500, messages.ATTEMPTS)])
def test_what_does_not_get_better_is_given_up(receiver: Receiver, answer: int, attempts: int) -> None:
    assert FAILURE is not None
    receiver.answers = [answer]
    lines: list[str] = []
    assert not messages.send(FAILURE, [Destination(receiver.url, "json")], lines.append, sleep=lambda seconds: None)
    assert len(receiver.requests) == attempts
    assert lines == [f"message to 127.0.0.1: given up: it answered HTTP {answer}"]


def test_no_attempt_is_begun_that_the_time_left_does_not_allow(receiver: Receiver) -> None:
    assert FAILURE is not None
    receiver.answers = [503]
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds + 12  # each attempt takes twelve seconds

    arguments: Any = {"clock": lambda: now[0], "sleep": sleep}
    assert not messages.send(FAILURE, [Destination(receiver.url, "json")], lambda line: None, seconds=25, **arguments)
    assert len(receiver.requests) == 2 and now[0] == 25


def test_a_server_that_is_silent_or_dead_delays_nobody_else(receiver: Receiver) -> None:
    assert FAILURE is not None
    receiver.silent.clear()
    lines: list[str] = []
    silent, dead = Destination(receiver.url, "json"), Destination("http://127.0.0.1:9/secret-token", "slack")
    assert not messages.send(FAILURE, [silent, dead], lines.append, seconds=0.5)
    assert "secret-token" not in str(lines) and lines


def test_a_cause_is_told_once_until_all_is_well_again(receiver: Receiver) -> None:
    bucket: Any = Bucket()
    lines: list[str] = []

    def told(outcome: dict[str, Any] | None, on: list[str] = EVENTS) -> list[str]:
        message = None if outcome is None else messages.of_outcome(outcome)
        given = json.dumps([{"url": receiver.url, "form": "json"}])
        messages.notify(bucket, message, "notify", on, lines.append, read=lambda name: given)
        events = [json.loads(body)["event"] for _, _, body in receiver.requests]
        receiver.requests.clear()
        return events

    later = {**OUTCOME, "run": "def-abc", "message": "out of memory at 907 MiB <!channel>"}
    assert told(OUTCOME) == ["failure"]
    assert told(later) == []  # the same cause with other figures
    assert told({**OUTCOME, "message": "the disk is full"}) == ["failure"]
    assert told(OUTCOME) == ["failure"]
    assert told(None) == [] and told(OUTCOME) == ["failure"]  # nothing new in between: it was well
    promoted = {**OUTCOME, "result": "promoted", "message": ""}
    assert told(promoted) == ["promoted"] and told({**promoted, "run": "other"}) == ["promoted"]
    assert told(OUTCOME) == ["failure"]
    without = [event for event in EVENTS if event != "promoted"]
    assert told(promoted, without) == [] and told(OUTCOME, without) == ["failure"]
    assert told({**OUTCOME, "result": "refused"}, ["failure"]) == []
    assert told({**OUTCOME, "result": "nothing new"}) == []
    assert told({**OUTCOME, "result": "ceiling"}) == ["ceiling"]
    # What was not taken was not told.
    receiver.answers = [404]
    assert told(OUTCOME) == ["failure"]
    receiver.answers = [200]
    assert told(OUTCOME) == ["failure"] and told(OUTCOME) == []
    bucket.broken = True
    assert told(OUTCOME) == ["failure"]  # better twice than never
    assert "secret-token" not in str(lines)


def test_whatever_goes_wrong_is_one_line(receiver: Receiver) -> None:
    def gone(name: str) -> str:
        raise OSError("HTTP 404: Secret [projects/1/secrets/notify] not found or has no versions.")

    bucket: Any = Bucket()
    for read, said in ((gone, "HTTP 404: Secret"), (lambda name: f'{{"{receiver.url}"', "holds no list of addresses")):
        lines: list[str] = []
        messages.notify(bucket, FAILURE, "notify", EVENTS, lines.append, read=read)
        (line,) = lines
        assert line.startswith("no message was sent: ") and said in line and "secret-token" not in line
    lines = []
    messages.notify(bucket, FAILURE, "", EVENTS, lines.append, read=gone)
    assert lines == [] and receiver.requests == []


def test_what_could_not_be_told_is_told_once_by_the_next_run_that_can(receiver: Receiver) -> None:
    bucket: Any = Bucket()
    lines: list[str] = []
    given = json.dumps([{"url": receiver.url, "form": "json"}])

    def gone(name: str) -> str:
        raise OSError("HTTP 404: Secret not found")

    def told(message: Message | None, read: Any = lambda name: given) -> list[tuple[str, str]]:
        messages.notify(bucket, message, "notify", EVENTS, lines.append, read=read)
        bodies = [json.loads(body) for _, _, body in receiver.requests]
        receiver.requests.clear()
        return [(body["event"], body["text"]) for body in bodies]

    missed = messages.missed(["2026-11-30T02:30:00Z"])
    assert told(missed, gone) == [] and told(FAILURE, gone) == [] and told(FAILURE, gone) == []
    first, second = told(None)  # this run has nothing to tell itself
    assert first[0] == "missed" and "2026-11-30T02:30:00Z" in first[1] and "could not be sent" in first[1]
    assert second[0] == "failure" and "out of memory at 900 MiB" in second[1]
    assert told(None) == [] and [event for event, _ in told(FAILURE)] == ["failure"]
    assert told(FAILURE) == []

    # The cause that could not be told lasts: it is one message. A long silence is not answered by hundreds.
    assert told(PROMOTION, gone) == [] and [event for event, _ in told(PROMOTION)] == ["promoted"]
    for number in range(20):
        told(messages.missed([f"2027-01-{number + 1:02}T02:30:00Z"]), gone)
    late = told(None)
    assert len(late) == messages.LATE and "2027-01-20" in late[-1][1]


def test_a_secret_that_never_comes_is_given_up() -> None:
    come = threading.Event()

    def read(name: str) -> str:
        come.wait(60)
        return "[]"

    lines: list[str] = []
    bucket: Any = Bucket()
    messages.notify(bucket, FAILURE, "notify", EVENTS, lines.append, read=read, seconds=0.1)
    assert lines == ["messages: given up after 0 s"]
    come.set()


def test_an_address_that_a_run_quotes_is_not_passed_on(receiver: Receiver) -> None:
    quoted = messages.of_outcome({**OUTCOME, "message": f"cannot reach {receiver.url} " + "x" * 3000})
    assert quoted is not None
    lines: list[str] = []
    assert messages.send(quoted, [Destination(receiver.url, "json")], lines.append)
    (request,) = receiver.requests
    assert b"secret-token" not in request[2] and b"an address at 127.0.0.1" in request[2]
    assert len(json.loads(request[2])["text"]) == messages.LONGEST


@pytest.mark.parametrize("broken", [False, True])
def test_the_end_of_a_run_tells_also_when_its_log_cannot_be_kept(
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    run, bucket = tmp_path / "abc-first", Bucket()
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"started": 1000.0, "trigger": "schedule", "why": "changed: data"}))
    (run / "status.json.new").write_text(json.dumps({"result": "exit-code", "exit_status": "1", "ended": 1042}))
    (run / "training.log").write_text("error: no space\n")
    bucket.broken = broken
    monkeypatch.setattr(run_log, "Bucket", lambda *_, **__: bucket)
    monkeypatch.setattr(run_outcome, "this_machine", lambda: Machine("vm", "e2-micro", "us-central1-a", 60.0))
    given = json.dumps([{"url": receiver.url, "form": ""}])
    monkeypatch.setattr(messages.notify, "__kwdefaults__", {"read": lambda name: given, "seconds": 25.0})
    arguments = [f"--run={run}", "--to=gs://models", "--notify-secret=notify", "--notify-on=failure,ceiling"]
    assert run_log.main(arguments) == (1 if broken else 0)
    ((_, _, body),) = receiver.requests
    assert json.loads(body)["outcome"]["message"] == "no space"
    assert (run / "messages.log").read_text() == "message to 127.0.0.1: sent\n"
    assert (run / "training.log").read_text() == "error: no space\n"
    assert broken or json.loads(bucket.objects["runs/abc-first/outcome.json"])["result"] == "failed"
