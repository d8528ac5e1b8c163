# SPDX-License-Identifier: GPL-3.0-or-later
"""A Cloud Function of the second generation: built only when its content changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ansible.module_utils.fanops.api.client import Client, basename, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.fields import Field, texts
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource
from ansible.module_utils.fanops.resources import build_failure
from ansible.module_utils.fanops.resources.iam_member import IamMember
from ansible.module_utils.fanops.resources.memory import memory_bytes
from ansible.module_utils.fanops.resources.source_archive import SourceError, collect, content_hash, pack

BASE = "https://cloudfunctions.googleapis.com/v2"
#: A label value has 63 characters at most; 40 hex digits are 160 bits.
HASH_LABEL = "content-hash"
HASH_LENGTH = 40
SERVICE = "serviceConfig"


def same_memory(one: str, other: str) -> bool:
    """Whether two spellings, such as ``512M`` and ``512000k``, are one size; what is no size is only itself."""
    try:
        return memory_bytes(one) == memory_bytes(other)
    except ValueError:
        return one == other


def error_of(function: dict[str, Any], attempting: str) -> GoogleApiError:
    """What a function that did not become ACTIVE says about itself."""
    said = "; ".join(message.get("message", "") for message in function.get("stateMessages", []))
    return GoogleApiError(attempting, f"its state is {function.get('state')} ({said or 'no message'})", "Run again.")


class Function(Resource):
    """One function, and whether everybody may call it."""

    kind = "function"
    fields = (
        Field("runtime", "buildConfig.runtime"),
        Field("entry_point", "buildConfig.entryPoint"),
        Field("memory", f"{SERVICE}.availableMemory"),
        Field("cpu", f"{SERVICE}.availableCpu"),
        Field("concurrency", f"{SERVICE}.maxInstanceRequestConcurrency"),
        Field("timeout_seconds", f"{SERVICE}.timeoutSeconds"),
        Field("max_instances", f"{SERVICE}.maxInstanceCount"),
        Field("min_instances", f"{SERVICE}.minInstanceCount", 0),
        Field("environment", f"{SERVICE}.environmentVariables", {}, normalize=texts),
        Field("service_account_email", f"{SERVICE}.serviceAccountEmail"),
        Field("labels", "labels", {}, normalize=texts),
    )

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        self._files: dict[str, bytes] = {}
        self.content_hash: str | None = None
        if options["state"] == "present":
            try:
                self._files = collect(options["source"])
            except SourceError as error:
                raise GoogleApiError(
                    f"pack the source of {self.title}", str(error), "Check the source option."
                ) from error
            self.content_hash = content_hash(self._files, self._configuration())

    @property
    def title(self) -> str:
        """Name and region."""
        return f"function {self.options['name']} in {self.options['region']}"

    @property
    def _parent(self) -> str:
        return f"projects/{self.client.project}/locations/{segment(self.options['region'])}"

    @property
    def _url(self) -> str:
        return f"{BASE}/{self._parent}/functions/{segment(self.options['name'])}"

    # -- reading -------------------------------------------------------------------------------------------------

    def fetch(self) -> dict[str, Any] | None:
        """The function as the API shows it."""
        return self.client.find(self._url, attempting=f"read {self.title}")

    def settle(self, current: dict[str, Any]) -> dict[str, Any] | None:
        """Wait while a deployment or deletion that somebody began is going on."""
        if current.get("state") not in ("DEPLOYING", "DELETING"):
            return current

        def probe() -> tuple[dict[str, Any] | None] | None:
            found = self.fetch()
            return None if found and found.get("state") in ("DEPLOYING", "DELETING") else (found,)

        return self.client.until(
            probe, attempting=f"change {self.title}", waiting_for="the end of a deployment under way", every=3.0
        )[0]

    def wanted(self) -> dict[str, Any]:
        """The options that describe the function; ``content_hash`` stands for its source."""
        digest = self.content_hash[:HASH_LENGTH] if self.content_hash else None
        return {"content_hash": digest, "state": "ACTIVE", **super().wanted()}

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The function in option words."""
        found = super().view(current)
        memory, wanted = found["memory"], self.options["memory"]
        if memory and wanted and same_memory(memory, wanted):
            found["memory"] = wanted
        state = "FAILED" if _broken(current) else current.get("state")
        return {"content_hash": current.get("labels", {}).get(HASH_LABEL), "state": state, **found}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """As it would be; the URL of a second generation function is known beforehand."""
        region, project, name = self.options["region"], self.client.project, self.options["name"]
        return {
            "name": f"{self._parent}/functions/{name}",
            "url": f"https://{region}-{project}.cloudfunctions.net/{name}",
            **(current or {}),
            **self._body(current),
            "state": "ACTIVE",
        }

    # -- planning ------------------------------------------------------------------------------------------------

    def plan(self, current: dict[str, Any] | None, state: str) -> Plan:
        """As for every resource, and then the public access, which is kept elsewhere."""
        plan = super().plan(current, state)
        plan.extra = {"content_hash": self.content_hash}
        if state == "present" and self.options["public"] is not None:
            public = current is not None and self._invoker(current).fetch() is not None
            if public != self.options["public"]:
                plan.differences.add("public", self.options["public"], public)
                name = "open to everybody" if self.options["public"] else "close to the public"
                plan.act(name, self._set_public)
        return plan

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """Deploy again: the hash covers source and settings, so any difference is a new build."""
        plan.act(f"deploy {self.title}", lambda: self._patiently(lambda: self._deploy(current)))

    # -- changing ------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Upload, build, start."""
        attempting = f"create {self.title}"
        body = self._body(None)
        body["buildConfig"]["source"] = {"storageSource": self._upload()}
        url, params = f"{BASE}/{self._parent}/functions", {"functionId": self.options["name"]}
        try:
            self._patiently(lambda: self._long("POST", url, attempting, body=body, params=params))
        except GoogleApiError as error:
            # Was the answer to the first attempt lost, and with it the operation to wait for? Then it is this content.
            found = (self.fetch() or {}) if error.already_exists else {}
            if found.get("labels", {}).get(HASH_LABEL) != body["labels"][HASH_LABEL]:
                raise
            made = self.settle(found) or {}
            if made.get("state") != "ACTIVE":
                raise error_of(made, attempting) from error

    def _deploy(self, current: dict[str, Any]) -> None:
        body = self._body(current)
        body["buildConfig"]["source"] = {"storageSource": self._upload()}
        mask = ["labels", "buildConfig.runtime", "buildConfig.entryPoint", "buildConfig.source"]
        mask += [f"serviceConfig.{field}" for field in body["serviceConfig"]]
        self._long("PATCH", self._url, f"deploy {self.title}", body=body, params={"updateMask": ",".join(mask)})

    def _patiently(self, deploy: Callable[[], None]) -> None:
        """Deploy, and again while Google's own agent, made for the project's first function, lacks its access."""
        deadline = self.client.clock() + self.client.timeout
        while True:
            try:
                return deploy()
            except GoogleApiError as error:
                if not build_failure.agent_is_new(error) or self.client.clock() > deadline:
                    raise
                # The failed attempt left a function, which is deployed again rather than created.
                found = self.fetch()
                if found is not None:
                    deploy = partial(self._deploy, found)
            self.client.sleep(10.0)

    def delete(self, current: dict[str, Any]) -> None:
        """Delete it."""
        self._long("DELETE", self._url, f"delete {self.title}")

    def _long(self, method: str, url: str, attempting: str, **request: Any) -> None:
        """Start a long operation and wait; while another one holds the function, try again."""
        deadline = self.client.clock() + self.client.timeout
        while True:
            try:
                operation = self.client.call(method, url, attempting=attempting, repeatable=True, **request)
                self.client.wait_longrunning(BASE, operation, attempting=attempting)
                return
            except GoogleApiError as error:
                busy = error.status == 409 and (method != "POST" or "exist" not in error.google_message)
                if not busy or self.client.clock() > deadline:
                    raise build_failure.explained(self.client, error) from error
            self.client.sleep(5.0)

    def _upload(self) -> dict[str, Any]:
        answer = self.client.call(
            "POST",
            f"{BASE}/{self._parent}/functions:generateUploadUrl",
            attempting=f"upload the source of {self.title}",
            body={},
            repeatable=True,
        )
        self.client.upload(
            answer["uploadUrl"],
            pack(self._files),
            content_type="application/zip",
            attempting=f"upload the source of {self.title}",
        )
        return dict(answer["storageSource"])

    def _configuration(self) -> dict[str, Any]:
        """What belongs to the content hash beside the files."""
        return {option: value for option, value in super().wanted().items() if option != "labels"}

    def _body(self, current: dict[str, Any] | None) -> dict[str, Any]:
        active, body = current or {}, self.body()
        service = body[SERVICE]
        if "environmentVariables" in service:
            others = active.get(SERVICE, {}).get("environmentVariables", {})
            service["environmentVariables"] = {**others, **service["environmentVariables"]}
        labels = {**active.get("labels", {}), **body.get("labels", {}), HASH_LABEL: self.wanted()["content_hash"]}
        name = f"{self._parent}/functions/{self.options['name']}"
        return {**body, "name": name, "environment": "GEN_2", "labels": labels}

    # -- public access -------------------------------------------------------------------------------------------

    def _invoker(self, function: dict[str, Any]) -> IamMember:
        """Everybody's permission to call, which belongs to the Cloud Run service beneath the function."""
        service = basename(function.get("serviceConfig", {}).get("service") or self.options["name"])
        options = {
            "resource_type": "run_service",
            "resource": service,
            "region": self.options["region"],
            "role": "roles/run.invoker",
            "member": "allUsers",
            "state": "present" if self.options["public"] else "absent",
        }
        # A function whose first build failed has no service yet, and so nobody's permission.
        return IamMember(self.client, options, must_exist=False)

    def _set_public(self) -> None:
        invoker = self._invoker(self.fetch() or {})
        if self.options["public"]:
            invoker.create()
        else:
            invoker.delete({})


def _broken(function: dict[str, Any]) -> bool:
    """Whether Google reports an error with it, whatever its state says."""
    return any(message.get("severity") == "ERROR" for message in function.get("stateMessages", []))
