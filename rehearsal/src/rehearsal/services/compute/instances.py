# SPDX-License-Identifier: GPL-3.0-or-later
"""compute.instances, the methods that only look: serial port, guest attributes."""

from __future__ import annotations

from typing import Any

from rehearsal.errors import ApiError
from rehearsal.services.compute import errors, guest_view, links, records
from rehearsal.wire.calls import Call, method

SERIAL_BUFFER_BYTES = 1024 * 1024
SERIAL_PORTS = range(1, 5)


@method("compute.instances.getSerialPortOutput", permission="compute.instances.getSerialPortOutput")
def get_serial_port_output(call: Call) -> dict[str, Any]:
    """Return the console's last mebibyte, or what came after byte `start`; a negative `start` counts from the end."""
    ref = records.ref_of(call)
    record = records.load(call.cloud, ref)
    port = call.params.get("port", 1)
    if port not in SERIAL_PORTS:
        raise errors.invalid("port", port, "Must be between 1 and 4.")
    if record["resource"]["status"] == "TERMINATED":
        raise errors.not_ready(ref.path)
    written = call.cloud.guests.console(record["guest"]) if port == 1 else b""
    start, contents = serial_window(written, int(call.params.get("start", 0)))
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": links.link(f"{ref.path}/serialPort"),
        "contents": contents.decode("utf-8", "replace"),
        "start": str(start),
        "next": str(len(written)),
    }


def serial_window(written: bytes, start: int) -> tuple[int, bytes]:
    """Return (position of the first byte, bytes) from `start` on, as far as the buffer still has them."""
    first = max(0, len(written) - SERIAL_BUFFER_BYTES)
    wanted = len(written) + start if start < 0 else start
    begin = min(max(wanted, first), len(written))
    return begin, written[begin:]


@method("compute.instances.getGuestAttributes", permission="compute.instances.getGuestAttributes")
def get_guest_attributes(call: Call) -> dict[str, Any]:
    """Return what the guest has published below a namespace, or one value of it."""
    ref = records.ref_of(call)
    record = records.load(call.cloud, ref)
    if not guest_view.attributes_enabled(call.cloud, record):
        text = f"Guest attributes are not enabled for '{ref.path}': set the metadata enable-guest-attributes to TRUE."
        raise errors.condition_not_met(text)
    query, variable = call.params.get("queryPath"), call.params.get("variableKey")
    asked = variable or query or ""
    namespace, _, key = asked.partition("/")
    found = [
        entry
        for entry in guest_view.stored_attributes(call.cloud, ref)
        if namespace in ("", entry["namespace"]) and key in ("", entry["key"])
    ]
    if not found or (variable and not key):
        raise ApiError(404, "notFound", f"The resource '{asked}' of type 'Guest Attribute' was not found.")
    answer: dict[str, Any] = {
        "kind": "compute#guestAttributes",
        "selfLink": links.link(f"{ref.path}/guestAttributes/{asked}"),
    }
    if variable:
        return answer | {"variableKey": variable, "variableValue": found[0]["value"]}
    return answer | {"queryPath": query or "", "queryValue": {"items": found}}
