# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with a Google API, told in one line: what was attempted, what was found, what to do."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

RETRYABLE_STATUS = frozenset({429, 500, 502, 503, 504})

#: google.rpc codes (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto) as HTTP status.
RPC_STATUS = {1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 13: 500, 14: 503, 16: 401}

CREDENTIALS_REMEDY = (
    "Set GCP_AUTH_KIND=serviceaccount and GCP_SERVICE_ACCOUNT_FILE=<key file>, "
    "or run 'gcloud auth application-default login'."
)
PROJECT_REMEDY = "Check the project id (gcp_project, GCP_PROJECT) and that this account may use it."


class GoogleApiError(Exception):
    """A failed call or operation.

    ``str(error)`` is the line for a person. The attributes are for code: ``status`` (HTTP status, None when no answer
    came), ``reason`` (Google's machine-readable word), ``target`` (host and path), ``google_message`` (as Google wrote
    it), ``retryable``, ``attempts`` (how often the call was sent), ``details`` (Google's error details).
    """

    def __init__(
        self,
        attempting: str,
        found: str,
        remedy: str = "",
        *,
        status: int | None = None,
        reason: str = "",
        target: str = "",
        google_message: str = "",
        retryable: bool = False,
        details: list[Any] | None = None,
    ) -> None:
        found = " ".join(found.split()).rstrip(".")
        super().__init__(f"Could not {attempting}: {found}.{' ' + remedy if remedy else ''}")
        self.attempting = attempting
        self.found = found
        self.remedy = remedy
        self.status = status
        self.reason = reason
        self.target = target
        self.google_message = google_message or found
        self.retryable = retryable
        self.details = details or []
        self.attempts = 1

    def facts(self) -> dict[str, Any]:
        """The ``failure`` value of a module result."""
        return {
            "code": self.status,
            "reason": self.reason,
            "target": self.target,
            "message": self.google_message,
            "retryable": self.retryable,
            "details": self.details,
        }

    @property
    def service_disabled(self) -> bool:
        """True when the API itself is switched off (or was switched on seconds ago)."""
        return self.reason in ("SERVICE_DISABLED", "accessNotConfigured")

    @property
    def out_of_stock(self) -> bool:
        """True when the zone has no machine of the type left for now."""
        return self.reason.startswith("ZONE_RESOURCE_POOL_EXHAUSTED")

    @property
    def already_exists(self) -> bool:
        """True for a create that lost to an existing resource, as HTTP answer or as operation error."""
        return self.status == 409 and self.reason not in ("aborted", "ABORTED")


def target_of(url: str) -> str:
    """``https://host/path?query`` without scheme and query: names the resource, never carries a signature."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"


def from_response(attempting: str, url: str, status: int, body: Any, *, account: str, project: str) -> GoogleApiError:
    """Turn an error answer of any Google API into a GoogleApiError. ``body`` is the decoded JSON, or text."""
    envelope = body.get("error", {}) if isinstance(body, dict) else {}
    if not isinstance(envelope, dict):  # OAuth style: {"error": "invalid_grant", "error_description": "..."}
        envelope = {"message": body.get("error_description") or envelope, "status": envelope}
    message = str(envelope.get("message") or (body if isinstance(body, str) else "") or f"HTTP {status}")[:2000]
    details = [item for item in envelope.get("details") or [] if isinstance(item, dict)]
    reason = _reason(envelope, details)
    target = target_of(url)
    return GoogleApiError(
        attempting,
        f"{message.rstrip('. ')} (HTTP {status}{', ' + reason if reason else ''})",
        remedy_for(status, reason, message, target=target, account=account, project=project),
        status=status,
        reason=reason,
        target=target,
        google_message=message,
        retryable=status in RETRYABLE_STATUS or _for_the_moment(status, reason, message),
        details=details,
    )


def _for_the_moment(status: int, reason: str, message: str) -> bool:
    """Compute's rate limits are a 403, and a change of APIs beside another one a 400."""
    limited = status == 403 and reason in ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")
    return limited or (status == 400 and "another activation or deactivation is in progress" in message.lower())


def from_operation(attempting: str, operation: dict[str, Any], *, account: str, project: str) -> GoogleApiError:
    """The error of a finished compute operation (``error.errors[]``) or google.longrunning one (``error.code``)."""
    error = operation.get("error") or {}
    first = (error.get("errors") or [{}])[0]
    if first:
        status = int(operation.get("httpErrorStatusCode") or 0) or None
        reason, message = first.get("code", ""), first.get("message", "")
        details = first.get("errorDetails") or []
    else:
        code = int(error.get("code") or 2)
        status, reason = RPC_STATUS.get(code, 500), ""
        message, details = error.get("message", ""), error.get("details") or []
    target = target_of(operation.get("targetLink") or operation.get("selfLink") or operation.get("name", ""))
    message = message or "the operation failed without a message"
    return GoogleApiError(
        attempting,
        f"{message} ({reason})" if reason else message,
        remedy_for(status, reason, message, target=target, account=account, project=project),
        status=status,
        reason=reason,
        target=target,
        google_message=message,
        details=details,
    )


