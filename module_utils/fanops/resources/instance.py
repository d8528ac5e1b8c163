# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compute Engine instance: created whole, corrected while it runs where Google allows that, started and stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, compute_url, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile import fields
from ansible.module_utils.fanops.reconcile.reconciler import VISIBLE_WITHIN, Plan, Resource
from ansible.module_utils.fanops.resources import instance_body
from ansible.module_utils.fanops.resources.image import family_of, newest_image
from ansible.module_utils.fanops.resources.instance_body import CREATE, LIVE, STOPPED, InstanceField, instance_fields

STABLE = frozenset({"RUNNING", "TERMINATED", "SUSPENDED", "STOPPED"})
FINGERPRINT_ATTEMPTS = 5


def locate(client: Client, name: str, zones: list[str]) -> dict[str, Any] | None:
    """Return the instance ``name`` in the first of ``zones`` that has one, None if none has."""
    url = f"{compute_url(client.project)}/zones/{segment(zones[0])}/instances/{segment(name)}"
    found = client.find(url, attempting=f"read instance {name} in {zones[0]}")
    if found is not None or len(zones) == 1:
        return found
    elsewhere: dict[str, dict[str, Any]] = {}
    url = f"{compute_url(client.project)}/aggregated/instances"
    for page in client.pages(url, attempting=f"look for instance {name}", params={"filter": f"name = {name}"}):
        for scope in page.get("items", {}).values():
            elsewhere.update({basename(instance["zone"]): instance for instance in scope.get("instances", [])})
    return next((elsewhere[zone] for zone in zones if zone in elsewhere), None)


