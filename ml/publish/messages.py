# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell people what became of a run: one message a cause, to the addresses in Secret Manager, and never at the cost of the run.

An address is a secret: it stands in no log, text or outcome, where its host alone is named. Whatever goes wrong here ends in a line
of the log.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests

from ml.bucket import Bucket, BucketError, ConflictError
from ml.publish.run_outcome import CEILING, FAILED, PROMOTED, REFUSED

#: What a run's result is called in ``notify_on``.
EVENTS = {PROMOTED: "promoted", REFUSED: "refused", FAILED: "failure", CEILING: "ceiling", "missed": "missed"}
TITLES = {
    "promoted": "a new release is live",
    "refused": "a training was refused by the quality gate",
    "failure": "a training failed",
    "ceiling": "the month's ceiling was reached",
    "missed": "a scheduled run did not come",
}
#: The longest that all of it may take, in seconds: the VM's power-off waits for it.
TOTAL_SECONDS = 25.0
ATTEMPTS = 4
TIMEOUT_SECONDS = 8.0  # of one attempt
PAUSE_SECONDS = 1.0  # before the second attempt, twice as long before each further one
#: What was told last, so that a cause that lasts is told once; and what could not be told.
TOLD = "runs/told.json"
LATE = 5  # of the messages that could not be sent, the newest so many are kept
LATER = "This could not be sent when it happened"
SECRETS = "https://secretmanager.googleapis.com/v1"
LONGEST = 1500  # characters of a text; Discord takes 2,000

Report = Callable[[str], None]


class Destination(NamedTuple):
    """An address and its form."""

    url: str
    form: str

    @property
    def host(self) -> str:
        """What may be said of it."""
        return urlsplit(self.url).hostname or "?"


class Message(NamedTuple):
    """What is told: ``event`` is a word of ``notify_on``, ``facts`` the outcome that it is about."""

    event: str
    title: str
    text: str
    facts: dict[str, Any]


class Body(NamedTuple):
    """A request's body and its headers."""

    data: bytes
    headers: dict[str, str]


def of_outcome(outcome: dict[str, Any]) -> Message | None:
    """Return the message about an outcome; None where there is nothing to tell."""
    event = EVENTS.get(outcome["result"])
    if event is None:
        return None
    parts = [outcome["message"] or outcome["why"]]
    if outcome.get("accuracy") is not None:
        parts.append(f"accuracy {outcome['accuracy']:.2%} on {outcome.get('rows') or 0:,} rows")
    parts.append(f"run {outcome['run']}, {outcome['seconds']} s, by {outcome['trigger']}")
    where = f" on {outcome['vm']}" if outcome.get("vm") else ""
    return Message(event, f"FanOps: {TITLES[event]}{where}", ". ".join(part for part in parts if part), outcome)


def missed(moments: Sequence[str]) -> Message:
    """Return the message about scheduled runs that did not come, due at these times."""
    text = (
        f"due {', '.join(moments)}; the zone may have had no machines, Google's service agent may lack compute.instances.start, or "
        "somebody had the VM on: playbooks/show_status.yml and the VM's operations say more"
    )
    return Message("missed", f"FanOps: {TITLES['missed']}", text, {"result": "missed", "due": list(moments)})


def _json(document: dict[str, Any]) -> Body:
    return Body(json.dumps(document).encode(), {"Content-Type": "application/json; charset=utf-8"})


def _slack(message: Message) -> Body:
    text = f"*{message.title}*\n{message.text}"
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # so that nothing in it calls anybody
        text = text.replace(character, escaped)
    return _json({"text": text})


