# SPDX-License-Identifier: GPL-3.0-or-later
"""What the front door makes of a request before it hands it on."""

from __future__ import annotations

import pytest
from mitmproxy.test import tflow, tutils


def test_a_body_without_a_length_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_GATEWAY_PORT", "1")
    from rehearsal.wire.front_door import FrontDoor

    request = tutils.treq(method=b"POST", http_version=b"HTTP/2.0", headers=((b"a", b"b"),), content=b"hello")
    flow = tflow.tflow(req=request)
    FrontDoor().request(flow)
    assert flow.request.headers["Content-Length"] == "5"
    flow = tflow.tflow(req=tutils.treq(headers=((b"transfer-encoding", b"chunked"),), content=b"hello"))
    FrontDoor().request(flow)
    assert "Content-Length" not in flow.request.headers