def from_transport(attempting: str, url: str, error: Exception) -> GoogleApiError:
    """A call that got no answer: name resolution, proxy, TLS, time-out, refused or broken connection."""
    host = urlsplit(url).hostname or url
    text = _innermost(error)
    kind = f"{type(error).__name__} {error!r}"
    retryable = True
    if "ProxyError" in kind:
        found = f"the proxy did not connect us to {host} ({text})"
        remedy = "Check HTTPS_PROXY and NO_PROXY, and that the proxy is running and lets this host through."
    elif "SSLError" in kind or "CERTIFICATE_VERIFY_FAILED" in kind:
        found = f"the TLS certificate presented for {host} was not accepted ({text})"
        remedy = "Behind a TLS-inspecting proxy, set REQUESTS_CA_BUNDLE to a bundle that contains its CA."
        retryable = False
    elif "Timeout" in kind:
        found, remedy = f"{host} did not answer in time ({text})", "Check the network (HTTPS_PROXY?) and run again."
    else:
        found, remedy = f"no connection to {host} ({text})", "Check the network, DNS and HTTPS_PROXY, and run again."
    return GoogleApiError(
        attempting, found, remedy, reason=type(error).__name__, target=target_of(url), retryable=retryable
    )


def names_something_else(error: GoogleApiError) -> bool:
    """True when a 404 speaks of another resource than the one asked for: the project or zone is what is missing."""
    if error.reason == "CONSUMER_INVALID":
        return True
    match = re.search(r"'projects/([^/']+)(?:/([^']+))?' was not found", error.google_message)
    if not match:
        return False
    return match.group(2) is None or not error.target.endswith(match.group(2))


def remedy_for(status: int | None, reason: str, message: str, *, target: str, account: str, project: str) -> str:
    """What a person can do about it, or "" where Google's message already says so."""
    who = account or "this account"
    text = message.lower()
    if reason in ("SERVICE_DISABLED", "accessNotConfigured"):
        api = target.split("/")[0] or "the API"
        return f"Enable {api} in project {project} (module gcp_project_services), then wait a minute."
    if "unknown zone" in text or re.search(r"'projects/[^/]+/zones/[^/']+' was not found", message):
        return "Check gcp_zone: 'gcloud compute zones list' shows the valid ones."
    if "machinetype" in text or "machine type" in text:
        return "Check the machine type (vm_machine_type; machine_type of resize_vm.yml): 'gcloud compute machine-types list'."
    if reason in ("BILLING_DISABLED", "UREQ_PROJECT_BILLING_NOT_FOUND"):
        return f"Run gcloud billing projects link {project} --billing-account=<one of yours>."
    if reason == "USER_PROJECT_DENIED":
        return (
            f"Grant {who} the role roles/serviceusage.serviceUsageConsumer in project {project}, "
            "or check the project id (gcp_project, GCP_PROJECT)."
        )
    if (
        reason == "CONSUMER_INVALID"
        or re.search(r"'projects/[^/']+' was not found", message)
        or re.search(r"project '?[\w:.-]+'? (not found|was not found|does not exist)", text)
        or "unknown project" in text
    ):
        return PROJECT_REMEDY
    if reason in ("QUOTA_EXCEEDED", "quotaExceeded"):
        return "Free the quota (delete what is not needed), choose another region, or ask Google for a higher quota."
    if reason.startswith("ZONE_RESOURCE_POOL_EXHAUSTED"):
        return "The zone has no machines of this type left for now: choose another gcp_zone, or try again later."
    if "service account" in text and "does not exist" in text:
        return "Check its address, or create it first (gcp_service_account)."
    if "bucket does not exist" in text:
        return "Check model_bucket, or create it first (gcs_bucket)."
    if status == 401:
        return f"Google did not accept the credentials of {who}. {CREDENTIALS_REMEDY}"
    if "marked for deletion" in text or "in a deleted state" in text:
        return (
            "Google frees the id of a deleted role after 37 days: until then, choose another with -e role_id_suffix=_2."
        )
    if _for_the_moment(status or 0, reason, message):
        return "Google allows no more of these calls for the moment: run again in a minute."
    if status == 403:
        return f"Check that project {project} is the right one (gcp_project), and grant {who} the missing permission in it."
    if "protected against deletion" in text:
        return "Set deletion_protection to false first."
    if status in (409, 400) and "not empty" in text:
        return "Delete its objects first ('gcloud storage rm --recursive gs://<bucket>/**')."
    if status in RETRYABLE_STATUS:
        return "Google is overloaded or broken for the moment: run again later."
    return ""


def _reason(envelope: dict[str, Any], details: list[dict[str, Any]]) -> str:
    for item in details:
        if item.get("reason") and "ErrorInfo" in item.get("@type", ""):
            return str(item["reason"])
    errors = envelope.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict) and errors[0].get("reason"):
        return str(errors[0]["reason"])
    return str(envelope.get("status") or "")


def _innermost(error: BaseException) -> str:
    """The last cause in a chain of wrapped exceptions: the only part that says something."""
    seen = error
    for _ in range(10):
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in getattr(seen, "args", ()) if isinstance(arg, BaseException)), None)
        if inner is None:
            inner = seen.__cause__
        if inner is None:
            break
        seen = inner
    text = str(seen) or type(seen).__name__
    return re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?", "", text).strip()[:300]
