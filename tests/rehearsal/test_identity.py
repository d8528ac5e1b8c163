# SPDX-License-Identifier: GPL-3.0-or-later
"""Least privilege, the preflight, and secrets, as a person meets them. Independent of what ran before."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.conftest import BIN, REPOSITORY, Rehearsal
from tests.rehearsal.owner import COMPUTE, DEPLOYER, IAM, Owner

pytestmark = pytest.mark.timeout(600)
VALIDATE = "playbooks/validate_inputs.yml"
VM = f"{COMPUTE}/zones/us-central1-a/instances/ml-training-vm"


@pytest.fixture
def owner(cloud: Rehearsal) -> Iterator[Owner]:
    """A quiet rehearsal that is up, and its owner; quiet again afterwards."""
    if not cloud.status()["running"]:
        cloud.up()
    cloud.rehearsal("trouble", "clear")
    yield Owner(cloud)
    cloud.rehearsal("trouble", "clear")


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


def without(missing: str, folder: Path) -> str:
    """A PATH on which everything is but one program."""
    for place in reversed(os.environ["PATH"].split(":")):
        for tool in Path(place).glob("*"):
            if tool.name != missing:
                (folder / tool.name).unlink(missing_ok=True)
                (folder / tool.name).symlink_to(tool)
    return f"{BIN}:{folder}"


def test_eight_planted_defects_give_eight_findings_in_one_line(cloud: Rehearsal, owner: Owner, tmp_path: Path) -> None:
    owner.enable_apis()
    server = owner.ensure_account("m4-server")
    key = REPOSITORY / "canary-key.json"
    path = without("ssh-keygen", tmp_path)
    planted = {
        "not installed here: ssh-keygen": "sudo apt-get install -y openssh-client",
        "s ahead of Google's": "sudo timedatectl set-ntp true",
        "key canary-key.json lies in the repository": f"mv {key} ~/",
        f"{DEPLOYER} lacks compute.instances.stop": "gcloud iam roles update fanops_m4_deployer",
        f"service account {server} is disabled": f"gcloud iam service-accounts enable {server}",
        "policy compute.requireOsLogin": "gcloud resource-manager org-policies disable-enforce compute.requireOsLogin",
        "quota of us-central1": "CPUS: 2 needed, 0 of 0 left",
        "taken-by-another-project is taken": "-e model_bucket=fanops-rehearsal-models",
    }
    for knob in (("clock", "-600"), ("quota", "CPUS", "0"), ("orgpolicy", "compute.requireOsLogin")):
        assert cloud.rehearsal("trouble", "set", *knob).code == 0
    owner.call("POST", f"{IAM}/serviceAccounts/{server}:disable", {})
    key.write_text(json.dumps({"type": "service_account", "private_key": "canary", "client_email": "a@b"}))
    mark = cloud.mark()
    try:
        with owner.without("compute.instances.stop"):
            outcome = cloud.playbook(VALIDATE, "-e", "model_bucket=taken-by-another-project", PATH=path)
    finally:
        key.unlink()
        owner.call("POST", f"{IAM}/serviceAccounts/{server}:enable", {})
    line = last_line(outcome.output)
    assert outcome.code != 0 and line.startswith("Failed: 8 defects: (1) "), outcome.output[-3000:]
    assert "(9)" not in line
    for found, remedy in planted.items():
        assert found in line and remedy in line, (found, line)
    asked = [r for r in cloud.requests(mark, "--mutating") if r["principal"] == DEPLOYER]
    assert asked == []
    cloud.rehearsal("trouble", "clear")
    healthy = cloud.playbook(VALIDATE)
    assert healthy.code == 0, healthy.output[-3000:]


# The inventory asks for the second before any playbook begins.
@pytest.mark.parametrize(
    "permission", ["compute.instances.setLabels", "compute.instances.list", "storage.objects.list"]
)
def test_a_missing_permission_ends_the_run_with_its_name_before_anything_is_changed(
    cloud: Rehearsal, owner: Owner, permission: str
) -> None:
    mark = cloud.mark()
    with owner.without(permission):
        outcome = cloud.playbook("site.yml")
    assert outcome.code != 0 and f"lacks {permission} in project" in last_line(outcome.output), outcome.output[-2000:]
    assert [r for r in cloud.requests(mark, "--mutating") if r["principal"] == DEPLOYER] == []
    assert outcome.seconds < 60


class ProcessWatch:
    """Reads all command lines of this machine, guests included, again and again."""

    def __init__(self, *canaries: str) -> None:
        self.canaries = [canary.encode() for canary in canaries]
        self.seen: set[bytes] = set()
        self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        own = str(os.getpid())
        while not self._ended.wait(0.02):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                if path.parent.name == own:
                    continue
                try:
                    text = path.read_bytes()
                except OSError:
                    continue
                self.seen |= {text for canary in self.canaries if canary in text}

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.long
def test_no_secret_reaches_a_log_a_fact_a_process_list_or_the_bucket(
    cloud: Rehearsal, owner: Owner, tmp_path: Path
) -> None:
    token, metadata = "ya29.canary-token-b7c1d0", "canary-metadata-5e0f77"
    key = json.loads(Path(cloud.environment["GCP_SERVICE_ACCOUNT_FILE"]).read_text())["private_key"].splitlines()[5]
    canaries = {"key": key, "token": token, "metadata": metadata}
    output: list[str] = []

    def play(*arguments: str, fine: bool = True, **environment: str) -> None:
        outcome = cloud.playbook(*arguments, "-vvv", "--diff", **environment)
        output.append(outcome.output)
        assert (outcome.code == 0) == fine, outcome.output[-3000:]

    with ProcessWatch(*canaries.values()) as watch:
        play("playbooks/provision_resources.yml")
        vm = owner.call("GET", VM)
        items = [*vm["metadata"]["items"], {"key": "db-password", "value": metadata}]
        owner.call("POST", f"{VM}/setMetadata", {"fingerprint": vm["metadata"]["fingerprint"], "items": items})
        fingerprint = owner.call("GET", COMPUTE)["commonInstanceMetadata"]["fingerprint"]
        common = {"fingerprint": fingerprint, "items": [{"key": "site-secret", "value": metadata}]}
        owner.call("POST", f"{COMPUTE}/setCommonInstanceMetadata", common)
        play(VALIDATE)
        # A label that differs, so that the VM is changed with its metadata read and written.
        labels = owner.call("GET", VM)
        owner.call("POST", f"{VM}/setLabels", {"labelFingerprint": labels["labelFingerprint"], "labels": {"app": "x"}})
        play("playbooks/start_vm.yml")
        play("playbooks/show_status.yml")
        play("playbooks/show_logs.yml")
        play("playbooks/start_vm.yml", "-e", "gcp_zone=us-central1-x", fine=False)
        play(VALIDATE, fine=False, GCP_AUTH_KIND="accesstoken", GCP_ACCESS_TOKEN=token)
        facts = cloud.run("ansible-inventory", "--list").output
        gathered = cloud.run("ansible", "training", "-m", "ansible.builtin.setup", "-vvv").output
        script = "cat /var/log/syslog /proc/[0-9]*/cmdline; journalctl --no-pager; ps axww"
        guest = cloud.run("ansible", "training", "-m", "ansible.builtin.shell", "-a", script, "--become").output
        play("playbooks/stop_vm.yml")
    assert owner.call("GET", VM)["labels"]["role"] == "training"  # it was mended, and the metadata kept
    assert metadata in json.dumps(owner.call("GET", VM)["metadata"])
    home = Path(cloud.environment["GCP_SERVICE_ACCOUNT_FILE"]).parent.parent
    places = {
        "logs at -vvv": "\n".join(output),
        "facts": facts + gathered,
        "the guest's logs and processes": guest,
        "the control plane's log": (home / "logs/control-plane.log").read_text(errors="replace"),
        "the console": "".join(p.read_text(errors="replace") for p in home.glob("guests/*/console.log")),
        "bucket objects": "".join(p.read_text(errors="replace") for p in (home / "storage").rglob("*") if p.is_file()),
        "files of this controller": "".join(
            p.read_text(errors="replace") for p in (REPOSITORY / ".cache").rglob("*") if p.is_file()
        ),
    }
    found = [(place, name) for place, text in places.items() for name, canary in canaries.items() if canary in text]
    assert found == [] and watch.seen == set()
    assert all(len(text) > 100 for text in (places["logs at -vvv"], facts, gathered, guest)) and watch.looks > 100


def test_a_lasting_denial_of_the_trainer_ends_within_seconds_with_the_cause(cloud: Rehearsal, owner: Owner) -> None:
    """As on the VM, but with a key: what the trainer meets when nobody granted it anything in this run."""
    email = owner.ensure_account("m4-nobody")
    key = owner.call("POST", f"{IAM}/serviceAccounts/{email}/keys", {})["privateKeyData"]
    import base64

    file = REPOSITORY / ".cache" / "nobody.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(base64.b64decode(key))
    bucket = "https://storage.googleapis.com/storage/v1/b?project=fanops-rehearsal"
    owner.call("POST", bucket, {"name": "fanops-m4-models", "location": "US-CENTRAL1"}, ok=(200, 409))
    try:
        began = time.monotonic()
        arguments = ("--samples", "100", "--output", str(REPOSITORY / ".cache/x"), "--publish", "gs://fanops-m4-models")
        outcome = cloud.run("python", "-m", "ml.train", *arguments, GOOGLE_APPLICATION_CREDENTIALS=str(file))
    finally:
        file.unlink()
        owner.call("DELETE", f"{IAM}/serviceAccounts/{email}")
    assert outcome.code == 1 and time.monotonic() - began < 20
    assert "permission denied" in last_line(outcome.output) and "storage.objects.list" in last_line(outcome.output)


@pytest.mark.long
def test_a_vm_that_refuses_logins_while_it_boots_is_waited_for(cloud: Rehearsal, owner: Owner) -> None:
    cloud.playbook("playbooks/stop_vm.yml")
    assert cloud.rehearsal("trouble", "set", "nologin", "12").code == 0
    outcome = cloud.playbook("playbooks/start_vm.yml")
    assert outcome.code == 0, outcome.output[-3000:]
    shown: Any = cloud.rehearsal("trouble", "list", "--output", "json").json
    assert shown["nologin"] == {"set": {}, "met": 1}
    script = "systemctl is-active trouble-nologin; journalctl --no-pager -u ssh -u trouble-nologin | tail -n 40"
    said = cloud.run("ansible", "training", "-m", "ansible.builtin.shell", "-a", script, "--become").output
    assert "trouble-nologin" in said
    assert cloud.playbook("playbooks/stop_vm.yml").code == 0
