# SPDX-License-Identifier: GPL-3.0-or-later
"""What all kinds of Compute resources have in common: paths, the head of a resource, get, list and aggregatedList."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic

from rehearsal.services.compute import catalogue, clock, errors, fingerprints, links
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.services.compute.operations import Target, done
from rehearsal.store import Documents, Record
from rehearsal.wire.calls import Call, Permission, method

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

PLACES: dict[str, Iterable[str]] = {"zone": catalogue.ZONES, "region": catalogue.REGIONS}


class Kind:
    """A kind of resource: `disks` in URLs, `disk` in types and parameters, in a `zone`, a `region`, or `global`.

    An empty `place` stands for what is directly below the project. `found` returns the resources of a call's project in
    a place, which is empty but for zones and regions.
    """

    def __init__(
        self, name: str, noun: str, place: str, found: Callable[[Call, str], list[Resource]], *more_scopes: str
    ) -> None:
        self.name, self.noun, self.place, self.found = name, noun, place, found
        self.more_scopes = more_scopes

    def scope(self, place: str) -> str:
        """Return `zones/Z`, `regions/R`, `global` or nothing."""
        return f"{self.place}s/{place}" if self.place in PLACES else self.place

    def path(self, project: str, place: str, name: str = "") -> str:
        """Return the path of a resource, or of the collection, from `projects/` on."""
        return "/".join(part for part in ("projects", project, self.scope(place), self.name, name) if part)

    def head(self, project: str, place: str, name: str, *, always: str = "") -> Resource:
        """Return the first members of a resource; `always` identifies one that has always been there."""
        scope = {self.place: links.link(f"projects/{project}/{self.scope(place)}")} if self.place in PLACES else {}
        return {
            "kind": f"compute#{self.noun}",
            "id": fingerprints.stable_id(always) if always else fingerprints.new_id(),
            "creationTimestamp": catalogue.EPOCH if always else clock.timestamp(),
            "name": name,
            "selfLink": links.link(self.path(project, place, name)),
        } | scope

    def place_of(self, call: Call) -> str:
        """Return the zone or region that the call names. Raises ApiError 400 for one that Google does not have."""
        return {"zone": catalogue.zone_of, "region": catalogue.region_of}.get(self.place, lambda _: "")(call)

    def serve(self, *ids: str, permission: Permission = "") -> None:
        """Answer these methods; by default a list needs the permission to list, and get its own."""
        answers = {"get": self._get, "list": self._list, "aggregatedList": self._aggregated_list}
        for method_id in ids:
            group, _, verb = method_id.rpartition(".")
            method(method_id, permission=permission or f"{group}.{'get' if verb == 'get' else 'list'}")(answers[verb])

    def _get(self, call: Call) -> Resource:
        place, name = self.place_of(call), call.params[self.noun]
        for resource in self.found(call, place):
            if resource["name"] == name:
                return resource
        raise errors.not_found(self.path(call.project, place, name))

    def _list(self, call: Call) -> Resource:
        place = self.place_of(call)
        path = self.path(call.project, place)
        return page(call, self.found(call, place), kind=f"compute#{self.noun}List", path=path)

    def _aggregated_list(self, call: Call) -> Resource:
        scoped: dict[str, list[Resource]] = {scope: [] for scope in self.more_scopes}
        scoped |= {self.scope(place): self.found(call, place) for place in PLACES[self.place]}
        path = f"projects/{call.project}/aggregated/{self.name}"
        return aggregated(call, scoped, kind=f"compute#{self.noun}AggregatedList", path=path, member=self.name)


class StoredKind(Kind, Generic[Record]):
    """A kind whose resources come from requests; `show` turns a record of the store into what clients see."""

    def __init__(
        self, name: str, noun: str, place: str, show: Callable[[Cloud, Record], Resource], *more_scopes: str
    ) -> None:
        self.records: Documents[Record] = Documents(f"compute.{name}")
        self.show = show
        super().__init__(name, noun, place, self._shown, *more_scopes)

    def _shown(self, call: Call, place: str) -> list[Resource]:
        return [self.show(call.cloud, record) for record in self.all(call.cloud, call.project, place)]

    def key(self, project: str, place: str, name: str) -> str:
        """Return the key in the store."""
        return "/".join(part for part in (project, place, name) if part)

    def all(self, cloud: Cloud, project: str = "", place: str = "") -> list[Record]:
        """Return the records of all projects, of a project, or of one place of a project."""
        prefix = "".join(f"{part}/" for part in (project, place) if part)
        return [record for _, record in self.records.list(cloud.store, prefix)]

    def find(self, cloud: Cloud, project: str, place: str, name: str) -> Record | None:
        """Return a record, or None."""
        return self.records.get(cloud.store, self.key(project, place, name))

    def load(self, call: Call, place: str) -> Record:
        """Return the record that a call names. Raises ApiError 404 when it does not exist."""
        found = self.find(call.cloud, call.project, place, call.params[self.noun])
        if found is None:
            raise errors.not_found(self.path(call.project, place, call.params[self.noun]))
        return found

    def check_new(self, cloud: Cloud, project: str, place: str, name: str) -> None:
        """Raise ApiError 409 where the name is taken."""
        if self.find(cloud, project, place, name) is not None:
            raise errors.already_exists(self.path(project, place, name))

    def put(self, cloud: Cloud, project: str, place: str, name: str, record: Record) -> None:
        """Write a record, whether or not it existed."""
        self.records.put(cloud.store, self.key(project, place, name), record)

    def delete(self, cloud: Cloud, project: str, place: str, name: str) -> None:
        """Forget a record."""
        self.records.delete(cloud.store, self.key(project, place, name))

    def create(self, call: Call, place: str, resource: Record) -> Resource:
        """Store a new resource; return the finished operation. Call with the store's lock held."""
        self.put(call.cloud, call.project, place, resource["name"], resource)
        return done(call.cloud, self.target(call.project, place, resource), "insert", call.principal)

    def remove(self, call: Call, place: str, resource: Record, users: list[str]) -> Target:
        """Forget a resource that has no users (their URLs); return what the operation is about.

        Raises ApiError 400 while it is in use. Call with the store's lock held.
        """
        target = self.target(call.project, place, resource)
        if users:
            raise errors.in_use(target.path, links.path_of(users[0]))
        self.delete(call.cloud, call.project, place, resource["name"])
        return target

    def target(self, project: str, place: str, resource: Mapping[str, Any]) -> Target:
        """Return what an operation on the resource is about."""
        return Target(project, self.scope(place), self.path(project, place, resource["name"]), resource["id"])
