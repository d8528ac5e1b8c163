# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.firewalls. A project starts with Google's four rules of the default network."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from rehearsal.services.compute import clock, errors, links, networks, operations, validation
from rehearsal.services.compute.kinds import StoredKind
from rehearsal.services.compute.listing import Resource
from rehearsal.services.compute.mutations import mutation
from rehearsal.store import Documents
from rehearsal.wire.calls import Call

if TYPE_CHECKING:
    from rehearsal.cloud import Cloud

DEFAULTS_MADE: Documents[dict[str, str]] = Documents("compute.defaults")
_DEFAULTS: dict[str, Resource] = {
    "default-allow-icmp": {"allowed": [{"IPProtocol": "icmp"}], "sourceRanges": ["0.0.0.0/0"]},
    "default-allow-internal": {
        "allowed": [
            {"IPProtocol": "tcp", "ports": ["0-65535"]},
            {"IPProtocol": "udp", "ports": ["0-65535"]},
            {"IPProtocol": "icmp"},
        ],
        "sourceRanges": ["10.128.0.0/9"],
    },
    "default-allow-rdp": {"allowed": [{"IPProtocol": "tcp", "ports": ["3389"]}], "sourceRanges": ["0.0.0.0/0"]},
    "default-allow-ssh": {"allowed": [{"IPProtocol": "tcp", "ports": ["22"]}], "sourceRanges": ["0.0.0.0/0"]},
}
_DEFAULT_TEXTS = {
    "default-allow-icmp": "Allow ICMP from anywhere",
    "default-allow-internal": "Allow internal traffic on the default network",
    "default-allow-rdp": "Allow RDP from anywhere",
    "default-allow-ssh": "Allow SSH from anywhere",
}
# What makes sense in a request; everything else in a Firewall is Google's to say.
_WRITABLE = (
    "allowed", "denied", "description", "destinationRanges", "direction", "disabled", "logConfig", "network",
    "priority", "sourceRanges", "sourceServiceAccounts", "sourceTags", "targetServiceAccounts", "targetTags",
)  # fmt: skip
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_PROTOCOLS = {"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"}


def _ensure_defaults(cloud: Cloud, project: str) -> None:
    """Give the project its first four rules, once: a rule that somebody deleted stays deleted."""
    with cloud.store.lock:
        if DEFAULTS_MADE.get(cloud.store, f"{project}/firewalls"):
            return
        for name, rule in _DEFAULTS.items():
            body = rule | {"name": name, "description": _DEFAULT_TEXTS[name], "priority": 65534}
            FIREWALLS.put(cloud, project, "", name, _resource(project, name, body))
        DEFAULTS_MADE.put(cloud.store, f"{project}/firewalls", {"made": clock.timestamp()})


def _resource(project: str, name: str, body: Resource) -> Resource:
    rule = {field: body[field] for field in _WRITABLE if body.get(field) not in (None, [])}
    rule.setdefault("network", links.link(networks.NETWORKS.path(project, "", networks.DEFAULT)))
    rule.setdefault("direction", "INGRESS")
    rule.setdefault("priority", 1000)
    rule.setdefault("disabled", False)
    rule.setdefault("logConfig", {"enable": False})
    rule["priority"] = int(rule["priority"])
    sources = ("sourceRanges", "sourceTags", "sourceServiceAccounts")
    if rule["direction"] == "INGRESS" and not any(rule.get(field) for field in sources):
        rule["sourceRanges"] = ["0.0.0.0/0"]
    if rule["direction"] == "EGRESS":
        rule.setdefault("destinationRanges", ["0.0.0.0/0"])
    kept = {field: body[field] for field in ("id", "creationTimestamp") if body.get(field)}
    return FIREWALLS.head(project, "", name) | kept | rule


def _check(project: str, body: Resource) -> Resource:
    """Return the body with its network as a URL.

    Raises ApiError 400 for what Google would refuse.
    """
    checked = dict(body)
    if body.get("network"):
        checked["network"] = networks.check_network(body["network"], project, "resource.network")
    allowed, denied = body.get("allowed") or [], body.get("denied") or []
    if bool(allowed) == bool(denied):
        raise errors.invalid("resource.allowed", allowed, "Exactly one of 'allowed' and 'denied' must be specified.")
    member = "allowed" if allowed else "denied"
    for index, entry in enumerate(allowed or denied):
        _check_protocol(f"resource.{member}[{index}]", entry)
    for field in ("sourceRanges", "destinationRanges"):
        for index, value in enumerate(body.get(field) or []):
            try:
                ipaddress.ip_network(value)
            except ValueError:
                text = "Must be a valid IPV4 or IPV6 address range in CIDR format."
                raise errors.invalid(f"resource.{field}[{index}]", value, text) from None
    for field in ("sourceTags", "targetTags"):
        validation.check_tags(body.get(field) or [], f"resource.{field}")
    priority = int(body.get("priority", 1000))
    if not 0 <= priority <= 65535:
        raise errors.invalid("resource.priority", priority, "Must be between 0 and 65535.")
    if body.get("direction") == "EGRESS" and (body.get("sourceRanges") or body.get("sourceTags")):
        raise errors.invalid("resource.sourceRanges", body.get("sourceRanges"), "Not allowed for direction EGRESS.")
    return checked


