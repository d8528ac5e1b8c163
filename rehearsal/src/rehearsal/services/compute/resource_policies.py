# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.resourcePolicies: instance schedules, and attaching them to VMs.

Schedules follow a calendar: this machine's clock, and by how much `rehearsal calendar` has moved it ahead.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rehearsal import ahead
from rehearsal.errors import ApiError
from rehearsal.services.compute import catalogue, clock, cron, errors, links, operations, records, validation
from rehearsal.services.compute.kinds import StoredKind
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.mutations import mutation
from rehearsal.store import Store
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

# What the service agent does when a schedule fires; the permission is called after it.
SCHEDULES = {"vmStartSchedule": "start", "vmStopSchedule": "stop"}


def today(store: Store) -> float:
    """Return the calendar's time in seconds since the epoch."""
    return clock.now() + clock.behind(ahead.calendar(store))


def service_agent(cloud: Cloud, project: str) -> str:
    """Return the account as which Compute starts and stops VMs by schedule."""
    return f"service-{cloud.identity.project_number(project)}@compute-system.iam.gserviceaccount.com"


def check_attachable(
    cloud: Cloud, project: str, zone: str, current: list[str], given: list[str], field: str
) -> list[str]:
    """Return the URLs of all policies that the VM has once `given` are attached.

    Raises ApiError 400 for a malformed reference, a policy that is not in the VM's region, or a second schedule, and 412
    while the service agent may not do what a schedule asks of it.
    """
    region = catalogue.region_of_zone(zone)
    attached = list(current)
    for index, value in enumerate(given):
        found = links.resolve(value, project, "resourcePolicies", field=f"{field}[{index}]")
        policy = POLICIES.find(cloud, found.project, found.location, found.name)
        if policy is None:
            raise errors.not_found(found.path)
        if found.location != region:
            raise errors.invalid(f"{field}[{index}]", value, "The policy must be in the region of the instance.")
        _check_agent(cloud, project, policy)
        if found.link not in attached:
            attached.append(found.link)
    if len(attached) > 1:
        raise errors.invalid_usage("An instance can have at most one instance schedule attached")
    return attached


def _check_agent(cloud: Cloud, project: str, policy: Resource) -> None:
    wanted, agent = policy["instanceSchedulePolicy"], service_agent(cloud, project)
    needed = [
        f"compute.instances.{verb}" for name, verb in SCHEDULES.items() if (wanted.get(name) or {}).get("schedule")
    ]
    try:
        for permission in needed:
            cloud.identity.authorize(agent, permission, project)
    except ApiError:
        raise errors.condition_not_met(
            f"Compute Engine System service account {agent} needs to have [{','.join(needed)}] permissions applied in "
            "order to perform this operation."
        ) from None


def _users(cloud: Cloud, link: str) -> list[str]:
    return [
        record["resource"]["selfLink"]
        for record in records.INSTANCES.all(cloud)
        if link in record["resource"].get("resourcePolicies", [])
    ]


def next_run(policy: Resource, schedule: str, after: float) -> float | None:
    """Return when a policy's `vmStartSchedule` or `vmStopSchedule` fires next (seconds since the epoch), if ever."""
    wanted = policy["instanceSchedulePolicy"]
    if not (wanted.get(schedule) or {}).get("schedule"):
        return None
    if wanted.get("startTime"):
        after = max(after, clock.parse(wanted["startTime"]) - 60)
    moment = datetime.fromtimestamp(after, ZoneInfo(wanted["timeZone"]))
    found = cron.parse(wanted[schedule]["schedule"]).next_after(moment)
    if found is None or (wanted.get("expirationTime") and found.timestamp() > clock.parse(wanted["expirationTime"])):
        return None
    return found.timestamp()


def _shown(cloud: Cloud, policy: Resource) -> Resource:
    now = today(cloud.store)
    upcoming = [run for schedule in SCHEDULES if (run := next_run(policy, schedule, now)) is not None]
    expires = policy["instanceSchedulePolicy"].get("expirationTime")
    expired = bool(expires) and clock.parse(expires) <= now
    status: dict[str, Any] = {}
    if upcoming:
        status["nextRunStartTime"] = clock.timestamp(min(upcoming))
    if policy.get("lastRun"):
        status["lastRunStartTime"] = clock.timestamp(policy["lastRun"])
    shown = {name: value for name, value in policy.items() if name != "lastRun"}
    shown["status"] = "EXPIRED" if expired else "READY"
    return shown | ({"resourceStatus": {"instanceSchedulePolicy": status}} if status else {})