def _teams(message: Message) -> Body:
    blocks = [
        {"type": "TextBlock", "text": message.title, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": message.text, "wrap": True},
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": blocks,
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return _json({"type": "message", "attachments": [attachment]})


def _discord(message: Message) -> Body:
    return _json({"content": f"**{message.title}**\n{message.text}", "allowed_mentions": {"parse": []}})


def _ntfy(message: Message) -> Body:
    good = message.event == "promoted"
    headers = {"Title": message.title, "Priority": "default" if good else "high", "Tags": "tada" if good else "warning"}
    return Body(message.text.encode(), {"Content-Type": "text/plain; charset=utf-8", **headers})


def _plain(message: Message) -> Body:
    return _json({"event": message.event, "title": message.title, "text": message.text, "outcome": message.facts})


FORMS: dict[str, Callable[[Message], Body]] = {
    "slack": _slack, "mattermost": _slack, "teams": _teams, "discord": _discord, "ntfy": _ntfy, "json": _plain,
}  # fmt: skip
#: Which form the hosts of these domains take.
DOMAINS = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfy",
    "webhook.office.com": "teams",
    "logic.azure.com": "teams",
    "api.powerplatform.com": "teams",
}


def form_of(url: str) -> str:
    """Return the form that an address takes, by its host."""
    host = urlsplit(url).hostname or ""
    return next((form for domain, form in DOMAINS.items() if f".{host}".endswith(f".{domain}")), "json")


def destinations(secret: str) -> list[Destination]:
    """Return the addresses in the secret's value. Raises ValueError, which does not quote it."""
    try:
        entries = json.loads(secret)
        return [Destination(entry["url"], entry.get("form") or form_of(entry["url"])) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("the secret holds no list of addresses; run site.yml again, which writes it") from None


def read_secret(name: str) -> str:
    """Return the value of a secret of this VM's project. Raises OSError, requests' and google-auth's exceptions."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default()
    url = f"{SECRETS}/projects/{project}/secrets/{name}/versions/latest:access"
    answer = AuthorizedSession(credentials).get(url, timeout=TIMEOUT_SECONDS)
    if not answer.ok:
        refused = answer.json().get("error", {}) if "json" in answer.headers.get("Content-Type", "") else {}
        raise OSError(f"HTTP {answer.status_code}: {' '.join(str(refused.get('message', '')).split())[:300]}")
    return base64.b64decode(answer.json()["payload"]["data"]).decode()


def send(
    message: Message,
    to: Sequence[Destination],
    report: Report,
    *,
    seconds: float = TOTAL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Send the message to all addresses at once; return whether one of them took it.

    An address that does not answer is tried again, and given up when ``seconds`` have passed. Returns by then, whatever they do.
    """
    deadline = clock() + seconds
    lines: list[str] = []
    taken: list[Destination] = []
    written = threading.Lock()

    def deliver(destination: Destination) -> None:
        problem = _deliver(_without_addresses(message, to), destination, deadline, clock, sleep)
        with written:
            lines.append(f"message to {destination.host}: {problem or 'sent'}")
            if problem is None:
                taken.append(destination)

    threads = [threading.Thread(target=deliver, args=[one], name="message", daemon=True) for one in to]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - clock()))
    with written:
        for line in lines:
            report(line)
        silent = len(threads) - len(lines)
        if silent:
            report(f"messages: {silent} of {len(threads)} addresses gave no answer within {seconds:.0f} s")
        return bool(taken)


