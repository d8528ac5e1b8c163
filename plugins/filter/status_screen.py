# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of everything, from what Google and the VM say, as one document and as one screen of text. Pure functions."""

from __future__ import annotations

import datetime
import json
from typing import Any

Facts = dict[str, Any]
STOPPED = ("TERMINATED", "STOPPED")
SHOWN_RUNS = 3


def status_document(facts: Facts, now: str) -> Facts:
    """Return {"vm", "stops", "release", "function", "repository", …} of plain values.

    ``facts`` holds the results of our modules: ``name``, ``vm`` (instance or None), ``history``, ``watchdog`` (its own
    answer, None where it could not be asked), ``runs`` (what training_history_info returns), ``release`` (manifest or None),
    ``function`` (name, url, status, latency_ms, response), ``log`` (the last run's last line), ``repository`` (its name and version).
    ``now`` is RFC 3339.
    """
    vm, history = facts.get("vm"), facts.get("history") or []
    events = [event for event in history if not event.get("failed")]
    return {
        "at": now,
        "vm": _vm(facts["name"], vm, events, now),
        "stops": _stops(vm, facts.get("watchdog"), events, now),
        "schedule": (facts.get("runs") or {}).get("schedule"),
        "missed": (facts.get("runs") or {}).get("missed") or [],
        "runs": ((facts.get("runs") or {}).get("outcomes") or [])[-SHOWN_RUNS:],
        "release": _release(facts.get("release"), now),
        "repository": facts.get("repository"),
        "function": facts.get("function") or {},
        "cost": facts.get("cost"),
        "ceiling": facts.get("ceiling"),
    }


def status_screen(document: Facts) -> list[str]:
    """Return the document as lines of text, one subject a line."""
    vm, release, function = document["vm"], document["release"], document["function"]
    lines = [f"{'vm':<10} {vm['name']}{' in ' + vm['zone'] if vm.get('zone') else ''}: {_vm_text(vm)}"]
    lines += [f"{'stops' if index == 0 else '':<10} {line}" for index, line in enumerate(document["stops"]["lines"])]
    schedule = document["schedule"]
    if schedule:
        lines.append(
            f"{'schedule':<10} {schedule['cron']} ({schedule['timezone']}), next {_utc(schedule['next']) or 'never'}"
        )
    if document["missed"]:
        lines.append(f"{'missed':<10} DID NOT COME: {', '.join(document['missed'])}")
    for index, run in enumerate(reversed(document["runs"])):
        text = f"{run['ended']} {run['result']} ({run['trigger']}): {run['message'] or run['why'] or run['run']}"
        lines.append(f"{'runs' if index == 0 else '':<10} {text}")
    if release:
        text = f"{release['version']}, made {_utc(release['created'])} ({release['age']} ago)"
        text += f" by {release['made_by']}" if release["made_by"] else ""
        text += f", accuracy {release['accuracy']}"
        lines.append(f"{'release':<10} {text}")
    else:
        lines.append(f"{'release':<10} none")
    lines.append(f"{'function':<10} {_function_text(function)}")
    if document.get("ceiling"):
        lines.append(f"{'ceiling':<10} {document['ceiling']['text']}")
    lines += [f"{title:<10} {document[title]}" for title in ("cost", "repository") if document.get(title)]
    return lines


