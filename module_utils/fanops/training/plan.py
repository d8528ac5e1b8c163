# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training would do: whether the live release is outdated, and the name of the run that replaces it. Reads only."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any, TypedDict

from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core.gate import narrowed
from ansible.module_utils.fanops.core.releases import learned_own_data

#: Runs a command; returns its exit code, output and errors, as ``AnsibleModule.run_command`` does.
RunCommand = Callable[..., tuple[int, str, str]]


class FingerprintError(Exception):
    """The fingerprint of the training could not be computed; the message says why and what to do."""


class PlanRow(TypedDict):
    """One resource in the summary of a plan."""

    resource: str
    change: str
    actions: list[str]


class TrainingPlan(TypedDict):
    """What the module ``training_plan`` returns."""

    needed: bool
    reason: str
    fingerprint: str
    run_id: str
    release: dict[str, Any] | None
    plan: list[PlanRow]
    failure: str | None


def compute_fingerprint(run: RunCommand, options: dict[str, Any], python: str) -> tuple[str, dict[str, Any]]:
    """What ``ml.fingerprint`` says in the checkout ``source``: the fingerprint, and the description that is trained by.

    Raises FingerprintError.
    """
    command = [options["python"] or python, "-m", "ml.fingerprint", f"--data={options['data']}"]
    command += ["--data-days", str(options["data_days"])]
    command += ["--samples", str(options["samples"]), "--seed", str(options["seed"])]
    command += [f"--schema={options['model_schema']}"] if options["model_schema"] else []
    command += [f"--sponsors={options['sponsor_catalogue']}"] if options["sponsor_catalogue"] else []
    code, output, errors = run(command, cwd=options["source"])
    if code != 0:
        lines = errors.strip().splitlines() or [f"{' '.join(command)} ended with exit code {code}"]
        raise FingerprintError(f"Could not compute the fingerprint: {lines[-1].removeprefix('error: ')}")
    found = json.loads(output)
    return str(found["fingerprint"]), found["description"]


def plan_training(
    read_live: Callable[[], dict[str, Any] | None],
    run: RunCommand,
    options: dict[str, Any],
    python: str,
    now: datetime.datetime,
) -> TrainingPlan:
    """The plan for these ``options`` of the module; ``python`` is the interpreter where they name none.

    A live release that cannot be read does not fail the plan: what is wrong is returned as ``failure``, to be reported
    among everything else that is wrong with the project. Raises FingerprintError.
    """
    fingerprint, described = compute_fingerprint(run, options, python)
    live, failure = None, None
    try:
        live = read_live()
    except GoogleApiError as error:
        failure = str(error)
    found = (live or {}).get("fingerprint")
    needed = options["force"] or found != fingerprint
    source = str((live or {}).get("source", ""))
    if needed and not options["data"] and learned_own_data(source) and not options["accept_source_change"]:
        raise FingerprintError(
            f"The live release learned {source}; this run would replace it by one that learned {options['samples']:,} synthetic "
            "rows. Give training_data, or -e training_accept_source_change=true."
        )
    if needed and live and not options["accept_schema_change"] and (less := narrowed(live, described)):
        raise FingerprintError(
            f"Callers could not send what the live release accepts: {'; '.join(less)}. Correct model_schema, or accept it with "
            "-e accept_schema_change=true."
        )
    if options["force"]:
        reason = "a training is forced"
    elif not found:
        reason = "the live release could not be read" if failure else "there is no release yet"
    elif needed:
        reason = "the live release was made from other code, data or parameters"
    else:
        reason = "the live release was made from the same code, data and parameters"
    # A run is named by what goes into it and by the release that it replaces: the next run of an interrupted one finds
    # it again, while one for an older pointer does not count.
    replaced = str((live or {}).get("manifest_sha256", "first"))[:8]
    suffix = now.strftime("%Y%m%dt%H%M%S") if options["force"] else replaced
    row: PlanRow = {
        "resource": f"release in gs://{options['bucket']}",
        "change": "create" if needed else "none",
        "actions": [f"train on {options['data'] or str(options['samples']) + ' samples'}"] if needed else [],
    }
    return {
        "needed": needed,
        "reason": reason,
        "fingerprint": fingerprint,
        "run_id": f"{fingerprint[:12]}-{suffix}",
        "release": live,
        "plan": [row],
        "failure": failure,
    }
