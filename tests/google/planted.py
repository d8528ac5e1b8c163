# SPDX-License-Identifier: GPL-3.0-or-later
"""A mitmproxy addon that plants differences into Google's answers, before they are recorded. Only proofs load it."""

from __future__ import annotations

import json
from typing import Any

from mitmproxy import http

from tests.google.transcript import named

#: Method, and what becomes of each of its answers with 200: a field goes, comes, or has another type.
GONE = {
    "compute.instances.get": "cpuPlatform",
    "storage.buckets.get": "projectNumber",
    "compute.zoneOperations.wait": "user",
    "iam.projects.serviceAccounts.get": "oauth2ClientId",
}
NEW: dict[str, tuple[str, Any]] = {
    "compute.instances.get": ("satisfiesPzs", True),
    "cloudfunctions.projects.locations.functions.get": ("satisfiesPzs", False),
    "compute.machineTypes.get": ("deprecated", {"state": "DEPRECATED"}),
    "storage.objects.list": ("unreachable", ["somewhere"]),
}
OTHER: dict[str, tuple[str, Any]] = {
    "compute.firewalls.get": ("creationTimestamp", 7),
    "cloudresourcemanager.projects.get": ("createTime", 7),
}
#: Their first call is answered with 503, as it happens.
UNAVAILABLE = ("compute.networks.get", "storage.buckets.getIamPolicy")


class Planted:
    """Changes answers in the ways above."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def response(self, flow: http.HTTPFlow) -> None:
        """Change the answer, if it is one of these."""
        if flow.response is None or flow.response.status_code != 200:
            return
        name, _ = named(flow.request.method, flow.request.pretty_url)
        if name in UNAVAILABLE and name not in self.failed:
            self.failed.add(name)
            flow.response = http.Response.make(
                503, json.dumps({"error": {"code": 503, "message": "planted"}}), {"Content-Type": "application/json"}
            )
            return
        if name not in GONE | NEW | OTHER or flow.request.query.get("alt") == "media":
            return
        content = json.loads(flow.response.get_text() or "{}")
        content.pop(GONE.get(name), None)
        for field, value in filter(None, (NEW.get(name), OTHER.get(name))):
            content[field] = value
        flow.response.text = json.dumps(content)


addons = [Planted()]