def _check_protocol(field: str, entry: dict[str, Any]) -> None:
    protocol, ports = str(entry.get("IPProtocol", "")), entry.get("ports") or []
    if protocol.lower() not in _PROTOCOLS and not (protocol.isdigit() and int(protocol) < 256):
        raise errors.invalid(
            f"{field}.IPProtocol", protocol, "Must be a well-known protocol or a number from 0 to 255."
        )
    if ports and protocol.lower() not in ("tcp", "udp", "sctp", "6", "17", "132"):
        raise errors.invalid(f"{field}.ports", ports, f"Ports may not be specified for protocol '{protocol}'.")
    for port in ports:
        found = _PORT.fullmatch(port)
        bounds = [int(bound) for bound in found.groups() if bound] if found else []
        if not found or max(bounds) > 65535 or bounds != sorted(bounds):
            raise errors.invalid(f"{field}.ports", port, "Must be a port or a range of ports, such as 22 or 80-90.")


def _existing(call: Call) -> Resource:
    _ensure_defaults(call.cloud, call.project)
    return FIREWALLS.load(call, "")


class _Firewalls(StoredKind[Resource]):
    """The firewall rules; a project gets its first four when it first looks."""

    def all(self, cloud: Cloud, project: str = "", place: str = "") -> list[Resource]:
        """Return the rules of a project."""
        _ensure_defaults(cloud, project)
        return super().all(cloud, project)


FIREWALLS = _Firewalls("firewalls", "firewall", "global", lambda _, rule: rule)
FIREWALLS.serve("compute.firewalls.get", "compute.firewalls.list")


@mutation("compute.firewalls.insert", "compute.firewalls.create", "compute.networks.updatePolicy")
def insert(call: Call) -> Resource:
    """Create a firewall rule."""
    _ensure_defaults(call.cloud, call.project)
    name = validation.check_name(call.body.get("name"))
    body = _check(call.project, call.body)
    with call.cloud.store.lock:
        FIREWALLS.check_new(call.cloud, call.project, "", name)
        return _write(call, name, {k: v for k, v in body.items() if k not in ("id", "creationTimestamp")}, "insert")


@mutation("compute.firewalls.patch", "compute.firewalls.update", "compute.networks.updatePolicy")
def patch(call: Call) -> Resource:
    """Change the given fields of a firewall rule; a field given as null or empty is cleared."""
    with call.cloud.store.lock:
        rule = _existing(call)
        changes = {field: call.body[field] for field in _WRITABLE if field in call.body}
        # A rule is one or the other: naming one side replaces the other.
        if changes.get("allowed"):
            rule.pop("denied", None)
        elif changes.get("denied"):
            rule.pop("allowed", None)
        return _write(call, rule["name"], _check(call.project, rule | changes), "patch")


@mutation("compute.firewalls.update", "compute.firewalls.update", "compute.networks.updatePolicy")
def update(call: Call) -> Resource:
    """Replace a firewall rule."""
    with call.cloud.store.lock:
        rule = _existing(call)
        kept = {field: rule[field] for field in ("id", "creationTimestamp")}
        body = {field: call.body[field] for field in _WRITABLE if field in call.body}
        return _write(call, rule["name"], _check(call.project, body) | kept, "update")


@mutation("compute.firewalls.delete", "compute.firewalls.delete", "compute.networks.updatePolicy")
def delete(call: Call) -> Resource:
    """Delete a firewall rule."""
    with call.cloud.store.lock:
        rule = _existing(call)
        FIREWALLS.delete(call.cloud, call.project, "", rule["name"])
        return _done(call, rule, "delete")


def _write(call: Call, name: str, body: Resource, operation_type: str) -> Resource:
    rule = _resource(call.project, name, body)
    FIREWALLS.put(call.cloud, call.project, "", name, rule)
    return _done(call, rule, operation_type)


def _done(call: Call, rule: Resource, operation_type: str) -> Resource:
    return operations.done(call.cloud, FIREWALLS.target(call.project, "", rule), operation_type, call.principal)
