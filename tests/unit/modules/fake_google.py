# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of Google's APIs for the modules' unit tests: dictionaries behind a ``requests``-like session."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import unquote

#: ``run("gcs_bucket", check=True, name="b")``: see conftest.
RunModule = Callable[..., dict[str, Any]]
COMPUTE = r"compute\.googleapis\.com/compute/v1/projects"
READS = re.compile(r":getIamPolicy$|/wait$|entries:list$")


class ApiError(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str, reason: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"error": {"code": code, "message": message, "errors": [{"reason": reason}], **more}}


@dataclass
class Response:
    """As much of ``requests.Response`` as the client looks at."""

    status_code: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class FakeGoogle:
    """Holds one project, ``demo``. ``fail`` plans an error for the next matching call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any], Any]] = []
        self.now = 0.0
        self.resources: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.services: dict[str, str] = {}
        self.families = {"debian-12"}
        self.uploads: list[bytes] = []
        self.build_error: dict[str, Any] | None = None
        self.operation_error: dict[str, Any] | None = None
        self.foreign_buckets: set[str] = set()
        self.planned: list[tuple[str, Exception]] = []
        self.lost: list[str] = []
        self.count = 0
        #: What somebody else does while a module waits.
        self.meanwhile: Callable[[], None] = lambda: None

    # -- time and log --------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def clock(self) -> float:
        return self.now

    @property
    def mutations(self) -> list[str]:
        """The calls that change something, as ``VERB last/part``."""
        return [
            f"{verb} {url.rsplit('/', 1)[-1]}"
            for verb, url, _params, _body in self.calls
            if verb != "GET" and not READS.search(url)
        ]

    def fail(self, pattern: str, error: Exception, times: int = 1) -> None:
        self.planned += [(pattern, error)] * times

    def lose_answer(self, pattern: str) -> None:
        """Handle the next matching call, and answer 503 all the same."""
        self.lost.append(pattern)

    # -- as requests.Session -------------------------------------------------------------------------------------

    def request(self, method: str, url: str, *, params: Any = None, json: Any = None, timeout: Any = None) -> Response:
        self.calls.append((method, url, params or {}, copy.deepcopy(json)))
        try:
            for index, (pattern, error) in enumerate(self.planned):
                if re.search(pattern, f"{method} {url}"):
                    del self.planned[index]
                    raise error
            answer = self._route(method, url.removeprefix("https://"), params or {}, json)
            for pattern in [pattern for pattern in self.lost if re.search(pattern, f"{method} {url}")]:
                self.lost.remove(pattern)
                raise ApiError(503, "the answer got lost", "backendError")
        except ApiError as error:
            return Response(error.code, _bytes(error.body))
        headers = {"Date": "Tue, 24 Nov 2026 12:00:00 GMT"}
        return Response(200, answer if isinstance(answer, bytes) else _bytes(answer), headers)

    def put(self, url: str, data: bytes, **kwargs: Any) -> Response:
        assert "Authorization" not in kwargs["headers"]
        self.uploads.append(data)
        return Response(200, b"")

    def _route(self, method: str, url: str, params: dict[str, Any], body: Any) -> Any:
        for pattern, handler in self.ROUTES:
            match = re.fullmatch(pattern, f"{method} {url}")
            if match:
                return handler(self, *match.groups(), params=params, body=copy.deepcopy(body))
        raise AssertionError(f"the fake Google does not know {method} {url}")

    # -- plain resources: GET, PATCH, DELETE by URL --------------------------------------------------------------

    def read(self, path: str, **_: Any) -> Any:
        if path not in self.resources:
            raise ApiError(404, f"The resource '{path[path.find('projects/') :]}' was not found", "notFound")
        return self.resources[path]

    def remove(self, path: str, **_: Any) -> Any:
        self.read(path)
        del self.resources[path]
        return self.operation()

    def patch(self, path: str, body: Any, **_: Any) -> Any:
        self.read(path).update(body)
        return self.operation()

    def operation(self) -> dict[str, Any]:
        self.count += 1
        return {"name": f"operation-{self.count}", "status": "RUNNING", "zone": "zones/z"}

    def wait(self, name: str, **_: Any) -> dict[str, Any]:
        done = {"name": name, "status": "DONE", "zone": "zones/z"}
        if self.operation_error:
            done |= self.operation_error
        return done

    # -- compute -------------------------------------------------------------------------------------------------

    def insert(self, path: str, body: Any, **_: Any) -> Any:
        if self.operation_error:
            return self.operation()
        name = f"{path}/{body['name']}"
        if name in self.resources:
            raise ApiError(409, f"The resource '{name}' already exists", "alreadyExists")
        if path.endswith("instances"):
            body |= {
                "status": "RUNNING",
                "labelFingerprint": "l1",
                "zone": f"https://{path.removesuffix('/instances')}",
            }
            body.setdefault("metadata", {"items": []})["fingerprint"] = "m1"
            body.setdefault("tags", {"items": []})["fingerprint"] = "t1"
            disk = body["disks"][0]
            image = disk.pop("initializeParams")
            disk |= {"diskSizeGb": image.get("diskSizeGb", "10"), "licenses": ["licenses/debian-12-bookworm"]}
            body["networkInterfaces"][0]["name"] = "nic0"
        self.resources[name] = body
        return self.operation()

    def instance_verb(self, path: str, verb: str, params: dict[str, Any], body: Any) -> Any:
        vm = self.read(path)
        if verb in ("setMachineType", "setScheduling", "setServiceAccount") and vm["status"] == "RUNNING":
            raise ApiError(400, "Invalid resource usage: 'Instance should be in the STOPPED state.'", "invalid")
        if verb == "stop":
            vm["status"] = "TERMINATED"
        elif verb in ("start", "resume"):
            vm["status"] = "RUNNING"
        elif verb == "setLabels":
            self._fingerprint(vm["labelFingerprint"], body["labelFingerprint"])
            vm |= {"labels": body["labels"], "labelFingerprint": vm["labelFingerprint"] + "+"}
        elif verb == "setMetadata":
            self._fingerprint(vm["metadata"]["fingerprint"], body["fingerprint"])
            vm["metadata"] = {"items": body["items"], "fingerprint": body["fingerprint"] + "+"}
        elif verb == "setTags":
            self._fingerprint(vm["tags"]["fingerprint"], body["fingerprint"])
            vm["tags"] = {"items": body["items"], "fingerprint": body["fingerprint"] + "+"}
        elif verb == "setMachineType":
            vm["machineType"] = body["machineType"]
        elif verb == "setScheduling":
            vm["scheduling"] |= body
        elif verb == "setServiceAccount":
            vm["serviceAccounts"] = [body]
        elif verb == "setDeletionProtection":
            vm["deletionProtection"] = params["deletionProtection"] == "true"
        elif verb == "addAccessConfig":
            vm["networkInterfaces"][0]["accessConfigs"] = [body]
        elif verb == "deleteAccessConfig":
            vm["networkInterfaces"][0]["accessConfigs"] = []
        else:
            raise AssertionError(verb)
        return self.operation()

    @staticmethod
    def _fingerprint(active: str, sent: str) -> None:
        if active != sent:
            raise ApiError(412, "Supplied fingerprint does not match current metadata fingerprint.", "conditionNotMet")

    def shielded(self, path: str, body: Any, **_: Any) -> Any:
        self.read(path).setdefault("shieldedInstanceConfig", {}).update(body)
        return self.operation()

    def family(self, project: str, family: str, **_: Any) -> Any:
        if family not in self.families:
            raise ApiError(
                404, f"The resource 'projects/{project}/global/images/family/{family}' was not found", "notFound"
            )
        link = f"https://www.googleapis.com/compute/v1/projects/{project}/global/images/{family}-x-v20261101"
        return {"name": f"{family}-x-v20261101", "selfLink": link, "family": family}

    def machine_type(self, path: str, name: str, **_: Any) -> Any:
        if not name.startswith("e2-"):
            raise ApiError(404, f"The resource '{path[path.find('projects/') :]}' was not found", "notFound")
        return {"name": name}

    def aggregated(self, what: str, **_: Any) -> Any:
        """All of them in their scopes, an empty one beside them."""
        pattern = re.compile(rf"{COMPUTE}/demo/((?:zones|regions)/[\w-]+)/{what}/[\w-]+")
        items: dict[str, Any] = {"zones/empty": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        for path, resource in self.resources.items():
            match = pattern.fullmatch(path)
            if match:
                items.setdefault(match[1], {what: []})[what].append(resource)
        return {"items": items}

    def list_objects(self, bucket: str, **_: Any) -> Any:
        return {
            "items": [
                {"name": name, "size": str(len(content)), "generation": "1"} for name, content in self.objects.items()
            ]
        }

    def guest_attributes(self, path: str, **_: Any) -> Any:
        vm = self.read(path)
        vm["asked"] = vm.get("asked", 0) + 1
        if vm["asked"] < vm.get("keys_after", 3):
            raise ApiError(
                404, f"The resource 'hostkeys/' of '{path}' of type 'Guest Attribute' was not found.", "notFound"
            )
        items = [{"namespace": "hostkeys", "key": "ssh-ed25519", "value": "AAAA"}]
        return {"queryPath": "hostkeys/", "queryValue": {"items": items}}

    def serial(self, path: str, **_: Any) -> Any:
        self.read(path)
        return {"contents": "booted\n"}

    # -- storage -------------------------------------------------------------------------------------------------

    def list_buckets(self, base: str, params: dict[str, Any], **_: Any) -> Any:
        mine = [value for key, value in self.resources.items() if key.startswith(f"{base}/")]
        return {"items": [bucket for bucket in mine if bucket["name"].startswith(params.get("prefix", ""))]}

    def get_bucket(self, path: str, name: str, **_: Any) -> Any:
        if name in self.foreign_buckets:
            raise ApiError(403, f"tester does not have storage.buckets.get access to {name}.", "forbidden")
        if path not in self.resources:
            raise ApiError(404, "The specified bucket does not exist.", "notFound")
        return self.resources[path]

    def insert_bucket(self, base: str, body: Any, **_: Any) -> Any:
        path = f"{base}/{body['name']}"
        if path in self.resources or body["name"] in self.foreign_buckets:
            raise ApiError(409, "The requested bucket name is not available.", "conflict")
        self.resources[path] = {**body, "location": body["location"].upper()}
        return self.resources[path]

    def patch_bucket(self, path: str, body: Any, **_: Any) -> Any:
        bucket = self.resources[path]
        for key, value in body.items():
            bucket[key] = {**bucket.get(key, {}), **value} if isinstance(value, dict) else value
        return bucket

    def delete_bucket(self, path: str, **_: Any) -> Any:
        if self.objects and path in self.resources:
            raise ApiError(409, "The bucket you tried to delete is not empty.", "conflict")
        if self.resources.pop(path, None) is None:
            raise ApiError(404, "The specified bucket does not exist.", "notFound")
        return b""

    def delete_object(self, name: str, **_: Any) -> Any:
        self.media(unquote(name))
        del self.objects[unquote(name)]
        return b""

    def media(self, name: str, **_: Any) -> bytes:
        if name not in self.objects:
            raise ApiError(404, f"No such object: {name}", "notFound")
        return self.objects[name]

    # -- IAM -----------------------------------------------------------------------------------------------------

    def get_policy(self, resource: str, **_: Any) -> Any:
        return self.policies.setdefault(resource, {"etag": _etag(0), "version": 1})

    def set_policy(self, resource: str, body: Any, **_: Any) -> Any:
        policy = body.get("policy", body)
        current = self.get_policy(resource)
        if policy["etag"] != current["etag"]:
            raise ApiError(409, "There were concurrent policy changes.", "aborted", status="ABORTED")
        self.count += 1
        self.policies[resource] = {**policy, "etag": _etag(self.count)}
        return self.policies[resource]

    def create_account(self, base: str, body: Any, **_: Any) -> Any:
        email = f"{body['accountId']}@demo.iam.gserviceaccount.com"
        self.resources[f"{base}/{email}"] = {"email": email, **body["serviceAccount"]}
        return self.resources[f"{base}/{email}"]

    def patch_account(self, path: str, body: Any, **_: Any) -> Any:
        self.resources[path].update(body["serviceAccount"])
        return self.resources[path]

    def delete_account(self, path: str, **_: Any) -> Any:
        del self.resources[path]
        return {}

    def create_role(self, base: str, body: Any, **_: Any) -> Any:
        name = f"{base}/{body['roleId']}"
        if name in self.resources:
            raise ApiError(409, "A role of that name already exists.", status="ALREADY_EXISTS")
        self.resources[name] = {"name": name.partition("/v1/")[2], **body["role"]}
        return self.resources[name]

    def patch_role(self, path: str, params: dict[str, Any], body: Any, **_: Any) -> Any:
        assert set(params["updateMask"].split(",")) == set(body)
        assert not self.resources[path].get("deleted")
        self.resources[path].update(body)
        return self.resources[path]

    def delete_role(self, path: str, **_: Any) -> Any:
        self.read(path)["deleted"] = True
        return self.resources[path]

    def undelete_role(self, path: str, **_: Any) -> Any:
        assert self.resources[path].pop("deleted")
        return self.resources[path]

    # -- service usage -------------------------------------------------------------------------------------------

    def services_get(self, params: dict[str, Any], **_: Any) -> Any:
        names = [name.rsplit("/", 1)[-1] for name in params["names"]]
        states = [
            {"name": f"projects/1/services/{name}", "state": self.services.get(name, "DISABLED")} for name in names
        ]
        return {"services": states}

    def services_enable(self, body: Any, **_: Any) -> Any:
        self.services |= dict.fromkeys(body["serviceIds"], "ENABLED")
        return {"name": "operations/acat.1", "done": True, "response": {}}

    # -- functions -----------------------------------------------------------------------------------------------

    def upload_url(self, **_: Any) -> Any:
        link = "https://storage.googleapis.com/uploads/1.zip?Signature=x"
        return {"uploadUrl": link, "storageSource": {"bucket": "uploads", "object": "1.zip"}}

    def function_create(self, base: str, params: dict[str, Any], body: Any, **_: Any) -> Any:
        path = f"{base}/{params['functionId']}"
        if path in self.resources:
            raise ApiError(409, f"Resource '{path}' already exists", status="ALREADY_EXISTS")
        return self._deploy(path, body)

    def function_patch(self, path: str, body: Any, **_: Any) -> Any:
        return self._deploy(path, {**self.resources[path], **body})

    def _deploy(self, path: str, body: dict[str, Any]) -> Any:
        body |= {"state": "FAILED" if self.build_error else "ACTIVE", "url": "https://f.test/x"}
        body["serviceConfig"] |= {"service": f"projects/demo/locations/r/services/{path.rsplit('/', 1)[-1]}"}
        self.resources[path] = body
        return {"name": "projects/demo/locations/r/operations/op1", "done": False}

    def function_operation(self, **_: Any) -> Any:
        ended = {"error": self.build_error} if self.build_error else {"response": {}}
        return {"name": "projects/demo/locations/r/operations/op1", "done": True, **ended}

    def function_delete(self, path: str, **_: Any) -> Any:
        self.remove(path)
        return {"name": "projects/demo/locations/r/operations/op1", "done": True, "response": {}}

    def log_entries(self, **_: Any) -> Any:
        return {"entries": [{"textPayload": "ERROR: no matching distribution for nonsense"}, {"textPayload": "Step 1"}]}

    ROUTES: ClassVar[list[tuple[str, Any]]] = [
        (rf"GET {COMPUTE}/([\w-]+)/global/images/family/([\w-]+)", family),
        (rf"GET ({COMPUTE}/demo/zones/z/machineTypes/([\w-]+))", machine_type),
        (rf"POST {COMPUTE}/demo/(?:zones/z|global)/operations/([\w-]+)/wait", wait),
        (rf"GET ({COMPUTE}/demo/.*instances/\w+)/getGuestAttributes", guest_attributes),
        (rf"GET ({COMPUTE}/demo/.*instances/\w+)/serialPort", serial),
        (rf"POST ({COMPUTE}/demo/zones/z/instances|{COMPUTE}/demo/global/firewalls)", insert),
        (rf"POST ({COMPUTE}/demo/zones/z/instances/\w+)/(\w+)", instance_verb),
        (rf"PATCH ({COMPUTE}/demo/zones/z/instances/\w+)/updateShieldedInstanceConfig", shielded),
        (rf"GET {COMPUTE}/demo/aggregated/(\w+)", aggregated),
        (rf"GET ({COMPUTE}/.*)", read),
        (rf"PATCH ({COMPUTE}/.*)", patch),
        (rf"DELETE ({COMPUTE}/.*)", remove),
        (r"GET storage\.googleapis\.com/storage/v1/b/[\w-]+/o/(.+)", media),
        (r"GET storage\.googleapis\.com/storage/v1/b/([\w-]+)/o", list_objects),
        (r"DELETE storage\.googleapis\.com/storage/v1/b/[\w-]+/o/(.+)", delete_object),
        (r"GET (storage\.googleapis\.com/storage/v1/b/[\w-]+)/iam", get_policy),
        (r"PUT (storage\.googleapis\.com/storage/v1/b/[\w-]+)/iam", set_policy),
        (r"GET (storage\.googleapis\.com/storage/v1/b)", list_buckets),
        (r"POST (storage\.googleapis\.com/storage/v1/b)", insert_bucket),
        (r"GET (storage\.googleapis\.com/storage/v1/b/([\w-]+))", get_bucket),
        (r"PATCH (storage\.googleapis\.com/storage/v1/b/[\w-]+)", patch_bucket),
        (r"DELETE (storage\.googleapis\.com/storage/v1/b/[\w-]+)", delete_bucket),
        (r"(?:GET|POST) (.*):getIamPolicy", get_policy),
        (r"POST (.*):setIamPolicy", set_policy),
        (r"POST (iam\.googleapis\.com/v1/projects/demo/serviceAccounts)", create_account),
        (r"POST (iam\.googleapis\.com/v1/projects/demo/roles)", create_role),
        (r"POST (iam\.googleapis\.com/v1/projects/demo/roles/\w+):undelete", undelete_role),
        (r"PATCH (iam\.googleapis\.com/v1/projects/demo/roles/\w+)", patch_role),
        (r"DELETE (iam\.googleapis\.com/v1/projects/demo/roles/\w+)", delete_role),
        (r"GET (iam\.googleapis\.com/.*)", read),
        (r"PATCH (iam\.googleapis\.com/.*)", patch_account),
        (r"DELETE (iam\.googleapis\.com/.*)", delete_account),
        (r"GET serviceusage\.googleapis\.com/v1/projects/demo/services:batchGet", services_get),
        (r"POST serviceusage\.googleapis\.com/v1/projects/demo/services:batchEnable", services_enable),
        (r"POST cloudfunctions\.googleapis\.com/v2/projects/demo/locations/r/functions:generateUploadUrl", upload_url),
        (r"POST (cloudfunctions\.googleapis\.com/v2/projects/demo/locations/r/functions)", function_create),
        (r"GET cloudfunctions\.googleapis\.com/v2/projects/demo/locations/r/operations/op1", function_operation),
        (r"GET (cloudfunctions\.googleapis\.com/v2/.*)", read),
        (r"PATCH (cloudfunctions\.googleapis\.com/v2/.*)", function_patch),
        (r"DELETE (cloudfunctions\.googleapis\.com/v2/.*)", function_delete),
        (r"POST logging\.googleapis\.com/v2/entries:list", log_entries),
    ]


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _etag(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()
