# SPDX-License-Identifier: GPL-3.0-or-later
"""Who calls, and what may they do: the part of the control plane that every request passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml
from werkzeug.wrappers import Request

from rehearsal.errors import ApiError, Body, not_implemented
from rehearsal.services.iam import conditions, keys, organisation, refusals, roles, sign_in, usage
from rehearsal.services.iam.accounts import Accounts, Project, agent_emails
from rehearsal.services.iam.custom_roles import ROLE_NAME, CustomRoles
from rehearsal.services.iam.federation import Federation
from rehearsal.services.iam.policies import MEMBER_KINDS, SPECIAL_MEMBERS, Binding, Policies, Policy, member_of
from rehearsal.services.iam.tokens import Claims, TokenError, Tokens, looks_like_jwt
from rehearsal.services.serviceusage.services import ALWAYS_ENABLED, BILLED, CLIENT_BASED, KNOWN, Services
from rehearsal.settings import Settings
from rehearsal.store import Store

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
FOREIGN_PROJECT, FOREIGN_NUMBER = "foreign-project", "915520374416"
FOREIGN_OWNER = "stranger@example.net"


@dataclass(frozen=True)
class Caller:
    """An authenticated caller; `scopes` is None when no scopes limit the credential (a self-signed JWT for one API).

    `client` is the OAuth client that a person signed in with.
    """

    email: str
    scopes: tuple[str, ...] | None
    client: str = ""


_checked: ContextVar[tuple[str | None, set[str]]] = ContextVar("checked", default=(None, set()))


@contextmanager
def checks_of(principal: str) -> Iterator[set[str]]:
    """Collect the permissions that are checked for `principal` while a request of theirs is handled."""
    checked: set[str] = set()
    token = _checked.set((principal, checked))
    try:
        yield checked
    finally:
        _checked.reset(token)


class Identity:
    """Authentication and IAM. Parts: `accounts`, `policies`, `services`, `tokens`."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.policies = Policies(store)
        self.accounts = Accounts(store, self.policies)
        self.custom_roles = CustomRoles(store)
        self.services = Services(store)
        self.tokens = Tokens(store, self.accounts)
        self.federation = Federation(store)

    # What exists from the start

    @property
    def deployer(self) -> str:
        """E-mail of the account whose key file `rehearsal env` hands out: it may do what the playbooks need, no more."""
        return f"deployer@{self.settings.project_id}.iam.gserviceaccount.com"

    @property
    def owner(self) -> str:
        """E-mail of the person who owns the project."""
        return sign_in.OWNER

    def default_compute_account(self, project: str) -> str:
        """E-mail of the project's default compute service account."""
        return f"{self.project_number(project)}-compute@developer.gserviceaccount.com"

    def ensure_default_accounts(self) -> None:
        """Create the rehearsal's projects, their built-in accounts, the deployer, and the credentials of it and the owner."""
        own, number = self.settings.project_id, self.settings.project_number
        with self.store.lock:
            self._ensure_project(own, number, "Rehearsal", member_of(self.owner))
            self._ensure_project(FOREIGN_PROJECT, FOREIGN_NUMBER, "Somebody else's project", member_of(FOREIGN_OWNER))
            self._ensure_project(
                sign_in.OTHER_PROJECT, sign_in.OTHER_NUMBER, "Another project of the owner", member_of(self.owner)
            )
            if self.accounts.find(self.deployer) is None:
                self.accounts.create(own, self.deployer, display_name="Deployer")
                self._grant_deployer()
        if not self.settings.deployer_key.exists():
            self.create_key_file(self.deployer, self.settings.deployer_key)
        sign_in.write_credentials(self.settings, self.tokens, self.policies, self.federation, self.deployer)

    def _grant_deployer(self) -> None:
        """Do what an owner does for a restricted deployer: create the role from its file, and grant it."""
        role, project = self.settings.deployer_role, self.settings.project_id
        if role is None:
            return
        name = f"projects/{project}/roles/{role.stem}"
        self.custom_roles.put(name, yaml.safe_load(role.read_text(encoding="utf-8")))
        policy = self.policies.get(f"projects/{project}")
        policy["bindings"].append({"role": name, "members": [member_of(self.deployer)]})
        self.policies.set(f"projects/{project}", policy)

    def _ensure_project(self, project: str, number: str, name: str, owner: str) -> None:
        if self.accounts.project(project) is not None:
            return
        self.accounts.add_project(project, number, name)
        default = self.default_compute_account(project)
        self.accounts.create(project, default, display_name="Compute Engine default service account")
        bindings: list[Binding] = [
            {"role": "roles/owner", "members": [owner]},
            # As in a project without an organisation, the kind that the free tier comes with.
            {"role": "roles/editor", "members": [member_of(default)]},
        ]
        for email, role in agent_emails(number).items():
            self.accounts.create(project, email, agent=True)
            bindings.append({"role": role, "members": [member_of(email)]})
        self.policies.set(f"projects/{project}", {"bindings": bindings})

    def create_key_file(self, email: str, path: Path) -> None:
        """Write a new key file for the account, readable by its owner only; the public half stays in the store."""
        account = self.accounts.find(email)
        if account is None:
            raise ApiError(404, "notFound", "Unknown service account")
        _, pair = self.accounts.new_key(account)
        document = keys.key_file(pair, project=account["projectId"], email=email, unique_id=account["uniqueId"])
        keys.write_key_file(document, path)

    def project_number(self, project: str) -> str:
        """Return the number of a project given by id or number; ApiError 404 when there is none."""
        return str(self.require_project(project)["projectNumber"])

    def require_project(self, project: str) -> Project:
        """Return the project given by id or number; ApiError 404 when there is none."""
        found = self.accounts.project(project)
        if found is None:
            raise ApiError(404, "notFound", f"The resource 'projects/{project}' was not found")
        return found

    # Tokens

    def access_token(self, email: str, scopes: list[str] | tuple[str, ...] = (CLOUD_PLATFORM,)) -> dict[str, Any]:
        """Return an access token for the account: `{access_token, expires_in, token_type}`."""
        return self.tokens.issue_access(email, tuple(scopes))

    def id_token(self, email: str, audience: str) -> str:
        """Return an ID token that names the account, for `audience`."""
        account = self.accounts.find(email)
        return self.tokens.issue_id(email, audience, unique_id=account["uniqueId"] if account else email)

    def verify_id_token(self, token: str) -> Claims:
        """Return an ID token's claims, audience unchecked; ApiError 401 when it is not ours, expired or forged."""
        try:
            return self.tokens.verify_id(token)
        except TokenError as error:
            raise ApiError(401, "authError", f"The ID token is not acceptable: {error}.") from error

    # Each request

    def authenticate(self, request: Request) -> Caller:
        """Return who calls; ApiError 401 when the credential is missing or not acceptable."""
        host = _host(request)
        header = request.headers.get("Authorization", "")
        if not header:
            header = f"Bearer {request.args['access_token']}" if "access_token" in request.args else ""
        if not header:
            raise refusals.missing_credentials(host)
        scheme, _, token = header.partition(" ")
        if scheme.lower() not in ("bearer", "oauth"):
            raise refusals.invalid_credentials(host)
        caller = self._caller(token.strip(), host)
        if self._is_gone(caller.email):
            raise refusals.invalid_credentials(host, "ACCOUNT_STATE_INVALID")
        return caller

    def _is_gone(self, email: str) -> bool:
        return email.endswith(".gserviceaccount.com") and self.accounts.usable(email) is None

    def _caller(self, token: str, host: str) -> Caller:
        try:
            if not looks_like_jwt(token):
                known = self.tokens.access(token)
                return Caller(known.email, known.scopes, known.client)
            claims = self.tokens.verify_assertion(token)
        except TokenError as error:
            reason = "ACCESS_TOKEN_EXPIRED" if error.kind == "expired" else "ACCESS_TOKEN_TYPE_UNSUPPORTED"
            raise refusals.invalid_credentials(host, reason) from error
        if claims.get("sub", claims["iss"]) != claims["iss"]:
            raise refusals.invalid_credentials(host)
        if "scope" in claims:
            return Caller(claims["iss"], tuple(str(claims["scope"]).split()))
        if urlsplit(str(claims.get("aud", ""))).hostname != host:
            raise refusals.invalid_credentials(host)
        return Caller(claims["iss"], None)

    @staticmethod
    def check_scopes(caller: Caller, accepted: list[str] | tuple[str, ...], host: str) -> None:
        """Raise ApiError 403 when the caller's token carries none of the `accepted` scopes.

        `accepted` is the method's own list, as the discovery document gives it; empty means that the method needs none.
        """
        if caller.scopes is None or not accepted or CLOUD_PLATFORM in caller.scopes:
            return
        # google-auth asks for IAM's own scope before it impersonates, and no discovery document lists it.
        if host.startswith("iam") and IAM_SCOPE in caller.scopes:
            return
        if not set(accepted) & set(caller.scopes):
            raise refusals.insufficient_scopes(host)

    def authorize(self, principal: str, permission: str, project: str, resource: str = "") -> None:
        """Raise ApiError 403 unless `principal` holds `permission` on the resource or its project."""
        if not self.may(principal, permission, project, resource):
            raise refusals.denied(principal, permission, project, resource)

    def may(self, principal: str, permission: str, project: str, resource: str = "") -> bool:
        """As `allowed`, for a decision on a request: it is counted (see `usage`), and seen by `checks_of`."""
        asking, checked = _checked.get()
        if principal == asking:
            checked.add(permission)
        granted = self.allowed(principal, permission, project, resource)
        usage.count(self.store, principal, permission, granted)
        return granted

    def allowed(self, principal: str, permission: str, project: str, resource: str = "") -> bool:
        """Whether `principal` holds `permission` on the resource (a policy name, see `policies`) or its project.

        An object's resource, `buckets/B/objects/O`, is covered by the bucket's policy.
        """
        chain = [f"projects/{project}"]
        if resource and resource != chain[0]:
            chain.insert(0, resource.split("/objects/")[0] if resource.startswith("buckets/") else resource)
        return self.policies.allows(principal, permission, tuple(chain), resource or chain[0])

    def check_consumer(self, caller: Caller, quota_project: str, project: str, service: str) -> None:
        """Raise ApiError 403 unless the projects that a call counts for have enabled `service`, a host name.

        These are the `quota_project` that the client names (header X-Goog-User-Project), and the project of the resource, or of the
        caller where the API has no resources in projects.
        """
        if quota_project:
            if not self.allowed(caller.email, "serviceusage.services.use", quota_project):
                raise refusals.user_project_denied(service, quota_project)
            self.check_enabled(quota_project, service)
        if service not in CLIENT_BASED:
            self.check_enabled(project, service)
        elif not quota_project and caller.client == sign_in.ADC_CLIENT_ID:
            raise refusals.no_quota_project(service)
        elif account := self.accounts.find(caller.email):
            self.check_enabled(account["projectId"], service)

    def check_enabled(self, project: str, service: str) -> None:
        """Raise ApiError 403 (SERVICE_DISABLED or BILLING_DISABLED) unless `service` is served in the project."""
        known = self.accounts.project(project)
        if known is None or known["projectId"] == FOREIGN_PROJECT:
            return  # one of Google's own, such as debian-cloud, or somebody else's: not for us to enable
        if service in self.services_gated() and not self.services.is_served(known["projectId"], service):
            raise refusals.service_disabled(service, self.services.title(service), known["projectNumber"])
        if service in BILLED and not self.services.billing_enabled():
            raise refusals.billing_disabled(service, known["projectNumber"])

    def services_gated(self) -> set[str]:
        """Return the services that a project must have enabled."""
        return set(KNOWN) - ALWAYS_ENABLED

    # Policies, for the parts of the control plane that own the resources

    def get_policy(self, resource: str) -> Body:
        """Return the IAM policy of a resource: `{"version", "etag", "bindings"}`."""
        return dict(self.policies.get(resource))

    def set_policy(self, resource: str, policy: Body, etag: str = "") -> Body:
        """Check and store a resource's policy, return the new one.

        ApiError 400 for a role or member that does not exist, 409 ABORTED when `etag` (or the policy's) is not current.
        """
        self.check_bindings(policy.get("bindings", []), resource)
        public = any("allUsers" in binding.get("members", []) for binding in policy.get("bindings", []))
        if public and organisation.forbids(self.store, "iam.allowedPolicyMemberDomains", "allUsers"):
            text = "One or more users named in the policy do not belong to a permitted customer, perhaps due to an organization policy."
            raise ApiError(400, "failedPrecondition", text, status="FAILED_PRECONDITION")
        if any(b.get("condition") for b in policy.get("bindings", [])) and policy.get("version") != 3:
            raise ApiError(400, "invalid", "A policy with conditions must be set with version 3.")
        return dict(self.policies.set(resource, cast(Policy, policy), etag))

    def delete_policy(self, resource: str) -> None:
        """Forget the policy of a deleted resource."""
        self.policies.delete(resource)

    def _check_role(self, role: str) -> None:
        if ROLE_NAME.fullmatch(role) and not self.custom_roles.exists(role):
            raise ApiError(400, "badRequest", f"Role ({role}) does not exist in the resource's hierarchy.")
        if not ROLE_NAME.fullmatch(role) and not roles.exists(role):
            raise ApiError(400, "badRequest", f"Role {role} is not supported for this resource.")

    def check_bindings(self, bindings: list[Binding], resource: str = "") -> None:
        """Raise ApiError 400 in Google's words when a binding names a role, member or condition that cannot be."""
        known = [binding["role"] for binding in self.policies.get(resource).get("bindings", [])]
        for binding in bindings:
            role = binding.get("role", "")
            if role not in known:  # a binding whose role was deleted since may stay
                self._check_role(role)
            if binding.get("condition"):
                _check_condition(role, binding["condition"])
            for member in binding.get("members", []):
                kind, separator, name = member.partition(":")
                if member in SPECIAL_MEMBERS or kind == "deleted":
                    continue
                if kind not in MEMBER_KINDS or not separator or not name:
                    raise ApiError(
                        400,
                        "badRequest",
                        f"The member {member} is of an unknown type. Please set a valid type prefix for the member.",
                    )
                if kind == "serviceAccount" and self.accounts.find(name) is None:
                    raise ApiError(400, "badRequest", f"Service account {name} does not exist.")


def _check_condition(role: str, condition: dict[str, Any]) -> None:
    if role in ("roles/owner", "roles/editor", "roles/viewer"):
        raise ApiError(400, "badRequest", f"Conditions can't be set on primitive roles ({role}).")
    if not condition.get("title"):
        raise ApiError(400, "badRequest", "A condition needs a title.")
    try:
        conditions.check(condition.get("expression", ""))
    except conditions.ConditionError as error:
        raise not_implemented(f"evaluating this condition: {error}") from error


def _host(request: Request) -> str:
    """Return the host that the client asked for, before the front door."""
    return request.headers.get("X-Forwarded-Host", request.host).split(":")[0]
