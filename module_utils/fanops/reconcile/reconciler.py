# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch, compare, act, re-fetch: the same few lines for every resource, so that check mode is right for all of them.

A resource answers five questions (what is there, what is wanted, how does the one read in terms of the other) and lists
the actions that would close the gap. Actions are only *listed* while planning; check mode stops after the listing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile import fields
from ansible.module_utils.fanops.reconcile.diff import Differences
from ansible.module_utils.fanops.reconcile.fields import Field

#: Seconds during which a resource made a moment ago may still be invisible (IAM is only eventually consistent).
VISIBLE_WITHIN = 60.0


@dataclass
class Plan:
    """The differences found and the actions that remove them, in order."""

    differences: Differences = field(default_factory=Differences)
    actions: list[tuple[str, Callable[[], Any]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def act(self, name: str, action: Callable[[], Any]) -> None:
        """List one action: ``name`` is what a person reads, ``action`` is called later, unless in check mode."""
        self.actions.append((name, action))


#: Actions that leave a resource as it is described, and only switch it on or off.
POWER_ACTIONS = frozenset({"start", "stop", "resume"})


@dataclass
class Outcome:
    """What a module returns."""

    changed: bool
    #: A dict, None where there is no such resource; a list of them where several were reconciled.
    resource: Any
    plan: Plan
    warnings: list[str]
    #: Per resource: its name, what is done to it, and the actions.
    rows: list[dict[str, Any]]

    def result(self, key: str) -> dict[str, Any]:
        """Arguments for ``exit_json``; the resource is returned as ``key``."""
        differences = self.plan.differences
        return {
            "changed": self.changed,
            key: self.resource,
            "actions": [name for name, _action in self.plan.actions],
            "plan": self.rows,
            "diff": {"before": differences.before, "after": differences.after},
            **self.plan.extra,
        }


class Resource:
    """One kind of resource. Subclasses fill in the gaps; ``options`` are the module's parameters."""

    kind = "resource"
    #: The options that describe it.
    fields: Sequence[Field] = ()
    #: What is done to a missing and to a superfluous one, in the words of ``actions``.
    verbs = ("create", "delete")

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        self.client = client
        self.options = options

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.kind} {self.options['name']}"

    def fetch(self) -> dict[str, Any] | None:
        """What Google has, None if nothing."""
        raise NotImplementedError

    def settle(self, current: dict[str, Any]) -> dict[str, Any] | None:
        """Wait until a resource that is changing right now has stopped changing. Not called in check mode."""
        return current

    def wanted(self) -> dict[str, Any]:
        """What the options ask for, by option name; None = not managed."""
        return fields.wanted(self.fields, self.options)

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """What Google has, in the words of ``wanted``."""
        return fields.view(self.fields, current)

    def body(self, only: Sequence[str] | None = None) -> dict[str, Any]:
        """The request body of the options that are given, or of those in ``only``."""
        return fields.body(self.fields, self.options, only)

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """What ``fetch`` would answer after the actions, as far as it can be known: check mode returns it."""
        return current

    def shown(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """The resource as the module returns it."""
        return found

    def validate(self) -> None:
        """Checks before a create that need a read of their own (does the machine type exist?)."""

    def create(self) -> None:
        """Make it."""
        raise NotImplementedError

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List the actions for ``plan.differences``."""
        raise NotImplementedError

    def delete(self, current: dict[str, Any]) -> None:
        """Remove it."""
        raise NotImplementedError

    def plan(self, current: dict[str, Any] | None, state: str) -> Plan:
        """List what has to be done. Reads only."""
        plan = Plan()
        if state == "absent":
            if current is not None:
                for option, value in self.view(current).items():
                    if value not in (None, [], {}, ""):
                        plan.differences.add(option, None, value)
                plan.act(f"{self.verbs[1]} {self.title}", lambda: self.delete(current))
        elif current is None:
            self.validate()
            plan.differences.compare(self.wanted(), {})
            plan.act(f"{self.verbs[0]} {self.title}", self.create)
        else:
            plan.differences.compare(self.wanted(), self.view(current))
            if plan.differences:
                self.update(current, plan)
        return plan


def reconcile(resource: Resource, state: str, *, check_mode: bool) -> Outcome:
    """Bring ``resource`` into ``state`` and report. In check mode: report the same, change nothing."""
    client = resource.client
    warnings: list[str] = []
    try:
        current = resource.fetch()
    except GoogleApiError as error:
        # On an empty project the API is about to be enabled by an earlier task; a plan must survive that.
        if not (check_mode and error.service_disabled):
            raise
        api = error.target.split("/")[0]
        warnings.append(f"{api} is not enabled in project {client.project} yet: taking {resource.title} for absent.")
        current = None
    if current is not None and not check_mode:
        current = resource.settle(current)
    try:
        plan = resource.plan(current, state)
    except GoogleApiError as error:
        if not (check_mode and error.service_disabled):
            raise
        plan = Plan()
        plan.differences.compare(resource.wanted(), {})
        plan.act(f"{resource.verbs[0]} {resource.title}", resource.create)
    changed = bool(plan.actions)
    if changed and check_mode:
        final = None if state == "absent" else resource.predict(current)
    elif changed:
        for _name, action in plan.actions:
            _run(resource, state, action)
        final = _final(resource, state, created=current is None)
    else:
        final = current
    found_warnings = [*warnings, *plan.warnings, *client.warnings]
    row = {
        "resource": resource.title,
        "change": change_of(plan, state, existed=current is not None),
        "actions": [name for name, _action in plan.actions],
    }
    return Outcome(changed, resource.shown(final), plan, found_warnings, [row])


def change_of(plan: Plan, state: str, *, existed: bool) -> str:
    """Return what the plan's actions amount to: none, create, update, delete, or power (switched on or off)."""
    names = {name for name, _action in plan.actions}
    if not names:
        return "none"
    if state == "absent":
        return "delete"
    if not existed:
        return "create"
    return "power" if names <= POWER_ACTIONS else "update"


def reconcile_all(resources: Sequence[Resource], state: str, *, check_mode: bool) -> Outcome:
    """Bring several resources into ``state``, one after the other, and report them as one.

    The outcome's ``resource`` is the list of theirs; differences are told apart by the resources' titles.
    """
    plan, parts = Plan(), []
    for resource in resources:
        outcome = reconcile(resource, state, check_mode=check_mode)
        parts.append(outcome)
        plan.actions += outcome.plan.actions
        for option in outcome.plan.differences.options:
            differences = outcome.plan.differences
            plan.differences.add(
                f"{resource.title}: {option}", differences.after.get(option), differences.before.get(option)
            )
    warnings = list(dict.fromkeys(warning for part in parts for warning in part.warnings))
    return Outcome(
        bool(plan.actions),
        [part.resource for part in parts],
        plan,
        warnings,
        rows=[row for part in parts for row in part.rows],
    )


def _run(resource: Resource, state: str, action: Callable[[], Any]) -> None:
    """Act. When an answer got lost and the call was repeated, the second one meets the result of the first."""
    try:
        action()
    except GoogleApiError as error:
        created = action == resource.create and error.already_exists and error.attempts > 1
        deleted = state == "absent" and error.status == 404
        if not created and not deleted:
            raise


def _final(resource: Resource, state: str, *, created: bool) -> dict[str, Any] | None:
    if state == "absent" or not created:
        return resource.fetch()

    def probe() -> dict[str, Any] | None:
        try:
            return resource.fetch()
        except GoogleApiError as error:
            # Where Google does not know the new resource yet, it may answer as if we had no right to see it.
            if error.status == 403 and "may not exist" in error.google_message:
                return None
            raise

    return resource.client.until(
        probe,
        attempting=f"create {resource.title}",
        waiting_for="the new resource",
        timeout=VISIBLE_WITHIN,
    )