class Instance(Resource):
    """One VM. ``state`` is present, running, stopped or absent."""

    kind = "instance"

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        #: Where it is, or is about to be: the first of ``zones`` unless it was found, or had to go, elsewhere.
        self.zone: str = options["zone"]

    @property
    def zones(self) -> list[str]:
        """The zones it may be in, the best first."""
        others = self.options.get("fallback_zones") or []
        return [self.options["zone"], *(zone for zone in others if zone != self.options["zone"])]

    @property
    def title(self) -> str:
        """Name and zone."""
        return f"instance {self.options['name']} in {self.zone}"

    @property
    def path(self) -> str:
        """The instance, relative to the project."""
        return f"zones/{segment(self.zone)}/instances/{segment(self.options['name'])}"

    # -- reading -------------------------------------------------------------------------------------------------

    def fetch(self) -> dict[str, Any] | None:
        """The instance as the API shows it, in whichever of its zones it is."""
        found = locate(self.client, self.options["name"], self.zones)
        if found is not None:
            self.zone = basename(found["zone"])
        return found

    def settle(self, current: dict[str, Any]) -> dict[str, Any] | None:
        """Wait while it is starting or stopping."""
        return self._wait_for(STABLE, current)

    def wanted(self) -> dict[str, Any]:
        """The options that describe the instance."""
        return fields.wanted(self._fields(), self.options)

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The instance in option words."""
        return fields.view(self._fields(), current)

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be, without what only Google can know (addresses, ids)."""
        predicted = instance_body.predicted(self.client.project, self._options_in_zone(), current)
        # An instance that is made runs; stopping does not make one. "present" leaves an existing one as it is.
        if current is None or self.options["state"] == "running":
            predicted["status"] = "RUNNING"
        elif self.options["state"] == "stopped":
            predicted["status"] = "TERMINATED"
        return predicted

    def shown(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """Without the values of metadata that the options do not manage."""
        return instance_body.shown(found, self.options["metadata"] or {})

    # -- planning ------------------------------------------------------------------------------------------------

    def plan(self, current: dict[str, Any] | None, state: str) -> Plan:
        """List what has to be done."""
        if state == "absent":
            return self._plan_absent(current)
        if current is None:
            # A VM that does not exist is not running, which is all that "stopped" asks for.
            return Plan() if state == "stopped" else self._plan_create()
        plan = Plan()
        plan.differences.compare(self.wanted(), self.view(current))
        family = family_of(current, self.options["image_families"] or [])
        plan.extra = self._image_facts(family)
        self._leave_alone(plan, CREATE, "that takes a new instance (delete it, then run again)")
        running = current["status"] not in ("TERMINATED", "STOPPED", "SUSPENDED")
        offline = [field.option for field in self._changed(plan, STOPPED)]
        if "machine_type" in offline:
            self._check_machine_type("resize")  # before the VM is stopped for a type that does not exist
        restart = bool(offline) and running and state != "stopped" and self.options["allow_restart"]
        if offline and running and state != "stopped" and not restart:
            self._leave_alone(plan, STOPPED, "that needs a stop (allow_restart: true, or stop it first)")
            plan.extra["needs_stop"] = offline
        self._plan_live_updates(current, plan)
        if running and (state == "stopped" or restart):
            plan.act("stop", self._stop)
            running = False
        self._plan_offline_updates(current, plan)
        if state == "stopped" and current["status"] not in ("TERMINATED", "STOPPED", "SUSPENDED"):
            plan.differences.add("status", "TERMINATED", current["status"])
        if state == "running" and current["status"] != "RUNNING":
            plan.differences.add("status", "RUNNING", current["status"])
        if restart or (state == "running" and not running):
            verb = "resume" if current["status"] == "SUSPENDED" else "start"
            plan.act(verb, lambda: self._start(verb))
        return plan

    def _options_in_zone(self) -> dict[str, Any]:
        return {**self.options, "zone": self.zone}

    def _fields(self) -> tuple[InstanceField, ...]:
        return instance_fields(self.client.project, self._options_in_zone())

    def _changed(self, plan: Plan, when: str) -> list[InstanceField]:
        """The options that differ and can be changed ``when``."""
        return [field for field in self._fields() if field.when == when and field.option in plan.differences]

    def _plan_absent(self, current: dict[str, Any] | None) -> Plan:
        plan = super().plan(current, "absent")
        if current and current.get("deletionProtection") and self.options["deletion_protection"] is False:
            plan.actions.insert(0, ("unprotect", lambda: self._protect(False)))
        return plan

    def _plan_create(self) -> Plan:
        missing = [name for name in ("machine_type", "image_families") if not self.options[name]]
        if missing:
            raise GoogleApiError(
                f"start {self.title}",
                "it does not exist",
                f"Create it first (playbooks/provision_resources.yml): a new instance needs {' and '.join(missing)}.",
                status=404,
                reason="notFound",
            )
        self._check_machine_type("create")
        families, project = self.options["image_families"], self.options["image_project"]
        image, family = newest_image(self.client, families, project)
        plan = Plan(extra=self._image_facts(family))
        if family != families[0]:
            plan.warnings.append(
                f"Image family {families[0]} of {project} does not exist (any more): {self.title} gets {family}."
            )
        plan.differences.compare(self.wanted(), {})
        plan.differences.add("image", basename(image["selfLink"]), None)
        plan.differences.add("status", "RUNNING", None)
        plan.act("create", lambda: self._create(image, self.zones))
        return plan

    def _image_facts(self, family: str | None) -> dict[str, Any]:
        first = (self.options["image_families"] or [None])[0]
        return {"image_family": family, "image_fallback": bool(family and first and family != first), "needs_stop": []}

    def _check_machine_type(self, verb: str) -> None:
        zone, name = self.zone, self.options["machine_type"]
        attempting = f"{verb} {self.title}"
        url = f"{compute_url(self.client.project)}/zones/{segment(zone)}/machineTypes/{segment(name)}"
        if self.client.find(url, attempting=attempting) is None:
            raise GoogleApiError(
                attempting,
                f"there is no machine type {name} in zone {zone}",
                f"Check vm_machine_type: 'gcloud compute machine-types list --zones {zone}' shows what there is.",
                status=404,
                reason="notFound",
            )

    def _leave_alone(self, plan: Plan, when: str, why: str) -> None:
        for option in [field.option for field in self._changed(plan, when)]:
            was, want = plan.differences.before.get(option), plan.differences.after.get(option)
            plan.warnings.append(f"{self.title}: {option} is {was!r}, wanted {want!r}; {why}.")
            plan.differences.drop(option)

    # -- changing ------------------------------------------------------------------------------------------------

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it; its boot disk goes with it (autoDelete)."""
        self.client.compute("DELETE", self.path, attempting=f"delete {self.title}")

    def _plan_live_updates(self, current: dict[str, Any], plan: Plan) -> None:
        others: dict[str, Callable[[], None]] = {
            "deletion_protection": lambda: self._protect(self.options["deletion_protection"]),
            "external_ip": lambda: self._set_external_ip(current),
        }
        for field in self._changed(plan, LIVE):
            plan.act(f"set {field.option}", others.get(field.option) or partial(self._set_live, field, current))

    def _plan_offline_updates(self, current: dict[str, Any], plan: Plan) -> None:
        changed = {field.verb for field in self._changed(plan, STOPPED)}
        for field in self._fields():  # two options of one method are one request
            if field.verb in changed:
                changed.remove(field.verb)
                plan.act(f"set {field.option}", partial(self._set, field, current))

    def _set(self, field: InstanceField, current: dict[str, Any]) -> None:
        body = field.request(current, field.wanted(self.options)) if field.request else None
        attempting = f"set {field.option} of {self.title}"
        self.client.compute(field.method, f"{self.path}/{field.verb}", attempting=attempting, body=body)

    def _set_live(self, field: InstanceField, current: dict[str, Any]) -> None:
        """Set what carries a fingerprint: when another writer was faster, build on what it wrote."""
        for attempt in range(1, FINGERPRINT_ATTEMPTS + 1):
            try:
                return self._set(field, current)
            except GoogleApiError as error:
                if error.status != 412 or attempt == FINGERPRINT_ATTEMPTS:
                    raise
            self.client.sleep(0.5 * attempt)
            current = self.fetch() or current

    def _protect(self, protected: bool) -> None:
        self.client.compute(
            "POST",
            f"{self.path}/setDeletionProtection",
            attempting=f"set deletion_protection of {self.title}",
            params={"deletionProtection": str(protected).lower()},
        )

    def _set_external_ip(self, current: dict[str, Any]) -> None:
        nic = current["networkInterfaces"][0]
        attempting = f"set external_ip of {self.title}"
        params = {"networkInterface": nic["name"]}
        if self.options["external_ip"]:
            body = instance_body.access_config(self.options)
            self.client.compute("POST", f"{self.path}/addAccessConfig", attempting=attempting, params=params, body=body)
            return
        for config in nic.get("accessConfigs", []):
            self.client.compute(
                "POST",
                f"{self.path}/deleteAccessConfig",
                attempting=attempting,
                params={**params, "accessConfig": config["name"]},
            )

    def _create(self, image: dict[str, Any], zones: list[str]) -> None:
        """Insert it into the first of the zones that has a machine of its type left."""
        for position, zone in enumerate(zones):
            self.zone = zone
            try:
                self._insert(instance_body.insert_body(self.client.project, self._options_in_zone(), image))
                return
            except GoogleApiError as error:
                if not error.out_of_stock or position == len(zones) - 1:
                    raise
            self.client.warnings.append(
                f"Zone {zone} has no {self.options['machine_type']} left: trying {zones[position + 1]}."
            )

    def _insert(self, body: dict[str, Any]) -> None:
        """Insert; the service account may be so new that Compute does not see it yet, so try for a minute."""
        deadline = self.client.clock() + VISIBLE_WITHIN
        while True:
            try:
                self.client.compute(
                    "POST", f"zones/{segment(self.zone)}/instances", attempting=f"create {self.title}", body=body
                )
                break
            except GoogleApiError as error:
                text = error.google_message.lower()
                account_unseen = "service" in text and "account" in text and error.status in (400, 404)
                if not account_unseen or self.client.clock() > deadline:
                    raise
            self.client.sleep(5.0)
        self._wait_for(frozenset({"RUNNING"}))

    def _start(self, verb: str) -> None:
        """Start it. Where its zone has no machine left it is made anew elsewhere: nothing on its disk is unique."""
        try:
            self.client.compute("POST", f"{self.path}/{verb}", attempting=f"{verb} {self.title}")
        except GoogleApiError as error:
            others = [zone for zone in self.zones if zone != self.zone]
            families = self.options["image_families"]
            if not error.out_of_stock or not others or not families:
                raise
            self.client.warnings.append(
                f"Zone {self.zone} has no {self.options['machine_type']} left to start {self.options['name']} on: it is "
                f"deleted there and made anew, trying {others[0]}."
            )
            image, _family = newest_image(self.client, families, self.options["image_project"])
            self.client.compute("DELETE", self.path, attempting=f"delete {self.title}")
            self._create(image, others)
            return
        self._wait_for(frozenset({"RUNNING"}))

    def _stop(self) -> None:
        self.client.compute("POST", f"{self.path}/stop", attempting=f"stop {self.title}")
        # The operation's end is not the proof. The VM is billed until its status is TERMINATED.
        self._wait_for(frozenset({"TERMINATED", "STOPPED"}))

    def _wait_for(self, statuses: frozenset[str], seen: dict[str, Any] | None = None) -> dict[str, Any] | None:
        def probe() -> tuple[dict[str, Any] | None] | None:
            nonlocal seen
            if seen is None:
                seen = self.fetch()
                if seen is None:  # deleted while we waited
                    return (None,)
            found, seen = seen, None
            return (found,) if found.get("status") in statuses else None

        return self.client.until(
            probe, attempting=f"wait for {self.title}", waiting_for=f"status {' or '.join(sorted(statuses))}"
        )[0]
