# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a function at its own address: who may, and what the front end does around the function's answer.

https://cloud.google.com/run/docs/authenticating/overview and https://cloud.google.com/run/quotas.
"""

from __future__ import annotations

import html
import http.client
import secrets

from werkzeug.wrappers import Response

from rehearsal.errors import ApiError
from rehearsal.services.functions import instances, records
from rehearsal.services.functions.instances import PORT
from rehearsal.services.functions.names import FunctionName, from_key
from rehearsal.services.functions.revisions import Instance, Revision
from rehearsal.services.iam.identity import Caller
from rehearsal.services.iam.sign_in import ADC_CLIENT_ID, GCLOUD_CLIENT_ID
from rehearsal.wire import proxy
from rehearsal.wire.calls import PUBLIC, Call, raw_route

LOCAL = ("127.0.0.1", "localhost")
MAX_BYTES = 32 * 2**20
# How long a request waits for an instance that starts, and for one that is free.
COLD_START_SECONDS, QUEUE_SECONDS = 120.0, 10.0
SIGNATURE_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"


def _page(status: int, title: str, heading: str, text: str, **headers: str) -> Response:
    body = (
        "\n<html><head>\n"
        '<meta http-equiv="content-type" content="text/html;charset=utf-8">\n'
        f"<title>{status} {title}</title>\n</head>\n"
        f"<body text=#000000 bgcolor=#ffffff>\n<h1>Error: {heading}</h1>\n<h2>{text}</h2>\n<h2></h2>\n</body></html>\n"
    )
    found = Response(body, status, content_type="text/html; charset=UTF-8")
    for name, value in headers.items():
        found.headers[name.replace("_", "-")] = value
    return found


def find(call: Call) -> tuple[FunctionName, records.Record, str] | None:
    """Return the function that a host (and for cloudfunctions.net the first part of the path) belongs to, and the path.

    The path is undecoded, with the query, as the function will see it. At this machine's own address, where a browser
    needs no proxy, the first part of the path is the function's name, too.
    """
    path, _, query = call.target.partition("?")
    local = call.host in LOCAL
    older = local or call.host.endswith(".cloudfunctions.net")
    for key, record in records.FUNCTIONS.list(call.cloud.store):
        name = from_key(key)
        if older:
            host, _, prefix = name.url.removeprefix("https://").partition("/")
            if (host != call.host and not local) or (path != f"/{prefix}" and not path.startswith(f"/{prefix}/")):
                continue
            path = path[len(prefix) + 1 :] or "/"
        elif f"https://{call.host}" not in _addresses(call, name):
            continue
        return name, record, path + (f"?{query}" if query else "")
    return None


def _addresses(call: Call, name: FunctionName) -> tuple[str, ...]:
    return name.addresses(call.cloud.identity.project_number(name.project))


@raw_route(
    r".*\.(run\.app|cloudfunctions\.net)|127\.0\.0\.1|localhost",
    None,
    r"(?s).*",
    method_id="functions.invoke",
    permission=PUBLIC,
    also=("run.routes.invoke",),
)
def invoke(call: Call) -> Response:
    """Answer a request to a function's address."""
    found = find(call)
    if found is None:
        return _page(404, "Page not found", "Page not found", "The requested URL was not found on this server.")
    name, record, target = found
    refusal = _refusal(call, name, record)
    if refusal is not None:
        return refusal
    if len(call.request.get_data()) > MAX_BYTES:
        text = "Your client issued a request that was too large."
        return _page(413, "Request Entity Too Large", "Request Entity Too Large", text)
    if record["serving"] is None:
        return _page(503, "Service Unavailable", "Service Unavailable", "The service has no revision that is ready.")
    return _answered(call, record["serving"], target)


# Who may call


def _refusal(call: Call, name: FunctionName, record: records.Record) -> Response | None:
    identity = call.cloud.identity
    if identity.allowed("", "run.routes.invoke", name.project, name.service):
        return None
    path = html.escape(call.request.path)
    header = call.request.headers.get("X-Serverless-Authorization") or call.request.headers.get("Authorization", "")
    forbidden = f"Your client does not have permission to get URL <code>{path}</code> from this server."
    # A browser's preflight carries no credentials, so on a private function it fails here, as on Google.
    if not header:
        return _page(403, "Forbidden", "Forbidden", forbidden)
    try:
        claims = identity.verify_id_token(header.partition(" ")[2].strip())
    except ApiError:
        claims = {}
    if claims.get("aud") not in _audiences(call, name):
        challenge = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
        text = f"Your client does not have permission to the requested URL <code>{path}</code>."
        return _page(401, "Unauthorized", "Unauthorized", text, WWW_Authenticate=challenge)
    call.caller = Caller(str(claims.get("email", "")), None)
    if not identity.may(call.principal, "run.routes.invoke", name.project, name.service):
        challenge = 'Bearer error="insufficient_scope" error_description="The caller may not invoke this service"'
        return _page(403, "Forbidden", "Forbidden", forbidden, WWW_Authenticate=challenge)
    return None


def _audiences(call: Call, name: FunctionName) -> set[str]:
    addresses = set(_addresses(call, name))
    return addresses | {f"{address}/" for address in addresses} | {GCLOUD_CLIENT_ID, ADC_CLIENT_ID}


# The call itself


def _answered(call: Call, revision: Revision, target: str) -> Response:
    pool = call.cloud.function_pools.get(revision["container"])
    try:
        instance = pool.acquire(COLD_START_SECONDS, QUEUE_SECONDS) if pool else None
    except TimeoutError:
        pool = None
    if pool is None:
        return Response("Service Unavailable", 503, content_type="text/plain")
    if instance is None:
        return Response("Rate exceeded.", 429, content_type="text/html")
    try:
        return _forward(call, instance, target)
    finally:
        pool.release(instance)


def _forward(call: Call, found: Instance, target: str) -> Response:
    revision, request = found.revision, call.request
    try:
        response = proxy.forward(
            (found.address, PORT), request.method, target, body=request.get_data(), headers=_headers(call),
            timeout=revision["timeout"], most=MAX_BYTES + 1,
        )  # fmt: skip
    except TimeoutError:
        return Response("upstream request timeout", 504, content_type="text/plain")
    except (OSError, http.client.HTTPException) as error:
        instances.LOGGER.warning("%s did not answer: %s", revision["name"], error)
        text = (
            "The request failed because either the HTTP response was malformed or connection to the instance had an "
            "error."
        )
        return Response(text, 503, content_type="text/plain")
    if len(response.get_data()) > MAX_BYTES:
        return Response("Response size was too large. Please consider reducing response size.", 500)
    response.headers["Server"] = "Google Frontend"
    return response


def _headers(call: Call) -> dict[str, str]:
    """Return the headers that the function sees: the caller's, less what ends here, plus what the front end adds."""
    headers = proxy.passed_on(call.request.headers.items())
    headers["Host"] = call.host
    for name in ("Authorization", "X-Serverless-Authorization"):
        token = headers.get(name, "")
        if call.principal and token.count(".") == 2:
            # The function may read the verified claims, but cannot use the token elsewhere.
            headers[name] = token.rpartition(".")[0] + "." + SIGNATURE_REMOVED
    client = call.request.remote_addr or "127.0.0.1"
    forwarded = headers.pop("X-Forwarded-For", "")
    headers["X-Forwarded-For"] = f"{forwarded},{client}".lstrip(",")
    headers["X-Forwarded-Proto"] = "https"
    trace = f"{secrets.token_hex(16)}/{secrets.randbits(63)};o=0"
    headers.setdefault("X-Cloud-Trace-Context", trace)
    return headers
