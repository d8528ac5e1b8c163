# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.networks and subnetworks: the `default` network of every project, with one subnetwork a region.

The address ranges are the rehearsal bridge's, not Google's: each region has 512 addresses of 10.128.0.0/21.
"""

from __future__ import annotations

import ipaddress

from rehearsal.services.compute import catalogue, errors, fingerprints, links
from rehearsal.services.compute.kinds import Kind
from rehearsal.services.compute.listing import Resource
from rehearsal.wire.calls import Call

DEFAULT = "default"
RANGES: dict[str, ipaddress.IPv4Network] = dict(
    zip(catalogue.REGIONS, ipaddress.IPv4Network("10.128.0.0/21").subnets(new_prefix=23), strict=True)
)


def _networks(call: Call, _place: str) -> list[Resource]:
    path = NETWORKS.path(call.project, "", DEFAULT)
    return [
        NETWORKS.head(call.project, "", DEFAULT, always=path)
        | {
            "description": "Default network for the project",
            "autoCreateSubnetworks": True,
            "subnetworks": [links.link(SUBNETWORKS.path(call.project, region, DEFAULT)) for region in RANGES],
            "routingConfig": {"routingMode": "REGIONAL", "bgpBestPathSelectionMode": "LEGACY"},
            "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
            "mtu": 1460,
            "selfLinkWithId": links.link(NETWORKS.path(call.project, "", fingerprints.stable_id(path))),
        }
    ]


def _subnetworks(call: Call, region: str) -> list[Resource]:
    path, subnet = SUBNETWORKS.path(call.project, region, DEFAULT), RANGES[region]
    return [
        SUBNETWORKS.head(call.project, region, DEFAULT, always=path)
        | {
            "network": links.link(NETWORKS.path(call.project, "", DEFAULT)),
            "ipCidrRange": str(subnet),
            "gatewayAddress": str(subnet[1]),
            "privateIpGoogleAccess": False,
            "fingerprint": fingerprints.of(path),
            "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
            "purpose": "PRIVATE",
            "stackType": "IPV4_ONLY",
            "allowSubnetCidrRoutesOverlap": False,
            "enableFlowLogs": False,
            "logConfig": {"enable": False},
        }
    ]


NETWORKS = Kind("networks", "network", "global", _networks)
NETWORKS.serve("compute.networks.get", "compute.networks.list")
SUBNETWORKS = Kind("subnetworks", "subnetwork", "region", _subnetworks)
SUBNETWORKS.serve("compute.subnetworks.get", "compute.subnetworks.list", "compute.subnetworks.aggregatedList")


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
