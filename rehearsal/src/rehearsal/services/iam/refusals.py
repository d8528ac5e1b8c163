# SPDX-License-Identifier: GPL-3.0-or-later
"""The refusals of Google's front end: not signed in, API not enabled, no permission.

Texts as Google's servers send them, https://cloud.google.com/apis/design/errors and the messages users quote.
"""

from __future__ import annotations

from rehearsal.errors import ApiError

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
HELP = "type.googleapis.com/google.rpc.Help"
# The project of the OAuth client that "gcloud auth application-default login" signs people in with.
ADC_PROJECT_NUMBER = "764086051850"
_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


def _info(reason: str, domain: str, **metadata: str) -> dict[str, object]:
    return {"@type": ERROR_INFO, "reason": reason, "domain": domain, "metadata": metadata}


def missing_credentials(host: str) -> ApiError:
    """401: no Authorization header."""
    details = [_info("CREDENTIALS_MISSING", "googleapis.com", service=host)]
    return ApiError(
        401, "required", f"Request is missing required authentication credential. {_EXPECTED}", details=details
    )


def invalid_credentials(host: str, reason: str = "ACCESS_TOKEN_TYPE_UNSUPPORTED") -> ApiError:
    """401: a credential that is unknown, expired, forged or meant for somebody else."""
    details = [_info(reason, "googleapis.com", service=host)]
    return ApiError(401, "authError", f"Request had invalid authentication credentials. {_EXPECTED}", details=details)


def insufficient_scopes(host: str) -> ApiError:
    """403: the token is good, but was not made for this API."""
    details = [_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", service=host)]
    return ApiError(403, "insufficientPermissions", "Request had insufficient authentication scopes.", details=details)


def service_disabled(service: str, title: str, project_number: str) -> ApiError:
    """403: the project has not enabled the API."""
    url = f"https://console.developers.google.com/apis/api/{service}/overview?project={project_number}"
    message = (
        f"{title} has not been used in project {project_number} before or it is disabled. "
        f"Enable it by visiting {url} then retry. If you enabled this API recently, "
        "wait a few minutes for the action to propagate to our systems and retry."
    )
    details: list[dict[str, object]] = [
        _info(
            "SERVICE_DISABLED",
            "googleapis.com",
            service=service,
            serviceTitle=title,
            consumer=f"projects/{project_number}",
            containerInfo=project_number,
            activationUrl=url,
        ),
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
        {"@type": HELP, "links": [{"description": "Google developers console API activation", "url": url}]},
    ]
    return ApiError(403, "accessNotConfigured", message, details=details)


def no_quota_project(service: str) -> ApiError:
    """403: a person's application default credentials name no project that the call could count for."""
    message = (
        f"Your application is authenticating by using local Application Default Credentials. The {service} API requires a "
        "quota project, which is not set by default. To learn how to set your quota project, see "
        "https://cloud.google.com/docs/authentication/adc-troubleshooting/user-creds ."
    )
    details = [_info("SERVICE_DISABLED", "googleapis.com", service=service, consumer=f"projects/{ADC_PROJECT_NUMBER}")]
    return ApiError(403, "forbidden", message, details=details)


def user_project_denied(service: str, project: str) -> ApiError:
    """403: the caller may not let their calls count for that project."""
    message = (
        f"Caller does not have required permission to use project {project}. Grant the caller the "
        "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission, by "
        f"visiting https://console.developers.google.com/iam-admin/iam/project?project={project} and then retry. "
        "Propagation of the new permission may take a few minutes."
    )
    details = [_info("USER_PROJECT_DENIED", "googleapis.com", service=service, consumer=f"projects/{project}")]
    return ApiError(403, "forbidden", message, details=details)


def rate_limited(service: str, project_number: str) -> ApiError:
    """403: Compute Engine's rate limit is no 429."""
    message = (
        "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service "
        f"'{service}' for consumer 'project_number:{project_number}'."
    )
    details = [_info("RATE_LIMIT_EXCEEDED", "googleapis.com", service=service, consumer=f"projects/{project_number}")]
    return ApiError(403, "rateLimitExceeded", message, details=details)


def activating() -> ApiError:
    """400: the project's APIs are being changed by somebody else."""
    message = "Another activation or deactivation is in progress for one of the services. Please try again later."
    return ApiError(400, "failedPrecondition", message, status="FAILED_PRECONDITION")


def billing_disabled(service: str, project_number: str) -> ApiError:
    """403: the project has no billing account."""
    url = f"https://console.developers.google.com/billing/enable?project={project_number}"
    message = (
        f"This API method requires billing to be enabled. Please enable billing on project #{project_number} by "
        f"visiting {url} then retry. If you enabled billing for this project recently, wait a few minutes for the "
        "action to propagate to our systems and retry."
    )
    details = [_info("BILLING_DISABLED", "googleapis.com", service=service, consumer=f"projects/{project_number}")]
    return ApiError(403, "forbidden", message, details=details)


def billing_not_found(project_number: str, services: list[str]) -> ApiError:
    """400: an API that costs money was to be enabled in a project without a billing account."""
    message = (
        f"Billing account for project '{project_number}' is not found. Billing must be enabled for activation of "
        f"service(s) '{','.join(services)}' to proceed."
    )
    details = [_info("UREQ_PROJECT_BILLING_NOT_FOUND", "serviceusage.googleapis.com/billing-enabled")]
    return ApiError(400, "failedPrecondition", message, status="FAILED_PRECONDITION", details=details)


def denied(principal: str, permission: str, project: str, resource: str) -> ApiError:
    """403: in the words of the service that the permission belongs to."""
    service = permission.split(".")[0]
    target = resource or f"projects/{project}"
    if service == "compute":
        return ApiError(403, "forbidden", f"Required '{permission}' permission for '{target}'")
    if service == "storage":
        who = principal or "Anonymous caller"
        kind = "bucket" if target.startswith("buckets/") and "/objects/" not in target else "object"
        if not target.startswith("buckets/"):
            kind = "project"
        what = {
            "bucket": "the Google Cloud Storage bucket",
            "object": "the Google Cloud Storage object",
            "project": "the Google Cloud project",
        }
        message = (
            f"{who} does not have {permission} access to {what[kind]}. "
            f"Permission '{permission}' denied on resource (or it may not exist)."
        )
        return ApiError(403 if principal else 401, "forbidden" if principal else "required", message)
    if service == "resourcemanager":
        return ApiError(403, "forbidden", "The caller does not have permission")
    host = f"{service}.googleapis.com"
    if target.startswith("serviceAccounts/"):
        target = f"projects/{project}/{target}"
    where = f"for resource '{target}'" if service == "secretmanager" else f"on resource '//{host}/{target}'"
    message = f"Permission '{permission}' denied {where} (or it may not exist)."
    details = [_info("IAM_PERMISSION_DENIED", host, permission=permission, resource=target)]
    return ApiError(403, "forbidden", message, details=details)
