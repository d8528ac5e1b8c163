# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way into the control plane: route, authenticate, authorise, check against Google's schema, handle, record."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from rehearsal import trouble
from rehearsal.cloud import Cloud
from rehearsal.errors import ApiError, Body, not_implemented
from rehearsal.services.iam import refusals
from rehearsal.services.iam.identity import checks_of
from rehearsal.wire.calls import PUBLIC, REGISTRY, Call, CheckedInside, Implementation, RawRoute
from rehearsal.wire.discovery import Method, Router, query_parameters
from rehearsal.wire.faults import Fault
from rehearsal.wire.request_log import Entry, loggable_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOGGER = logging.getLogger("rehearsal.wire.gateway")
# Tells the front door to lose the answer (or the request) instead of delivering it.
LOSE_HEADER = "X-Rehearsal-Lose"
# These services of the newer kind write the older errors as well.
BOTH_ERRORS = ("iam", "cloudresourcemanager")
FRONT_END = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "X-XSS-Protection": "0"}


@dataclass
class Route:
    """What a request was found to be."""

    method_id: str
    implementation: Implementation | None
    method: Method | None
    params: dict[str, Any]
    raw: RawRoute | None = None


class Gateway:
    """A WSGI application that answers for every Google host."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self.cloud = cloud
        self.router = router

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        return self.handle(Request(environ))(environ, start_response)

    def handle(self, request: Request) -> Response:
        """Answer and record one request."""
        started = time.time()
        host = request.headers.get("X-Forwarded-Host", request.host).split(":")[0].lower()
        target = request.headers.get("X-Rehearsal-Target") or request.full_path.rstrip("?")
        entry = Entry(time=started, method="", verb=request.method, host=host, path=target[:2000], status=0)
        method: Method | None = None
        try:
            route = self._route(host, request.method, target)
            method, entry.method = route.method, route.method_id
            response = self._answer(request, host, target, route, entry)
        except ApiError as error:
            response = self._error(error, host, method)
        except Exception as error:
            LOGGER.exception("%s %s%s", request.method, host, target)
            response = self._error(ApiError(500, "backendError", f"Internal error: {error}"), host, method)
        if entry.method != "functions.invoke":
            _add_headers(response, host)
        date = trouble.date_header(self.cloud.store)
        if date is not None:
            response.headers["Date"] = date
        entry.status = response.status_code
        entry.milliseconds = round((time.time() - started) * 1000, 1)
        entry.sent = response.calculate_content_length() or 0
        self.cloud.log.append(entry)
        return response

    def dispatch(self, verb: str, host: str, target: str, headers: dict[str, str], body: bytes) -> Response:
        """Answer a request that came inside another one, a part of a batch for example.

        `target` is the undecoded path with its query.
        """
        path, _, query = target.partition("?")
        builder = EnvironBuilder(method=verb, path=path, query_string=query, data=body, headers=list(headers.items()))
        builder.headers["X-Forwarded-Host"] = host
        builder.headers["X-Rehearsal-Target"] = target
        return self.handle(Request(builder.get_environ()))

    def _route(self, host: str, verb: str, target: str) -> Route:
        path, _, query = target.partition("?")
        for raw in REGISTRY.raw:
            if raw.verb in (None, verb) and raw.host.fullmatch(host) and raw.path.fullmatch(path):
                return Route(raw.method_id, raw.implementation, None, {}, raw)
        if host.endswith("-run.googleapis.com"):  # gcloud asks a region's own host
            host = "run.googleapis.com"
        found = self.router.find(host, verb, path)
        if found is None and path.endswith("/") and "/storage/v1/" in path:
            found = self.router.find(host, verb, path[:-1])
        if found is None:
            raise ApiError(404, "notFound", f"The requested URL {path} was not found on this server.")
        method, path_parameters = found
        params = query_parameters(method, query) | path_parameters
        return Route(method.id, REGISTRY.methods.get(method.id), method, params)

    def _answer(self, request: Request, host: str, target: str, route: Route, entry: Entry) -> Response:
        fault = self.cloud.faults.planned_for(route.method_id)
        if fault is not None:
            entry.fault = fault.action
            early = self._early_fault(fault, host, route.method)
            if early is not None:
                return early
        if not (route.raw and route.method_id.startswith("storage.")):
            entry.body = loggable_body(request.content_type or "", request.get_data())
        implementation = route.implementation
        if implementation is None:
            raise not_implemented(route.method_id)
        call = Call(
            cloud=self.cloud,
            method_id=route.method_id,
            params=route.params,
            body={},
            caller=None,
            project=self._project(route),
            request=request,
            host=host,
            target=target,
            dispatch=self.dispatch,
            match=route.raw.path.fullmatch(target.partition("?")[0]) if route.raw else None,
        )
        if implementation.permission is not PUBLIC:
            call.caller = self.cloud.identity.authenticate(request)
            entry.principal = call.principal
            if route.method is not None:
                self.cloud.identity.check_scopes(call.caller, route.method.scopes, host)
                quota_project = request.headers.get("X-Goog-User-Project", "")
                service = f"{route.method.service}.googleapis.com"
                self.cloud.identity.check_consumer(call.caller, quota_project, call.project, service)
        if route.method is not None:
            call.body = self._body(request, route.method, entry)
        if isinstance(implementation.permission, str):
            resource = implementation.resource(call) if implementation.resource else ""
            self.cloud.identity.authorize(call.principal, implementation.permission, call.project, resource)
        with checks_of(call.principal) as checked:
            answer = implementation.handler(call)
        if isinstance(implementation.permission, CheckedInside) and not checked:
            raise RuntimeError(f"{route.method_id} answered without checking a permission")
        if checked - implementation.checked_inside:
            raise RuntimeError(f"{route.method_id} checks {sorted(checked)}, which its registration does not name")
        response = answer if isinstance(answer, Response) else json_response(answer)
        self._check_answer(route.method, response, entry)
        if fault is not None and fault.action == "drop":
            response.headers[LOSE_HEADER] = "answer"
        return response

    def _early_fault(self, fault: Fault, host: str, method: Method | None) -> Response | None:
        if fault.action == "slow":
            time.sleep(fault.seconds)
            return None
        if fault.action == "drop":
            return None
        if fault.action == "drop-request":
            return Response(status=503, headers={LOSE_HEADER: "request"})
        if fault.action in ("rate-limit", "activation"):
            number, service = (
                self.cloud.settings.project_number,
                f"{method.service if method else 'compute'}.googleapis.com",
            )
            refusal = refusals.rate_limited(service, number) if fault.action == "rate-limit" else refusals.activating()
            return self._error(refusal, host, method)
        code = int(fault.action)
        reason = {429: "rateLimitExceeded", 503: "backendError"}.get(code, "internalError")
        return self._error(ApiError(code, reason, "The service is currently unavailable."), host, method)

    def _body(self, request: Request, method: Method, entry: Entry) -> Body:
        data = request.get_data()
        if not data or method.request_schema is None or "json" not in (request.content_type or "json"):
            return {}
        try:
            body = json.loads(data)
        except ValueError as error:
            raise ApiError(400, "parseError", f"Invalid JSON payload received. {error}") from None
        if not isinstance(body, dict):
            raise ApiError(400, "parseError", "Invalid JSON payload received. Expected an object.")
        violations = method.document.violations(method.request_schema, body, request=True)
        if violations:
            entry.violations = "request: " + " ".join(violations)[:1000]
            raise ApiError(400, "invalid", " ".join(violations))
        return body

    def _check_answer(self, method: Method | None, response: Response, entry: Entry) -> None:
        if method is None or response.status_code != 200 or response.mimetype != "application/json":
            return
        if method.response_schema is None or response.is_streamed or "alt=media" in entry.path:
            return
        violations = method.document.violations(
            method.response_schema, json.loads(response.get_data() or b"{}"), request=False
        )
        if violations:
            entry.violations = "answer: " + " ".join(violations)[:1000]
            LOGGER.warning("%s answered outside its schema: %s", method.id, entry.violations)

    def _project(self, route: Route) -> str:
        for name in ("project", "projectId", "projectsId"):
            if route.params.get(name):
                return str(route.params[name])
        bucket = route.params.get("bucket")
        if bucket:
            known = self.cloud.store.get("buckets", bucket)
            return known["project"] if known else self.cloud.settings.project_id
        for name in ("name", "parent", "resource"):
            parts = str(route.params.get(name, "")).split("/")
            if len(parts) > 1 and parts[0] == "projects" and parts[1] != "-":
                return parts[1]
        return self.cloud.settings.project_id

    def _error(self, error: ApiError, host: str, method: Method | None) -> Response:
        if error.code == 304:
            return Response(status=304)
        one_platform = method.one_platform if method else not host.startswith(("compute.", "storage.", "www."))
        content: Body = {"code": error.code, "message": error.message}
        if not one_platform or (method and method.service in BOTH_ERRORS):
            item: Body = {"message": error.message, "domain": "global", "reason": error.reason}
            if error.location:
                item |= {"location": error.location, "locationType": error.location_type}
            content["errors"] = [item]
        if one_platform or error.details:
            content["status"] = error.status
        if error.details:
            content["details"] = error.details
        return json_response({"error": content}, error.code)


def _add_headers(response: Response, host: str) -> None:
    """Add what Google's front end adds to every answer of an API."""
    headers = FRONT_END | {"Server": "ESF", "Vary": "X-Origin, Referer, Origin,Accept-Encoding"}
    if host.startswith("storage."):
        headers = {
            "Server": "UploadServer",
            "Vary": "Origin, X-Origin",
            "X-GUploader-UploadID": secrets.token_urlsafe(48),
        }
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "private")


def json_response(content: Body, status: int = 200) -> Response:
    """Return the content as JSON, in the form Google's servers use."""
    return Response(json.dumps(content, indent=2), status=status, content_type="application/json; charset=UTF-8")
