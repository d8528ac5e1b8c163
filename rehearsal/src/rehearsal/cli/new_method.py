# SPDX-License-Identifier: GPL-3.0-or-later
"""`rehearsal new-method`: print what a new method of Google's begins with, a handler and its test."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rehearsal.cli.output import say
from rehearsal.errors import RehearsalError
from rehearsal.settings import Settings

if TYPE_CHECKING:
    from rehearsal.wire.discovery import Method

# Permissions are called after the method, but for these.
PERMISSION_VERBS = {"aggregatedList": "list", "insert": "create", "patch": "update"}
# What a resource lies in is part of the method's id, and not of the permission's.
PARENTS = re.compile(r"\.(projects|organizations|folders|locations)(?=\.)")
SAMPLES = {"zone": "us-central1-a", "region": "us-central1"}
STUB = '''\
# ---- a module in src/rehearsal/services/{service}/ that services/handlers.py imports
from typing import Any

from rehearsal.errors import not_implemented
from rehearsal.wire.calls import Call, method


# Google's reference of the method says which permission it needs; see wire/calls.py for those that the handler checks.
@method("{id}", permission="{permission}")
def {name}(call: Call) -> dict[str, Any]:
    """Take {request} and answer {response}; parameters: {parameters}."""
    raise not_implemented(call.method_id)


# ---- a test in tests/
from typing import Any


def test_{name}(ask: Any, control_plane: Any) -> None:
    answer = ask("{verb}", "{url}"{body})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert [entry.violations for entry in control_plane.log.entries()] == [""]
'''


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("new-method", help="print a handler and a test to begin a method of Google's with")
    parser.add_argument(
        "id", metavar="ID", help="the method's id in Google's discovery document: compute.instances.suspend"
    )
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the stubs. RehearsalError for an id that Google does not have, or that has a handler."""
    import rehearsal.services.handlers  # noqa: F401 - registers them; only this command has to wait for it
    from rehearsal.wire.calls import REGISTRY
    from rehearsal.wire.discovery import Router

    known = {found.id: found for document in Router().documents for found in reversed(document.methods)}
    if arguments.id not in known:
        like = ", ".join(get_close_matches(arguments.id, known)) or "see Google's reference"
        raise RehearsalError(f"Google has no method {arguments.id}; similar ids: {like}")
    if arguments.id in REGISTRY.methods:
        raise RehearsalError(f"{arguments.id} has a handler: {REGISTRY.methods[arguments.id].handler.__module__}")
    say(stub(known[arguments.id], settings.project_id))
    return 0


def stub(found: Method, project: str) -> str:
    """Return the text of the handler and of its test."""
    resource, _, verb = found.id.rpartition(".")
    return STUB.format(
        service=found.service,
        id=found.id,
        permission=f"{PARENTS.sub('', resource)}.{PERMISSION_VERBS.get(verb, verb)}",
        name=re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", f"{verb}_{resource.rpartition('.')[2]}"),
        request=found.request_schema or "no body",
        response=found.response_schema or "nothing",
        parameters=", ".join(found.parameters) or "none",
        verb=found.verb,
        url=f"https://{found.document.host}{_sample_path(found, project)}",
        body=', b"{}"' if found.request_schema else "",
    )


def _sample_path(found: Method, project: str) -> str:
    def value(match: re.Match[str]) -> str:
        pattern = str(found.parameters[match[1]].get("pattern", "")).strip("^$")
        if "/" in pattern:
            return pattern.replace("projects/[^/]+", f"projects/{project}").replace("[^/]+", "x")
        return {**SAMPLES, "project": project, "projectId": project}.get(match[1], "x")

    return re.sub(r"\{\+?(\w+)\}", value, found.template)
