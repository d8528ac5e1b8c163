# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.networks and subnetworks: the `default` network of every project, with one subnetwork a region.

The address ranges are the rehearsal bridge's, not Google's: each region has 512 addresses of 10.128.0.0/21.
"""

from __future__ import annotations

import ipaddress

from rehearsal.services.compute import catalogue, errors, fingerprints, links
from rehearsal.services.compute.listing import Resource, aggregated, page
from rehearsal.wire.calls import Call, method

DEFAULT = "default"
RANGES: dict[str, ipaddress.IPv4Network] = dict(
    zip(catalogue.REGIONS, ipaddress.IPv4Network("10.128.0.0/21").subnets(new_prefix=23), strict=True)
)


def network_resource(project: str) -> Resource:
    """Return the Network."""
    path = f"projects/{project}/global/networks/{DEFAULT}"
    return {
        "kind": "compute#network",
        "id": fingerprints.stable_id(path),
        "creationTimestamp": catalogue.EPOCH,
        "name": DEFAULT,
        "description": "Default network for the project",
        "autoCreateSubnetworks": True,
        "subnetworks": [links.link(_subnetwork_path(project, region)) for region in RANGES],
        "routingConfig": {"routingMode": "REGIONAL"},
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "mtu": 1460,
        "selfLink": links.link(path),
        "selfLinkWithId": links.link(f"projects/{project}/global/networks/{fingerprints.stable_id(path)}"),
    }


def subnetwork_resource(project: str, region: str) -> Resource:
    """Return the Subnetwork of a region."""
    path = _subnetwork_path(project, region)
    subnet = RANGES[region]
    return {
        "kind": "compute#subnetwork",
        "id": fingerprints.stable_id(path),
        "creationTimestamp": catalogue.EPOCH,
        "name": DEFAULT,
        "network": links.link(f"projects/{project}/global/networks/{DEFAULT}"),
        "ipCidrRange": str(subnet),
        "gatewayAddress": str(subnet[1]),
        "region": links.link(f"projects/{project}/regions/{region}"),
        "selfLink": links.link(path),
        "privateIpGoogleAccess": False,
        "fingerprint": fingerprints.of(path),
        "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
    }


def _subnetwork_path(project: str, region: str) -> str:
    return f"projects/{project}/regions/{region}/subnetworks/{DEFAULT}"


def check_network(value: str, project: str, field: str) -> str:
    """Return the URL of the network that `value` names.

    Raises ApiError 400 for a malformed reference or a network that is not there.
    """
    found = links.resolve(value, project, "networks", field=field)
    if found.scope != "global":
        raise errors.malformed_url(field, value)
    if (found.project, found.name) != (project, DEFAULT):
        raise errors.invalid(field, value, "The referenced network resource cannot be found.")
    return found.link


def check_subnetwork(value: str, project: str, region: str, field: str) -> str:
    """Return the URL of the subnetwork that `value` names, which must be of the region.

    Raises ApiError 400 for a malformed reference or a subnetwork that is not there.
    """
    found = links.resolve(value, project, "subnetworks", field=field)
    if (found.project, found.scope, found.name) != (project, f"regions/{region}", DEFAULT):
        raise errors.invalid(field, value, "The referenced subnetwork resource cannot be found.")
    return found.link


@method("compute.networks.get", permission="compute.networks.get")
def get_network(call: Call) -> Resource:
    """Return the network."""
    if call.params["network"] != DEFAULT:
        raise errors.not_found(f"projects/{call.project}/global/networks/{call.params['network']}")
    return network_resource(call.project)


@method("compute.networks.list", permission="compute.networks.list")
def list_networks(call: Call) -> Resource:
    """List the networks."""
    path = f"projects/{call.project}/global/networks"
    return page(call, [network_resource(call.project)], kind="compute#networkList", path=path)


@method("compute.subnetworks.get", permission="compute.subnetworks.get")
def get_subnetwork(call: Call) -> Resource:
    """Return the subnetwork of a region."""
    region, name = catalogue.region_of(call), call.params["subnetwork"]
    if name != DEFAULT:
        raise errors.not_found(f"projects/{call.project}/regions/{region}/subnetworks/{name}")
    return subnetwork_resource(call.project, region)


@method("compute.subnetworks.list", permission="compute.subnetworks.list")
def list_subnetworks(call: Call) -> Resource:
    """List the subnetworks of a region."""
    region = catalogue.region_of(call)
    path = f"projects/{call.project}/regions/{region}/subnetworks"
    return page(call, [subnetwork_resource(call.project, region)], kind="compute#subnetworkList", path=path)


@method("compute.subnetworks.aggregatedList", permission="compute.subnetworks.list")
def list_all_subnetworks(call: Call) -> Resource:
    """List the subnetworks of all regions."""
    scoped = {f"regions/{region}": [subnetwork_resource(call.project, region)] for region in catalogue.REGIONS}
    path = f"projects/{call.project}/aggregated/subnetworks"
    return aggregated(call, scoped, kind="compute#subnetworkAggregatedList", path=path, member="subnetworks")