def from_json_or_none(text: str) -> Any:
    """Return what the text says in JSON, None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _vm(name: str, vm: Facts | None, events: list[Facts], now: str) -> Facts:
    if vm is None:
        deleted = next((event for event in reversed(events) if event["event"] == "deleted"), None)
        return {"name": name, "status": "absent", "deleted": deleted}
    seconds = int((vm.get("scheduling", {}).get("maxRunDuration") or {}).get("seconds") or 0)
    found = {
        "name": name,
        "status": vm["status"],
        "zone": vm["zone"].rsplit("/", 1)[-1],
        "machine_type": vm["machineType"].rsplit("/", 1)[-1],
        "limit_seconds": seconds or None,
        "up_seconds": None,
    }
    if vm["status"] not in STOPPED and vm.get("lastStartTimestamp"):
        found["up_seconds"] = round((_time(now) - _time(vm["lastStartTimestamp"])).total_seconds())
    return found


def _vm_text(vm: Facts) -> str:
    if vm["status"] == "absent":
        gone = vm.get("deleted")
        return f"does not exist (deleted {_utc(gone['at'])} by {gone['by']})" if gone else "does not exist"
    text = f"{vm['status']} {vm['machine_type']}"
    if vm["up_seconds"] is not None:
        limit = f" of at most {_duration(vm['limit_seconds'])}" if vm["limit_seconds"] else ", without a limit"
        text += f", up {_duration(vm['up_seconds'])}{limit}"
    return text


def _stops(vm: Facts | None, watchdog: Facts | None, events: list[Facts], now: str) -> Facts:
    """Who stopped the VM, or who will and when; the earliest first."""
    if vm is None:
        return {"by": None, "at": None, "lines": ["nothing runs"]}
    if vm["status"] in STOPPED:
        last = next((event for event in reversed(events) if event["event"] == "stopped"), None)
        at = _utc(vm.get("lastStopTimestamp") or (last or {}).get("at"))
        by = _stopper(last) if last else "?"
        return {"by": by, "at": at, "lines": [f"stopped {at or 'at an unknown time'} by {by}"]}
    will: list[tuple[str, str, str]] = []
    if watchdog and watchdog.get("armed"):
        when = "now" if watchdog.get("power_off") else f"at the latest {watchdog['at']}"
        will.append((watchdog["at"] or now, "its watchdog", f"its watchdog, {when} ({watchdog['reason']})"))
    deadline = ((vm.get("resourceStatus") or {}).get("scheduling") or {}).get("terminationTimestamp")
    if deadline:
        will.append((deadline, "Google", f"Google, at {_utc(deadline)} (run limit)"))
    if not will:
        return {"by": None, "at": None, "lines": ["NOBODY: stop it with playbooks/stop_vm.yml"]}
    will.sort(key=lambda entry: _time(entry[0]))
    return {"by": will[0][1], "at": _utc(will[0][0]), "lines": [text for _at, _by, text in will]}


def _stopper(event: Facts) -> str:
    if event["by"] == "the guest":
        return "itself (its watchdog, or somebody on it)"
    return "Google (run limit or schedule)" if event["by"] == "Google" else str(event["by"])


def _release(release: Facts | None, now: str) -> Facts | None:
    if not release:
        return None
    metrics = release.get("metrics") or {}
    accuracy = f"{metrics['accuracy']:.2%}" if "accuracy" in metrics else "unknown"
    if metrics.get("ceiling") is not None:  # not known of somebody's own rows
        accuracy += f" (best possible {metrics['ceiling']:.2%})"
    age = (_time(now) - _time(release["created"])).total_seconds()
    return {
        "version": release["version"],
        "created": release["created"],
        "age": _duration(max(0, round(age))),
        "accuracy": accuracy,
        "samples": release.get("samples"),
        "manifest": release.get("manifest_sha256"),
        "made_by": release.get("made_by"),
    }


def _function_text(function: Facts) -> str:
    if not function.get("name"):
        return "not asked"
    if function.get("status") == 200:
        served = (function.get("response") or {}).get("release") or {}
        version = f" with release {served['version']}" if served.get("version") else ""
        access = "private" if function.get("authenticated") else "public"
        return f"{function['name']}: answers in {function['latency_ms']} ms{version}, {access}, {function['url']}"
    if (function.get("failure") or {}).get("code") == 404:
        return f"{function['name']}: does not exist"
    return f"{function['name']}: {function.get('msg') or 'answers ' + str(function.get('status'))}"


def _duration(seconds: int) -> str:
    days, rest = divmod(int(seconds), 86_400)
    clock = str(datetime.timedelta(seconds=rest))
    return f"{days} d {clock}" if days else clock


def _utc(text: str | None) -> str | None:
    """Return a time in UTC and to the second: Google writes Compute's in California's."""
    return None if not text else _time(text).astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)


class FilterModule:
    """Makes the functions filters."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "status_document": status_document,
            "status_screen": status_screen,
            "from_json_or_none": from_json_or_none,
        }
