# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions from upload to answer: the real framework serves each revision, as a process instead of a container."""

from __future__ import annotations

import contextlib
import datetime
import io
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal import ahead
from rehearsal.services.artifactregistry import images
from rehearsal.services.functions import addresses, build, deploy, instances, invoke, lifecycle, runtimes
from rehearsal.services.functions.names import FunctionName

LOCATION = "https://cloudfunctions.googleapis.com/v2/projects/fanops-rehearsal/locations/us-central1"
REGISTRY = "https://artifactregistry.googleapis.com/v1/projects/fanops-rehearsal/locations/us-central1/repositories"
RUN = "https://run.googleapis.com/v{}/projects/fanops-rehearsal/locations/us-central1/services/hello"
URI = FunctionName("fanops-rehearsal", "us-central1", "hello").uri
OLDER = "https://us-central1-fanops-rehearsal.cloudfunctions.net/hello"
SERVER = "m4-server@fanops-rehearsal.iam.gserviceaccount.com"
MAIN = """
import os, time
import functions_framework

VERSION = "one"

@functions_framework.http
def hello(request):
    if request.path == "/die":
        os._exit(1)
    if request.path == "/slow":
        time.sleep(60)
    if request.path == "/held":
        open(request.args["file"], "w").close()
        while os.path.exists(request.args["file"]):
            time.sleep(0.01)
    if request.path == "/large":
        return "x" * (int(request.args["bytes"]))
    return {"version": VERSION, "path": request.full_path, "body": request.get_json(silent=True),
            "authorization": request.headers.get("Authorization", ""), "variable": os.environ.get("COLOUR", "")}
"""


