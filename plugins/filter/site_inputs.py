# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the site's variables to what modules, commands and the function take. Pure functions."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

#: Google starts a VM by a schedule up to this late.
LATE_SECONDS = 15 * 60
#: What messages may be about, and the forms of an address, as in ml/publish/messages.py.
EVENTS = ("failure", "refused", "ceiling", "promoted", "missed")
FORMS = ("slack", "mattermost", "teams", "discord", "ntfy", "json")


def match_context(given: dict[str, Any], fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the members of ``given`` that are set, numbers as numbers: what comes from a command line is text.

    ``fields`` are those of a schema (``ml/core/schema.json``). One that is required and not given gets its example. Raises
    AnsibleFilterError for text that is not a number.
    """
    context = {}
    for field in fields:
        name, value = field["name"], given.get(field["name"])
        if value is None or value == "":
            if "default" in field:
                continue
            value = _example(field)
        if field["kind"] != "choice":
            try:
                value = int(value) if field["kind"] == "integer" else float(value)
            except ValueError:
                kind = "a whole number" if field["kind"] == "integer" else "a number"
                raise AnsibleFilterError(f'{name} is "{value}": give {kind}, for instance -e {name}=1.') from None
        context[name] = value
    return context


def example_context(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a short context by a schema's fields: an example of each choice, and of what else is required."""
    return {field["name"]: _example(field) for field in fields if field["kind"] == "choice" or "default" not in field}


def _example(field: dict[str, Any]) -> Any:
    first = field["minimum"] if "minimum" in field else field["values"][0]
    return field.get("example", first["name"] if isinstance(first, dict) else first)


def command_options(options: dict[str, Any]) -> list[str]:
    """Return ["--name=value", …] for a command. None, False and "" leave an option out; True is a flag without a value."""
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in options.items()
        if value is not None and value is not False and value != ""
    ]


def worker_names(vm_name: str, workers: int | str) -> list[str]:
    """Return the names of a training VM's workers; the free tier's guard expects the same ones."""
    return [f"{vm_name.removesuffix('-vm')}-worker-{number + 1}" for number in range(int(workers))]


def bucket_grants(
    accounts: list[dict[str, Any]], project: str, bucket: str, custom_roles: list[str]
) -> list[dict[str, Any]]:
    """Return the grants for ``gcp_iam_member``: custom roles by their full names, objects and folders as a condition."""
    return [
        _grant(
            grant, f"serviceAccount:{account['name']}@{project}.iam.gserviceaccount.com", project, bucket, custom_roles
        )
        for account in accounts
        for grant in account["bucket_grants"]
    ]


def _grant(grant: dict[str, Any], member: str, project: str, bucket: str, custom_roles: list[str]) -> dict[str, Any]:
    role = grant["role"]
    found = {"role": f"projects/{project}/roles/{role}" if role in custom_roles else role, "member": member}
    if "objects" not in grant:
        return found
    prefix = f"projects/_/buckets/{bucket}/objects/"
    folders = [f'resource.name.startsWith("{prefix}{name}")' for name in grant["objects"] if name.endswith("/")]
    objects = [f'resource.name == "{prefix}{name}"' for name in grant["objects"] if not name.endswith("/")]
    return {**found, "condition": {"title": role, "expression": " || ".join(folders + objects)}}


def notify_destinations(urls: list[Any], events: list[str]) -> list[dict[str, str]]:
    """Return [{"url", "form"}] of ``notify_urls``; the form is empty where the host tells it.

    Raises AnsibleFilterError for what is wrong with it or with ``notify_on``, by its place and without the address, which is a secret.
    """
    unknown = sorted(set(events) - set(EVENTS))
    if unknown:
        raise AnsibleFilterError(f"notify_on names {', '.join(unknown)}: set some of {', '.join(EVENTS)}.")
    found = []
    for number, entry in enumerate(urls, 1):
        given = entry if isinstance(entry, dict) else {"url": entry}
        url, form = str(given.get("url") or ""), str(given.get("form") or "")
        where = f"entry {number} of notify_urls"
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):
            raise AnsibleFilterError(f"{where} is no web address: give https://host/path.")
        if form and form not in FORMS:
            raise AnsibleFilterError(f'{where} has the form "{form}": give one of {", ".join(FORMS)}, or none.')
        found.append({"url": url, "form": form})
    return found


def schedule_allows(schedule: str, timezone: str, max_run_seconds: int | str) -> int:
    """Return how old, in seconds, a release may get while all scheduled runs come; 0 without a schedule.

    Raises AnsibleFilterError for a schedule that is none.
    """
    if not schedule:
        return 0
    cron = _cron()
    try:
        cron.check(schedule, timezone)
        return int(cron.longest_gap(schedule, timezone)) + LATE_SECONDS + int(max_run_seconds)
    except ValueError as error:
        raise AnsibleFilterError(f"{error}. Set it in inventory/group_vars/all/training.yml.") from None


@functools.cache
def _cron() -> Any:
    """Return ml/core/cron.py: a plugin finds neither ml/ nor module_utils/ by name."""
    path = Path(__file__).parents[2] / "ml" / "core" / "cron.py"
    spec = importlib.util.spec_from_file_location("fanops_cron", path)
    if spec is None or spec.loader is None:
        raise AnsibleFilterError(f"{path} cannot be read. Restore it: git checkout -- ml.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FilterModule:
    """Makes the functions filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "bucket_grants": bucket_grants,
            "command_options": command_options,
            "example_context": example_context,
            "match_context": match_context,
            "notify_destinations": notify_destinations,
            "schedule_allows": schedule_allows,
            "worker_names": worker_names,
        }