def _deliver(
    message: Message,
    to: Destination,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> str | None:
    """Send to one address; return why it was given up, None where it was taken."""
    body = FORMS[to.form](message)
    problem = "no time was left"
    for attempt in range(ATTEMPTS):
        pause = PAUSE_SECONDS * 2 ** (attempt - 1) if attempt else 0.0
        left = deadline - clock() - pause
        if left <= 0:
            break
        sleep(pause)
        try:
            # Of the answer only its head is read: who drips a body gets no more of our time.
            with requests.post(
                to.url, data=body.data, headers=body.headers, timeout=min(TIMEOUT_SECONDS, left), stream=True, allow_redirects=False,
            ) as answer:  # fmt: skip
                if answer.status_code < 300:
                    return None
                problem = f"it answered HTTP {answer.status_code}"
                if answer.status_code < 500 and answer.status_code not in (408, 429):
                    break
        except (requests.RequestException, ValueError) as error:
            problem = f"it could not be reached ({type(error).__name__})"  # the error's text names the address
    return f"given up: {problem}"


def _without_addresses(message: Message, to: Sequence[Destination]) -> Message:
    """Return the message without any address in it, should a run have quoted one, and not too long."""

    def clean(text: str) -> str:
        for destination in to:
            text = text.replace(destination.url, f"(an address at {destination.host})")
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

    facts = {name: clean(value) if isinstance(value, str) else value for name, value in message.facts.items()}
    return Message(message.event, clean(message.title), clean(message.text), facts)


def cause_of(message: Message) -> str:
    """Return what tells this cause from others. The figures of a failure do not, since they differ from run to run."""
    said = str(message.facts.get("message") or "")
    cause = re.sub(r"[0-9]+", "#", said) if said else str(message.facts.get("run") or message.facts.get("due"))
    return hashlib.sha256(f"{message.event} {cause}".encode()).hexdigest()


def notify(
    bucket: Bucket | None,
    message: Message | None,
    secret: str,
    events: Sequence[str],
    report: Report,
    *,
    read: Callable[[str], str] = read_secret,
    seconds: float = TOTAL_SECONDS,
) -> None:
    """Send a message, unless its cause was the last one told, or nobody wants it. ``None``: all is well, so the next cause is a new one.

    Without a ``bucket`` (it cannot be reached) it is not known what was told: better twice than never. Never raises, and returns within
    ``seconds``: a message is no reason to fail a run, or to keep a VM on.
    """

    def work() -> None:
        try:
            _notify(bucket, message, destinations_of, events, report, seconds)
        except Exception as error:  # whatever it is
            report(f"no message was sent: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def destinations_of() -> list[Destination]:
        return destinations(read(secret))

    if not secret:
        return
    thread = threading.Thread(target=work, name="messages", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        report(f"messages: given up after {seconds:.0f} s")


def _notify(
    bucket: Bucket | None,
    message: Message | None,
    to: Callable[[], list[Destination]],
    events: Sequence[str],
    report: Report,
    seconds: float,
) -> None:
    deadline = time.monotonic() + seconds
    if message is not None and message.event not in events:
        if message.event != "promoted":
            return
        message = None
    told, late = _told(bucket)
    cause = "" if message is None else cause_of(message)
    due = list(late)
    if message is not None and cause not in [told, *(cause_of(one) for one in late)]:
        due.append(message)
    if not due and (told is None or told == cause):
        return
    try:
        addresses = to() if due else []
        while due and send(due[0], addresses, report, seconds=deadline - time.monotonic()):
            del due[0]
    finally:
        # What nobody took is told by the next run that can.
        _remember(bucket, told or "" if due else cause, due)


def _told(bucket: Bucket | None) -> tuple[str | None, list[Message]]:
    """Return the cause that was told last, and what could not be told since.

    The cause is "" where all was well since, None where that is not known.
    """
    if bucket is None:
        return None, []
    try:
        found = bucket.read_versioned(TOLD)
        if found is None:
            return None, []
        document = json.loads(found[0])
        return str(document["cause"]), [Message(*one) for one in document.get("late", [])]
    except (BucketError, ValueError, KeyError, TypeError):
        return None, []


def _remember(bucket: Bucket | None, cause: str, late: Sequence[Message]) -> None:
    if bucket is None:
        return
    kept = [one if LATER in one.text else one._replace(text=f"{one.text}. {LATER}") for one in late[-LATE:]]
    try:
        data = json.dumps({"cause": cause, "late": kept}).encode()
        bucket.mirror(TOLD, data, "application/json", "messages")
    except ConflictError:
        return  # another run's message is the last one then