def _check_schedule(given: dict[str, Any] | None) -> dict[str, Any]:
    where = "resource.instanceSchedulePolicy"
    if not given:
        raise errors.not_rehearsed("a resource policy other than an instance schedule")
    if not any((given.get(schedule) or {}).get("schedule") for schedule in SCHEDULES):
        raise errors.invalid(where, "", "At least one of vmStartSchedule and vmStopSchedule must be specified.")
    try:
        ZoneInfo(given.get("timeZone") or "")
    except (ValueError, OSError, KeyError):
        text = "Must be a time zone of the IANA database, such as Europe/Paris."
        raise errors.invalid(f"{where}.timeZone", given.get("timeZone", ""), text) from None
    for schedule in SCHEDULES:
        expression = (given.get(schedule) or {}).get("schedule")
        if expression:
            try:
                cron.parse(expression)
            except ValueError as error:
                raise errors.invalid(f"{where}.{schedule}.schedule", expression, f"{error}.") from None
    for name in ("startTime", "expirationTime"):
        if given.get(name):
            try:
                clock.parse(given[name])
            except ValueError:
                text = "Must be a time in RFC3339 text format."
                raise errors.invalid(f"{where}.{name}", given[name], text) from None
    return given


POLICIES: StoredKind[Resource] = StoredKind("resourcePolicies", "resourcePolicy", "region", _shown)
POLICIES.serve(
    "compute.resourcePolicies.get", "compute.resourcePolicies.list", "compute.resourcePolicies.aggregatedList"
)


@mutation("compute.resourcePolicies.insert", "compute.resourcePolicies.create")
def insert(call: Call) -> Resource:
    """Create an instance schedule."""
    region = catalogue.region_of(call)
    name = validation.check_name(call.body.get("name"))
    schedule = _check_schedule(call.body.get("instanceSchedulePolicy"))
    with call.cloud.store.lock:
        POLICIES.check_new(call.cloud, call.project, region, name)
        policy = POLICIES.head(call.project, region, name) | {
            "description": call.body.get("description", ""),
            "instanceSchedulePolicy": schedule,
        }
        return POLICIES.create(call, region, policy)


@mutation("compute.resourcePolicies.patch", "compute.resourcePolicies.update")
def patch(call: Call) -> Resource:
    """Change the description, or the schedule whole; the VMs that have it follow the new one."""
    region = catalogue.region_of(call)
    with call.cloud.store.lock:
        policy = POLICIES.load(call, region)
        if "instanceSchedulePolicy" in call.body:
            policy["instanceSchedulePolicy"] = _check_schedule(call.body["instanceSchedulePolicy"])
        policy["description"] = call.body.get("description", policy["description"])
        POLICIES.put(call.cloud, call.project, region, policy["name"], policy)
        return operations.done(call.cloud, POLICIES.target(call.project, region, policy), "update", call.principal)


@mutation("compute.resourcePolicies.delete", "compute.resourcePolicies.delete")
def delete(call: Call) -> Resource:
    """Delete a policy that no VM has."""
    region = catalogue.region_of(call)
    with call.cloud.store.lock:
        policy = POLICIES.load(call, region)
        target = POLICIES.remove(call, region, policy, _users(call.cloud, policy["selfLink"]))
        return operations.done(call.cloud, target, "delete", call.principal)


@mutation(
    "compute.instances.addResourcePolicies", "compute.instances.addResourcePolicies", "compute.resourcePolicies.use"
)
def add(call: Call) -> Resource:
    """Attach policies to a VM."""
    ref = records.ref_of(call)
    with records.editing(call.cloud, ref) as record:
        current = record["resource"].get("resourcePolicies", [])
        given = call.body.get("resourcePolicies") or []
        record["resource"]["resourcePolicies"] = check_attachable(
            call.cloud, call.project, ref.zone, current, given, "resourcePolicies"
        )
        return operations.done(call.cloud, ref.target(record), "addResourcePolicies", call.principal)


@mutation("compute.instances.removeResourcePolicies", "compute.instances.removeResourcePolicies")
def remove(call: Call) -> Resource:
    """Detach policies from a VM."""
    ref = records.ref_of(call)
    field = "resourcePolicies"
    gone = {
        links.resolve(value, call.project, "resourcePolicies", field=f"{field}[{index}]").link
        for index, value in enumerate(call.body.get(field) or [])
    }
    with records.editing(call.cloud, ref) as record:
        kept = [link for link in record["resource"].get(field, []) if link not in gone]
        record["resource"].pop(field, None)
        if kept:
            record["resource"][field] = kept
        return operations.done(call.cloud, ref.target(record), "removeResourcePolicies", call.principal)