class Processes:
    """Containers' surface, with one process per container that listens on the container's own loopback address."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def create(self, name: str, image: str, **options: Any) -> None:
        self.known[name] = {**options, "process": None, "log": b""}

    def start(self, name: str) -> None:
        one = self.known[name]
        source = next(Path(mount[0]) for mount in one["mounts"] if mount[1] == build.WORKSPACE)
        command = [
            str(Path(sys.executable).with_name("functions-framework")), f"--target={one['env']['FUNCTION_TARGET']}",
            f"--source={source / 'main.py'}", f"--port={one['env']['PORT']}", f"--host={one['netns']}",
        ]  # fmt: skip
        with (source.parent / f"{name}.out").open("ab") as log:
            one["process"] = subprocess.Popen(
                command, env={**os.environ, **one["env"]}, stdout=log, stderr=log, start_new_session=True
            )
        one["out"] = source.parent / f"{name}.out"

    def remove(self, name: str) -> None:
        one = self.known.pop(name, None)
        if one and one["process"]:
            self.kill(one)

    @staticmethod
    def kill(one: dict[str, Any]) -> None:
        # The framework's workers as well, and not before they are really gone: they would go on listening.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one["process"].pid, signal.SIGKILL)
        one["process"].wait()
        while instances.listens(one["netns"]):
            time.sleep(0.01)

    def state(self, name: str) -> dict[str, Any] | None:
        one = self.known.get(name)
        if one is None or one["process"] is None:
            return None
        code = one["process"].poll()
        return {"Running": code is None, "Pid": one["process"].pid if code is None else 0, "ExitCode": code or 0}

    def is_running(self, name: str) -> bool:
        return bool((self.state(name) or {}).get("Running"))

    def exit_info(self, name: str) -> tuple[int, bool]:
        return (self.state(name) or {}).get("ExitCode", 0), False

    def logs(self, name: str, *, timestamps: bool = False) -> bytes:
        one = self.known.get(name)
        lines = one["out"].read_bytes().splitlines(keepends=True) if one and "out" in one else []
        return b"".join(b"2026-11-27T12:00:00.5Z " * timestamps + line for line in lines)


@pytest.fixture
def cloud(control_plane: Any, storage_server: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    port = 20_000 + os.getpid() % 20_000
    monkeypatch.setattr(instances, "PORT", port)
    monkeypatch.setattr(invoke, "PORT", port)
    monkeypatch.setattr(addresses, "RANGE", ipaddress.ip_network("127.88.0.0/24"))
    monkeypatch.setattr(instances, "WATCH_EVERY", 0.05)
    monkeypatch.setattr(instances, "RESTART_PAUSE", 0.05)

    def install(cloud: Any, name: Any, image: str, script: str, source: Path, environment: Path, say: Any) -> None:
        say("Successfully installed nothing")
        done = subprocess.run([sys.executable, "-m", "compileall", "-f", "-q", str(source)], capture_output=True)
        if done.returncode:
            raise build.BuildError("the build step failed with exit code 1; its last lines:\n" + done.stdout.decode())

    monkeypatch.setattr(build, "_run", install)
    control_plane.containers = Processes()
    control_plane.network = SimpleNamespace(attach=lambda name, address: address, detach=lambda name: None)
    control_plane.metadata = SimpleNamespace(register=lambda ip, view: None, unregister=lambda ip: None)
    control_plane.images = SimpleNamespace(ensure=lambda family, say: "localhost/python313:1")
    for service in ("cloudfunctions", "run", "cloudbuild", "artifactregistry"):
        control_plane.identity.services.enable("fanops-rehearsal", f"{service}.googleapis.com")
    control_plane.identity.accounts.create("fanops-rehearsal", SERVER)
    yield control_plane
    lifecycle.stop_functions(control_plane)


def archive(files: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return data.getvalue()


@pytest.fixture
def upload(cloud: Any, ask: Any) -> Callable[..., dict[str, str]]:
    def send(main: str = MAIN) -> dict[str, str]:
        answer = ask("POST", f"{LOCATION}/functions:generateUploadUrl", b"{}").get_json()
        files = {"main.py": main, "requirements.txt": "functions-framework\n"}
        assert (
            ask("PUT", answer["uploadUrl"], archive(files), headers={"Content-Type": "application/zip"}).status_code
            == 200
        )
        return dict(answer["storageSource"])

    return send


def wait(ask: Any, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.get_data(as_text=True)
    operation = answer.get_json()
    for _ in range(1200):
        operation = ask("GET", f"https://cloudfunctions.googleapis.com/v2/{operation['name']}").get_json()
        assert operation["metadata"]["target"]
        if operation["done"]:
            return dict(operation)
        time.sleep(0.05)
    raise AssertionError("the operation does not end")


@pytest.fixture
def create(ask: Any, upload: Any) -> Callable[..., dict[str, Any]]:
    def send(main: str = MAIN, entry_point: str = "hello", function: str = "hello", **service: Any) -> dict[str, Any]:
        body = {
            "environment": "GEN_2",
            "buildConfig": {
                "runtime": "python313",
                "entryPoint": entry_point,
                "source": {"storageSource": upload(main)},
            },
            "serviceConfig": {"serviceAccountEmail": SERVER, **service},
        }
        return wait(ask, ask("POST", f"{LOCATION}/functions?functionId={function}", json.dumps(body).encode()))

    return send


def publish(ask: Any, role: str = "roles/run.invoker", member: str = "allUsers") -> None:
    policy = {"policy": {"bindings": [{"role": role, "members": [member]}]}}
    answer = ask("POST", RUN.format(1) + ":setIamPolicy", json.dumps(policy).encode())
    assert answer.status_code == 200, answer.get_data(as_text=True)


def call(ask: Any, url: str = URI, token: str = "", verb: str = "POST", body: bytes = b'{"zone": "VIP"}') -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    return ask(verb, url, body, headers=headers)


def test_a_public_function_is_deployed_called_updated_and_deleted(
    cloud: Any, ask: Any, create: Any, upload: Any
) -> None:
    operation = create(environmentVariables={"COLOUR": "green"})
    assert [stage["state"] for stage in operation["metadata"]["stages"]] == ["COMPLETE", "COMPLETE"]
    function = operation["response"]
    assert (function["state"], function["serviceConfig"]["uri"], function["url"]) == ("ACTIVE", URI, OLDER)
    assert function["serviceConfig"]["revision"].startswith("hello-00001-")
    publish(ask)
    answer = call(ask, f"{URI}/a%20b?q=1&q=2").get_json()
    assert (answer["version"], answer["path"], answer["body"]) == ("one", "/a b?q=1&q=2", {"zone": "VIP"})
    assert answer["variable"] == "green"
    assert call(ask, OLDER).get_json()["path"] == "/?"
    assert call(ask, "https://hello-482910376155.us-central1.run.app/x").get_json()["path"] == "/x?"
    assert call(ask, f"{OLDER}/deep").get_json()["path"] == "/deep?"
    assert call(ask, "https://127.0.0.1/hello/deep").get_json()["path"] == "/deep?"  # a browser without a proxy
    assert call(ask, "https://localhost/another").status_code == 404

    body = {"buildConfig": {"source": {"storageSource": upload(MAIN.replace('"one"', '"two"'))}}}
    wait(ask, ask("PATCH", f"{LOCATION}/functions/hello?updateMask=build_config.source", json.dumps(body).encode()))
    assert call(ask).get_json()["version"] == "two"
    found = ask("GET", f"{LOCATION}/functions/hello").get_json()
    assert found["serviceConfig"]["revision"].startswith("hello-00002-")
    assert found["serviceConfig"]["environmentVariables"] == {"COLOUR": "green", "LOG_EXECUTION_ID": "true"}
    assert len(cloud.containers.known) == 1

    assert wait(ask, ask("DELETE", f"{LOCATION}/functions/hello"))["response"]["@type"].endswith("Empty")
    assert ask("GET", f"{LOCATION}/functions/hello").status_code == 404
    assert call(ask).status_code == 404
    assert cloud.containers.known == {} and cloud.store.list("functions.addresses") == []
    assert not [entry for entry in cloud.log.entries() if entry.violations]


def test_a_deployment_leaves_its_source_and_an_image_which_the_functions_deletion_does_not_touch(
    cloud: Any, ask: Any, create: Any
) -> None:
    create()
    assert wait(ask, ask("DELETE", f"{LOCATION}/functions/hello"))["done"]
    create(MAIN.replace('"one"', '"two"'))
    assert wait(ask, ask("DELETE", f"{LOCATION}/functions/hello"))["done"]
    storage = "https://storage.googleapis.com/storage/v1/b"
    buckets = {one["name"]: one for one in ask("GET", f"{storage}?project=fanops-rehearsal").get_json()["items"]}
    kept, uploads = (
        "gcf-v2-sources-482910376155-us-central1",
        "gcf-v2-uploads-482910376155.us-central1.cloudfunctions.appspot.com",
    )
    assert buckets.keys() == {kept, uploads}
    assert buckets[kept]["labels"] == {"goog-managed-by": "cloudfunctions"} and buckets[kept]["versioning"]["enabled"]
    objects = [
        [one["name"] for one in ask("GET", f"{storage}/{name}/o").get_json()["items"]] for name in (kept, uploads)
    ]
    assert objects[0] == ["hello/function-source.zip"] and len(objects[1]) == 2

    repository = ask("GET", f"{REGISTRY}/gcf-artifacts").get_json()
    images = ask("GET", f"{REGISTRY}/gcf-artifacts/dockerImages").get_json()["dockerImages"]
    assert repository["labels"] == {"goog-managed-by": "cloudfunctions"} and repository["format"] == "DOCKER"
    assert int(repository["sizeBytes"]) == sum(int(image["imageSizeBytes"]) for image in images)
    registry = "us-central1-docker.pkg.dev/fanops-rehearsal/gcf-artifacts/fanops--rehearsal__us--central1__hello"
    assert [(image["uri"].partition("@")[0], image["tags"]) for image in images] == [
        (registry, ["version_1"]),
        (registry, ["version_2", "latest"]),
        (f"{registry}/cache", ["latest"]),
    ]
    packages = [one["name"] for one in ask("GET", f"{REGISTRY}/gcf-artifacts/packages").get_json()["packages"]]
    assert packages[1].endswith("__hello%2Fcache")
    for name in packages:
        operation = ask("DELETE", f"https://artifactregistry.googleapis.com/v1/{name}").get_json()
        assert ask("GET", f"https://artifactregistry.googleapis.com/v1/{operation['name']}").get_json()["done"]
    assert ask("GET", f"{REGISTRY}/gcf-artifacts").get_json()["sizeBytes"] == "0"
    assert ask("DELETE", f"{REGISTRY}/gcf-artifacts").status_code == 200
    assert ask("GET", f"{REGISTRY}/gcf-artifacts").status_code == 404
    assert not [entry for entry in cloud.log.entries() if entry.violations]


def test_cleanup_policies_are_carried_out_once_a_day_and_keeping_goes_before_deleting(cloud: Any, ask: Any) -> None:
    store = cloud.store
    for function in ("ours", "theirs"):
        for _ in range(4):
            images.push(store, "fanops-rehearsal", "us-central1", function, 10)
    ours = "fanops--rehearsal__us--central1__ours"

    def tags(package: str) -> list[str]:
        found = ask("GET", f"{REGISTRY}/gcf-artifacts/dockerImages").get_json()["dockerImages"]
        return [image["tags"][0] for image in found if f"/{package}@" in image["uri"]]

    def put(policies: dict[str, Any], **more: Any) -> Any:
        body = json.dumps({"cleanupPolicies": policies, **more}).encode()
        mask = ",".join(["cleanupPolicies", *more])
        return ask("PATCH", f"{REGISTRY}/gcf-artifacts?updateMask={mask}", body)

    policies = {
        "keep": {"id": "keep", "action": "KEEP", "mostRecentVersions": {"keepCount": 2, "packageNamePrefixes": [ours]}},
        "delete": {
            "id": "delete",
            "action": "DELETE",
            "condition": {"olderThan": "3600s", "packageNamePrefixes": [ours]},
        },
    }
    assert put({"odd": {"id": "odd", "action": "DELETE", "mostRecentVersions": {"keepCount": 1}}}).status_code == 400
    assert put(policies, cleanupPolicyDryRun=True).status_code == 200
    ahead.move(store, 86_400, with_clock=False)
    assert len(tags(ours)) == 4, "they are only tried"
    assert put(policies, cleanupPolicyDryRun=False).status_code == 200
    assert len(tags(ours)) == 4, "not before the next day"
    ahead.move(store, 86_400, with_clock=False)
    assert tags(ours) == ["version_3", "version_4"] and tags(f"{ours}/cache") == ["latest"]
    assert len(tags(ours.replace("ours", "theirs"))) == 4
    images.push(store, "fanops-rehearsal", "us-central1", "ours", 10)
    assert tags(ours) == ["version_3", "version_4", "version_5"]


def test_settings_change_without_a_new_source(ask: Any, create: Any) -> None:
    create()
    publish(ask)
    body = {"serviceConfig": {"environmentVariables": {"COLOUR": "red"}, "availableMemory": "512Mi"}}
    mask = "serviceConfig.environmentVariables,service_config.available_memory"
    for _ in range(2):
        operation = wait(ask, ask("PATCH", f"{LOCATION}/functions/hello?updateMask={mask}", json.dumps(body).encode()))
        assert operation["response"]["serviceConfig"]["availableMemory"] == "512Mi"
        assert call(ask).get_json() == call(ask).get_json() | {"version": "one", "variable": "red"}


def test_a_private_function_wants_an_id_token_of_somebody_who_may_call(cloud: Any, ask: Any, create: Any) -> None:
    create()
    identity = cloud.identity
    assert call(ask).status_code == 403
    assert call(ask, verb="OPTIONS", body=b"").status_code == 403
    assert call(ask, token=identity.access_token(identity.owner)["access_token"]).status_code == 401
    assert call(ask, token=identity.id_token(identity.owner, "https://elsewhere.run.app")).status_code == 401
    assert "insufficient_scope" in call(ask, token=identity.id_token(SERVER, URI)).headers["WWW-Authenticate"]
    for audience in (URI, OLDER, "32555940559.apps.googleusercontent.com"):
        answer = call(ask, token=identity.id_token(identity.owner, audience))
        assert answer.status_code == 200, audience
        assert answer.get_json()["authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
    publish(ask, member=f"serviceAccount:{SERVER}")
    assert call(ask, token=identity.id_token(SERVER, URI)).status_code == 200


def test_a_builds_log_is_kept(ask: Any, create: Any) -> None:
    create()
    build_id = ask("GET", f"{LOCATION}/functions/hello").get_json()["buildConfig"]["build"].rpartition("/")[2]
    url = "https://logging.googleapis.com/v2/entries:list"
    asked = {"resourceNames": ["projects/fanops-rehearsal"], "filter": f'resource.labels.build_id="{build_id}"'}
    entries = ask("POST", url, json.dumps(asked).encode()).get_json()["entries"]
    assert entries[0]["textPayload"] == "unpacked 2 files" and entries[0]["resource"]["labels"]["build_id"] == build_id
    assert "Successfully installed nothing" in [entry["textPayload"] for entry in entries]
    newest = ask("POST", url, json.dumps(asked | {"orderBy": "timestamp desc", "pageSize": 1}).encode()).get_json()[
        "entries"
    ]
    assert newest == entries[-1:]
    assert ask("POST", url, json.dumps(asked | {"filter": "severity=ERROR"}).encode()).status_code == 405


def test_a_build_that_fails_says_why_and_the_version_before_keeps_serving(ask: Any, create: Any, upload: Any) -> None:
    create()
    publish(ask)
    body = {"buildConfig": {"source": {"storageSource": upload("def hello(:\n")}}}
    operation = wait(
        ask, ask("PATCH", f"{LOCATION}/functions/hello?updateMask=buildConfig.source", json.dumps(body).encode())
    )
    assert operation["error"]["code"] == 3
    assert "Build failed" in operation["error"]["message"] and "SyntaxError" in operation["error"]["message"]
    found = ask("GET", f"{LOCATION}/functions/hello").get_json()
    assert found["state"] == "ACTIVE" and found["stateMessages"][0]["severity"] == "WARNING"
    assert call(ask).get_json()["version"] == "one"


@pytest.mark.parametrize(
    ("main", "entry_point", "words"),
    [
        ("raise RuntimeError('canary')\n", "hello", ["Container Healthcheck failed", "canary"]),
        (MAIN, "absent", ["Container Healthcheck failed", "absent"]),
    ],
)
def test_a_function_that_does_not_start_fails_with_its_own_log(
    cloud: Any, ask: Any, create: Any, main: str, entry_point: str, words: list[str]
) -> None:
    operation = create(main, entry_point)
    assert operation["error"]["code"] == 3
    assert all(word in operation["error"]["message"] for word in words)
    assert ask("GET", f"{LOCATION}/functions/hello").get_json()["state"] == "FAILED"
    assert ask("GET", RUN.format(2)).status_code == 404
    assert cloud.containers.known == {} and cloud.store.list("functions.addresses") == []


def test_a_function_that_dies_is_started_again(cloud: Any, ask: Any, create: Any) -> None:
    create()
    publish(ask)
    (container,) = cloud.containers.known.values()
    cloud.containers.kill(container)
    for _ in range(600):
        if call(ask).status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError("it does not come back")


def test_a_request_that_takes_too_long_ends_with_504(ask: Any, create: Any) -> None:
    create(timeoutSeconds=1)
    publish(ask)
    assert call(ask, f"{URI}/slow").status_code == 504


def test_requests_and_answers_beyond_32_mebibytes_are_refused(ask: Any, create: Any) -> None:
    create()
    publish(ask)
    sizes = [call(ask, f"{URI}/large?bytes=1", body=b"x" * (32 * 2**20 + more)).status_code for more in (0, 1)]
    assert sizes == [200, 413]
    assert len(call(ask, f"{URI}/large?bytes={32 * 2**20}").get_data()) == 32 * 2**20
    refused = call(ask, f"{URI}/large?bytes={32 * 2**20 + 1}")
    assert refused.status_code == 500 and "too large" in refused.get_data(as_text=True)


@pytest.mark.parametrize(("cpu", "concurrency", "instances_at_most"), [("0.333", 1, 1), ("0.333", 1, 2), ("1", 2, 2)])
def test_what_is_too_much_for_all_instances_waits_and_is_refused(
    cloud: Any,
    ask: Any,
    create: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cpu: str,
    concurrency: int,
    instances_at_most: int,
) -> None:
    create(availableCpu=cpu, maxInstanceRequestConcurrency=concurrency, maxInstanceCount=instances_at_most)
    publish(ask)
    under_way = []
    # Each of them waits until there is room for it, in another instance if it must be.
    for number in range(concurrency * instances_at_most):
        held = tmp_path / f"held-{number}"
        under_way.append((held, cloud.background(call, ask, f"{URI}/held?file={held}")))
        while not held.exists():
            time.sleep(0.01)
    options = [one["options"] for one in cloud.containers.known.values()]
    assert [listed[listed.index("--cpus") + 1] for listed in options] == [cpu] * instances_at_most
    monkeypatch.setattr(invoke, "QUEUE_SECONDS", 0.2)
    assert call(ask).status_code == 429
    for held, request in under_way:
        held.unlink()
        request.join()
    assert call(ask).status_code == 200


def test_the_older_and_the_newer_run_api_agree_on_the_service(ask: Any, create: Any) -> None:
    create()
    assert ask("GET", RUN.format(1)).get_json()["status"]["url"] == URI
    newer = ask("GET", RUN.format(2)).get_json()
    assert newer["uri"] == URI and newer["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    publish(ask)
    assert ask("GET", RUN.format(2) + ":getIamPolicy").get_json()["bindings"][0]["members"] == ["allUsers"]


def test_both_generations_and_both_run_apis_list_what_there_is(ask: Any, create: Any) -> None:
    create()
    regions = ask("GET", LOCATION.rpartition("/")[0]).get_json()["locations"]
    assert regions == ask("GET", LOCATION.rpartition("/")[0].replace("/v2/", "/v1/")).get_json()["locations"]
    assert "us-central1" in {region["locationId"] for region in regions}
    for region in ("us-central1", "-"):
        parent = RUN.partition("/locations/")[0] + f"/locations/{region}/services"
        assert [found["uri"] for found in ask("GET", parent.format(2)).get_json()["services"]] == [URI]
        assert [found["status"]["url"] for found in ask("GET", parent.format(1)).get_json()["items"]] == [URI]
    elsewhere = RUN.partition("/locations/")[0] + "/locations/us-east1/services"
    assert ask("GET", elsewhere.format(2)).get_json() == {}
    # gcloud looks for functions of the first generation before those of the second
    older = LOCATION.replace("/v2/", "/v1/").replace("us-central1", "-")
    assert ask("GET", f"{older}/functions").get_json() == {}
    in_namespace = "https://run.googleapis.com/apis/serving.knative.dev/v1/namespaces/fanops-rehearsal/services"
    assert ask("GET", f"{in_namespace}/hello").get_json()["status"]["url"] == URI
    assert ask("GET", f"{in_namespace}/other").status_code == 404
    operations = ask("GET", f"{LOCATION}/operations").get_json()["operations"]
    assert [operation["done"] for operation in operations] == [True]


def test_a_function_and_its_service_have_policies_of_their_own(ask: Any, create: Any) -> None:
    create()
    function, service = f"{LOCATION}/functions/hello", RUN.format(1)
    viewer = {"role": "roles/cloudfunctions.viewer", "members": [f"serviceAccount:{SERVER}"]}
    assert (
        ask("POST", f"{function}:setIamPolicy", json.dumps({"policy": {"bindings": [viewer]}}).encode()).status_code
        == 200
    )
    assert ask("GET", f"{function}:getIamPolicy").get_json()["bindings"] == [viewer]
    assert "bindings" not in ask("GET", f"{service}:getIamPolicy").get_json()
    asked = ["cloudfunctions.functions.get", "run.services.get", "iam.serviceAccounts.getAccessToken"]
    for resource in (function, service):
        held = ask("POST", f"{resource}:testIamPermissions", json.dumps({"permissions": asked}).encode()).get_json()
        assert held["permissions"] == asked[:2]  # the last is one that even owners lack


def test_a_source_may_lie_in_a_bucket_that_the_build_may_read(cloud: Any, ask: Any, storage_server: Any) -> None:
    storage = "https://storage.googleapis.com"
    files = archive({"main.py": MAIN, "requirements.txt": "functions-framework\n"})
    ask("POST", f"{storage}/storage/v1/b?project=fanops-rehearsal", b'{"name": "sources-1"}')
    ask("POST", f"{storage}/upload/storage/v1/b/sources-1/o?uploadType=media&name=hello.zip", files)

    def deployed(name: str) -> dict[str, Any]:
        source = {"storageSource": {"bucket": "sources-1", "object": name}}
        config = {"runtime": "python313", "entryPoint": "hello", "source": source}
        body = {"buildConfig": config, "serviceConfig": {"serviceAccountEmail": SERVER}}
        function = name.partition(".")[0]
        return wait(ask, ask("POST", f"{LOCATION}/functions?functionId={function}", json.dumps(body).encode()))

    assert deployed("hello.zip")["response"]["state"] == "ACTIVE"
    assert "gs://sources-1/other.zip does not exist" in deployed("other.zip")["error"]["message"]


def test_a_function_that_exists_is_not_created_again(ask: Any, create: Any) -> None:
    create()
    with pytest.raises(AssertionError, match=r"(?s)already exists.*ALREADY_EXISTS"):
        create()


def test_only_one_change_at_a_time(cloud: Any, ask: Any, create: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    create()
    monkeypatch.setattr(deploy, "deploy", lambda *_: None)
    assert ask("PATCH", f"{LOCATION}/functions/hello?updateMask=labels", b'{"labels": {"a": "b"}}').status_code == 200
    answer = ask("DELETE", f"{LOCATION}/functions/hello")
    assert (answer.status_code, answer.get_json()["error"]["status"]) == (409, "ABORTED")
    assert call(ask).status_code == 403


def test_functions_come_back_after_a_restart_and_interrupted_deployments_end(cloud: Any, ask: Any, create: Any) -> None:
    create()
    publish(ask)
    lifecycle.stop_functions(cloud)
    assert cloud.containers.known == {}
    record = cloud.store.get("functions", "fanops-rehearsal/us-central1/hello")
    record["resource"]["state"] = "DEPLOYING"
    cloud.store.put("functions", "fanops-rehearsal/us-central1/hello", record)
    left = addresses.take(cloud.store, "build-hello-1234")
    cloud.containers.create("build-hello-1234", "python313")
    lifecycle.start_functions(cloud)
    assert "build-hello-1234" not in cloud.containers.known
    assert cloud.store.get("functions.addresses", left) is None
    assert call(ask).get_json()["version"] == "one"
    assert ask("GET", f"{LOCATION}/functions/hello").get_json()["state"] == "ACTIVE"


def test_the_caller_must_be_allowed_to_act_as_the_functions_account(cloud: Any, ask: Any, upload: Any) -> None:
    member = f"serviceAccount:{SERVER}"
    policy = cloud.identity.get_policy("projects/fanops-rehearsal")
    policy["bindings"].append({"role": "roles/cloudfunctions.developer", "members": [member]})
    cloud.identity.set_policy("projects/fanops-rehearsal", policy)
    token = cloud.identity.access_token(SERVER)["access_token"]
    source = {"storageSource": upload()}
    body = {"buildConfig": {"runtime": "python313", "entryPoint": "hello", "source": source}}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = ask("POST", f"{LOCATION}/functions?functionId=hello", json.dumps(body).encode(), headers=headers)
    assert answer.status_code == 403
    assert "iam.serviceAccounts.actAs" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("function", "build_changes", "service", "words"),
    [
        ("Bad_Name", {}, {}, "Function ID 'Bad_Name' is invalid"),
        ("abc", {}, {}, "Function ID 'abc' is invalid"),
        ("hello", {"runtime": "python27"}, {}, "Invalid value for runtime: 'python27'"),
        ("hello", {"runtime": "python39"}, {}, "Runtime python39 is decommissioned since 2026-04-05"),
        ("hello", {}, {"availableMemory": "256 MB"}, "Invalid value for available_memory: '256 MB'"),
        ("hello", {}, {"availableMemory": "64M"}, "between 128M and 32Gi"),
        ("hello", {}, {"timeoutSeconds": 4000}, "Invalid value for timeoutSeconds: 4000"),
        ("hello", {}, {"maxInstanceRequestConcurrency": 80}, "Total cpu < 1 is not supported with concurrency > 1."),
        ("hello", {}, {"environmentVariables": {"PORT": "1"}}, "The environment variable PORT is reserved"),
        (
            "hello",
            {},
            {"serviceAccountEmail": "no@x.iam.gserviceaccount.com"},
            "no@x.iam.gserviceaccount.com was not found",
        ),
        ("hello", {}, {"vpcConnector": "c"}, "vpcConnector is not supported here"),
    ],
)
def test_what_cannot_be_deployed_is_refused_in_one_line(
    cloud: Any, ask: Any, function: str, build_changes: dict[str, Any], service: dict[str, Any], words: str
) -> None:
    source = {"storageSource": {"bucket": "b", "object": "o"}}
    config = {"runtime": "python313", "entryPoint": "hello", "source": source, **build_changes}
    body = json.dumps({"buildConfig": config, "serviceConfig": service}).encode()
    answer = ask("POST", f"{LOCATION}/functions?functionId={function}", body)
    assert answer.status_code == 400
    message = answer.get_json()["error"]["message"]
    assert words in message and "\n" not in message


def test_an_upload_needs_the_signature_the_time_and_the_content_type(cloud: Any, ask: Any) -> None:
    url = ask("POST", f"{LOCATION}/functions:generateUploadUrl", b"{}").get_json()["uploadUrl"]
    kind = {"Content-Type": "application/zip"}
    assert ask("PUT", url[:-3] + "abc", b"x", headers=kind).status_code == 403
    assert ask("PUT", url, b"x", headers={"Content-Type": "text/plain"}).status_code == 403
    assert (
        ask("PUT", url.replace("gcf-v2-uploads-482910376155", "gcf-v2-uploads-1"), b"x", headers=kind).status_code
        == 403
    )
    for key, document in cloud.store.list("functions.uploads"):
        cloud.store.put("functions.uploads", key, document | {"expires": 1})
    assert ask("PUT", url, b"x", headers=kind).status_code == 403


def test_the_deployed_source_can_be_fetched_back(ask: Any, create: Any) -> None:
    create()
    url = ask("POST", f"{LOCATION}/functions/hello:generateDownloadUrl", b"{}").get_json()["downloadUrl"]
    with zipfile.ZipFile(io.BytesIO(ask("GET", url, headers={}).get_data())) as opened:
        assert opened.read("main.py").decode() == MAIN
    assert ask("GET", url.partition("?")[0], headers={}).status_code == 403


def test_runtimes_carry_their_dates_and_warnings(cloud: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "today", lambda: datetime.date(2026, 11, 23))
    found = {r["name"]: r for r in ask("GET", f"{LOCATION}/runtimes").get_json()["runtimes"]}
    assert found["python39"]["stage"] == "DECOMMISSIONED"
    assert found["python310"]["stage"] == "DEPRECATED" and "2027-04-04" in found["python310"]["warnings"][0]
    assert found["python313"]["stage"] == "GA" and "warnings" not in found["python313"]


def test_an_unknown_region_is_refused(cloud: Any, ask: Any) -> None:
    answer = ask("GET", LOCATION.replace("us-central1", "mars-north1") + "/functions")
    assert answer.status_code == 403 and "locations/mars-north1" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../evil"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive({name: "x"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(build.BuildError, match="outside its folder"):
        build.unzip(path, tmp_path / "out")


def test_links_rubbish_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "a.zip", tmp_path / "out"
    out.mkdir()
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(build.BuildError, match="symbolic link"):
        build.unzip(path, out)
    path.write_bytes(b"no zip")
    with pytest.raises(build.BuildError, match="not a readable zip"):
        build.unzip(path, out)
    monkeypatch.setattr(build, "MAX_UNPACKED_BYTES", 10)
    path.write_bytes(archive({"a": "x" * 11}))
    with pytest.raises(build.BuildError, match="larger than"):
        build.unzip(path, out)


def test_what_a_function_writes_is_read_by_the_logging_api(cloud: Any, ask: Any, create: Any) -> None:
    create(MAIN.replace("def hello(request):", "def hello(request):\n    print('somebody called', flush=True)"))
    publish(ask)
    call(ask)
    cloud.identity.services.enable("fanops-rehearsal", "logging.googleapis.com")
    asked = {"resourceNames": ["projects/fanops-rehearsal"], "filter": 'resource.labels.service_name="hello"'}

    def written(**more: str) -> list[str]:
        answer = ask("POST", "https://logging.googleapis.com/v2/entries:list", json.dumps(asked | more).encode())
        return [entry["textPayload"] for entry in answer.get_json().get("entries", []) if "textPayload" in entry]

    assert "somebody called" in written()
    assert written(filter='resource.labels.service_name="other"') == []
    assert written(filter=f'{asked["filter"]} timestamp>="2999-01-01T00:00:00Z"') == []


def test_services_and_revisions_are_listed_in_the_way_of_knative(ask: Any, create: Any) -> None:
    create()
    knative = "run.googleapis.com/apis/serving.knative.dev/v1/namespaces/fanops-rehearsal"
    for host in ("https://", "https://us-central1-"):
        assert [one["metadata"]["name"] for one in ask("GET", f"{host}{knative}/services").get_json()["items"]] == [
            "hello"
        ]
    assert ask("GET", f"https://us-east1-{knative}/services").get_json()["items"] == []
    selected = f"https://{knative}/revisions?labelSelector=serving.knative.dev/service%20%3D%20hello"
    (revision,) = ask("GET", selected).get_json()["items"]
    assert ask("GET", f"https://{knative}/revisions/{revision['metadata']['name']}").get_json() == revision
    assert ask("GET", selected.replace("hello", "other")).get_json()["items"] == []
